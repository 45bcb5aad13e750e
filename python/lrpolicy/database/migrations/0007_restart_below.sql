-- TLR's restart_below. The generated column and what stands on it are made anew, the view and the function as they are.
DO $$
DECLARE
    view_text text := pg_get_viewdef('lrpolicy.trial_summary'::regclass);
    function_text text := pg_get_functiondef('lrpolicy.ranking(bigint, bigint)'::regprocedure);
BEGIN
    DROP FUNCTION lrpolicy.ranking(bigint, bigint);
    DROP VIEW lrpolicy.trial_summary;

    ALTER TABLE lrpolicy.policy
        DROP CONSTRAINT policy_is_one_row,
        DROP COLUMN parameter_count,
        ADD COLUMN restart_below double precision;

    ALTER TABLE lrpolicy.policy
        ADD COLUMN parameter_count integer NOT NULL GENERATED ALWAYS AS (
            num_nonnulls(
                base_lr, max_lr, min_lr, gamma, power, stepsize, max_iter, start,
                bound, "window", eta, divergence, epoch, seed, restart_below
            )
            + COALESCE(cardinality(stepvalue), 0) + COALESCE(cardinality(plateau_winsize), 0)
        ) STORED,
        ADD CONSTRAINT policy_is_one_row UNIQUE NULLS NOT DISTINCT (
            name, base_lr, max_lr, min_lr, gamma, power, stepsize, max_iter, start, stepvalue,
            plateau_winsize, strategy, variant, source, bound, "window", eta, per_tensor, divergence, epoch, seed,
            restart_below
        );

    EXECUTE 'CREATE VIEW lrpolicy.trial_summary AS ' || view_text;
    EXECUTE function_text;
END $$;
