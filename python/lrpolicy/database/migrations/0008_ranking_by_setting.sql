-- The policies of a run, or of all runs of a task, over their seeds. Only trials of one setting are compared, measured
-- as often: the best of more measurements is better by chance. A training that was repeated with its seed, or imported,
-- is no further evidence: the mean of each seed's trials comes first, then that over the seeds. Means and sample
-- standard deviations (divisor n - 1, NULL for one seed) are those of the completed trials alone; `seeds` counts theirs,
-- and the other trials are counted beside them. Equal positions are equal to twelve decimals.
DROP FUNCTION lrpolicy.ranking(bigint, bigint);

CREATE FUNCTION lrpolicy.ranking(of_run bigint DEFAULT NULL, of_task bigint DEFAULT NULL)
RETURNS TABLE (
    "position" bigint, policy_id bigint, lr_policy text, parameter_count integer,
    stage text, protocol text, max_iter bigint, test_interval bigint, batch_size bigint, optimizer text,
    momentum double precision, weight_decay double precision, momentum_convention text,
    seeds bigint, trials bigint, completed bigint, diverged bigint, failed bigint,
    top1_mean double precision, top1_deviation double precision,
    test_top1_mean double precision, test_top1_deviation double precision,
    top5_mean double precision, average_confidence_mean double precision, confidence_deviation_mean double precision,
    confidence_deviation_across_classes_mean double precision, loss_difference_mean double precision,
    iterations_at_best_mean double precision, seconds_mean double precision
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH chosen AS (
        SELECT summary.*, trial.test_interval, trial.batch_size, trial.optimizer, trial.momentum, trial.weight_decay,
               trial.momentum_convention, summary.status = 'completed' AND top1 IS NOT NULL AS done
        FROM lrpolicy.trial_summary AS summary
        JOIN lrpolicy.trial ON trial.id = trial_id
        WHERE (of_run IS NULL OR summary.run_id = of_run) AND (of_task IS NULL OR task_id = of_task)
    ), training AS (
        SELECT
            policy_id, lr_policy, parameter_count, stage, protocol, max_iter, test_interval, batch_size, optimizer,
            momentum, weight_decay, momentum_convention, seed,
            count(*) AS trials, count(*) FILTER (WHERE done) AS completed,
            count(*) FILTER (WHERE status = 'diverged') AS diverged,
            count(*) FILTER (WHERE status = 'failed') AS failed,
            avg(top1) FILTER (WHERE done) AS top1, avg(test_top1) FILTER (WHERE done) AS test_top1,
            avg(top5) FILTER (WHERE done) AS top5, avg(average_confidence) FILTER (WHERE done) AS average_confidence,
            avg(confidence_deviation) FILTER (WHERE done) AS confidence_deviation,
            avg(confidence_deviation_across_classes) FILTER (WHERE done) AS confidence_deviation_across_classes,
            avg(loss_difference) FILTER (WHERE done) AS loss_difference,
            avg(iterations_at_best) FILTER (WHERE done) AS iterations_at_best,
            avg(seconds) FILTER (WHERE done) AS seconds
        FROM chosen
        GROUP BY policy_id, lr_policy, parameter_count, stage, protocol, max_iter, test_interval, batch_size, optimizer,
                 momentum, weight_decay, momentum_convention, seed
    )
    SELECT
        rank() OVER (
            PARTITION BY stage, protocol, max_iter, test_interval, batch_size, optimizer, momentum, weight_decay,
                         momentum_convention
            ORDER BY round(avg(top1)::numeric, 12) DESC NULLS LAST
        ),
        policy_id, lr_policy, parameter_count, stage, protocol, max_iter, test_interval, batch_size, optimizer,
        momentum, weight_decay, momentum_convention,
        count(*) FILTER (WHERE completed > 0), sum(trials)::bigint, sum(completed)::bigint, sum(diverged)::bigint,
        sum(failed)::bigint,
        avg(top1), stddev_samp(top1), avg(test_top1), stddev_samp(test_top1), avg(top5), avg(average_confidence),
        avg(confidence_deviation), avg(confidence_deviation_across_classes), avg(loss_difference),
        avg(iterations_at_best), avg(seconds)
    FROM training
    GROUP BY policy_id, lr_policy, parameter_count, stage, protocol, max_iter, test_interval, batch_size, optimizer,
             momentum, weight_decay, momentum_convention
    ORDER BY stage, protocol, max_iter, test_interval, batch_size, optimizer, momentum, weight_decay,
             momentum_convention, 1, parameter_count, policy_id;
END;
