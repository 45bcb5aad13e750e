-- Results travel between databases. Each database has a name of its own, as each run has.
CREATE TABLE lrpolicy.identity (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    key    uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO lrpolicy.identity DEFAULT VALUES;

-- Of an imported run: the database that it was measured in, and when it came.
ALTER TABLE lrpolicy.run
    ADD COLUMN origin uuid,
    ADD COLUMN imported timestamptz,
    ADD CONSTRAINT run_imported_from CHECK ((origin IS NULL) = (imported IS NULL));

-- An import copies trials before their measurements.
ALTER TABLE lrpolicy.trial ALTER CONSTRAINT trial_id_best_split_best_iteration_fkey DEFERRABLE;
ALTER TABLE lrpolicy.trial ALTER CONSTRAINT trial_id_test_split_test_iteration_fkey DEFERRABLE;
