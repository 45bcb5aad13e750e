-- The parameters of policies that observe the training. #Param counts numbers alone, as before: names and flags are
-- none. The view and the function stand on that column; they are made anew as they were.
DROP FUNCTION lrpolicy.ranking(bigint, bigint);
DROP VIEW lrpolicy.trial_summary;

ALTER TABLE lrpolicy.policy
    DROP CONSTRAINT policy_name_base_lr_max_lr_min_lr_gamma_power_stepsize_max__key,
    DROP COLUMN parameter_count,
    ADD COLUMN plateau_winsize bigint[],
    ADD COLUMN strategy   text,
    ADD COLUMN variant    text,
    ADD COLUMN source     text,
    ADD COLUMN bound      double precision,
    ADD COLUMN "window"   double precision,
    ADD COLUMN eta        double precision,
    ADD COLUMN per_tensor boolean,
    ADD COLUMN divergence double precision,
    ADD COLUMN epoch      bigint,
    ADD COLUMN seed       bigint;

ALTER TABLE lrpolicy.policy
    ADD COLUMN parameter_count integer NOT NULL GENERATED ALWAYS AS (
        num_nonnulls(
            base_lr, max_lr, min_lr, gamma, power, stepsize, max_iter, start,
            bound, "window", eta, divergence, epoch, seed
        )
        + COALESCE(cardinality(stepvalue), 0) + COALESCE(cardinality(plateau_winsize), 0)
    ) STORED,
    ADD CONSTRAINT policy_is_one_row UNIQUE NULLS NOT DISTINCT (
        name, base_lr, max_lr, min_lr, gamma, power, stepsize, max_iter, start, stepvalue,
        plateau_winsize, strategy, variant, source, bound, "window", eta, per_tensor, divergence, epoch, seed
    );

-- The eight metrics of each trial (LRBench paper, section III), on the split that the best iteration was selected on
-- and on the test set. loss_difference is the split's loss - train loss (equation 6).
CREATE VIEW lrpolicy.trial_summary AS
SELECT
    trial.id AS trial_id,
    trial.run_id,
    run.task_id,
    trial.policy_id,
    policy.name AS lr_policy,
    policy.parameter_count,
    trial.stage,
    trial.protocol,
    trial.seed,
    trial.max_iter,
    trial.status,
    trial.iterations,
    trial.seconds,
    trial.best_split AS selection_split,
    trial.best_iteration AS iterations_at_best,
    best.top1,
    best.top5,
    best.average_confidence,
    best.confidence_deviation,
    best.confidence_deviation_across_classes,
    best.loss - best.train_loss AS loss_difference,
    test.top1 AS test_top1,
    test.top5 AS test_top5,
    test.average_confidence AS test_average_confidence,
    test.confidence_deviation AS test_confidence_deviation,
    test.confidence_deviation_across_classes AS test_confidence_deviation_across_classes,
    test.loss - test.train_loss AS test_loss_difference
FROM lrpolicy.trial
JOIN lrpolicy.run ON run.id = trial.run_id
JOIN lrpolicy.policy ON policy.id = trial.policy_id
LEFT JOIN lrpolicy.measurement AS best
    ON (best.trial_id, best.split, best.iteration) = (trial.id, trial.best_split, trial.best_iteration)
LEFT JOIN lrpolicy.measurement AS test
    ON (test.trial_id, test.split, test.iteration) = (trial.id, trial.test_split, trial.test_iteration);

-- The policies of a run, or of all runs of a task, over their seeds. Means and sample standard deviations (divisor
-- n - 1, NULL for one seed) are those of the completed trials alone; the other trials are counted beside them.
CREATE FUNCTION lrpolicy.ranking(of_run bigint DEFAULT NULL, of_task bigint DEFAULT NULL)
RETURNS TABLE (
    "position" bigint, policy_id bigint, lr_policy text, parameter_count integer,
    stage text, protocol text, max_iter bigint,
    trials bigint, completed bigint, diverged bigint, failed bigint,
    top1_mean double precision, top1_deviation double precision,
    test_top1_mean double precision, test_top1_deviation double precision,
    top5_mean double precision, average_confidence_mean double precision, confidence_deviation_mean double precision,
    confidence_deviation_across_classes_mean double precision, loss_difference_mean double precision,
    iterations_at_best_mean double precision, seconds_mean double precision
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        rank() OVER (PARTITION BY stage, protocol, max_iter ORDER BY avg(top1) FILTER (WHERE done) DESC NULLS LAST),
        policy_id, lr_policy, parameter_count, stage, protocol, max_iter,
        count(*), count(*) FILTER (WHERE done), count(*) FILTER (WHERE status = 'diverged'),
        count(*) FILTER (WHERE status = 'failed'),
        avg(top1) FILTER (WHERE done), stddev_samp(top1) FILTER (WHERE done),
        avg(test_top1) FILTER (WHERE done), stddev_samp(test_top1) FILTER (WHERE done),
        avg(top5) FILTER (WHERE done), avg(average_confidence) FILTER (WHERE done),
        avg(confidence_deviation) FILTER (WHERE done),
        avg(confidence_deviation_across_classes) FILTER (WHERE done), avg(loss_difference) FILTER (WHERE done),
        avg(iterations_at_best) FILTER (WHERE done), avg(seconds) FILTER (WHERE done)
    FROM (
        SELECT *, status = 'completed' AND top1 IS NOT NULL AS done
        FROM lrpolicy.trial_summary
        WHERE (of_run IS NULL OR run_id = of_run) AND (of_task IS NULL OR task_id = of_task)
    ) AS chosen
    GROUP BY policy_id, lr_policy, parameter_count, stage, protocol, max_iter
    ORDER BY stage, protocol, max_iter, 1, parameter_count, policy_id;
END;
