-- What was tried and measured. A run is one `lrpolicy tune`; `key` names it across databases.

CREATE TABLE lrpolicy.run (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key      uuid NOT NULL UNIQUE,
    task_id  bigint NOT NULL REFERENCES lrpolicy.task,
    state    text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'completed', 'failed', 'interrupted')),
    started  timestamptz NOT NULL DEFAULT now(),
    ended    timestamptz,
    settings jsonb NOT NULL,
    versions jsonb NOT NULL,
    hardware jsonb NOT NULL
);

CREATE INDEX run_by_task ON lrpolicy.run (task_id);

-- A policy in its canonical form: a parameter that it does not have is NULL, so equal policies are one row.
CREATE TABLE lrpolicy.policy (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            lrpolicy.name NOT NULL,
    base_lr         double precision,
    max_lr          double precision,
    min_lr          double precision,
    gamma           double precision,
    power           double precision,
    stepsize        bigint,
    max_iter        bigint,
    start           bigint,
    stepvalue       bigint[],
    -- #Param of the LRBench paper: how many numbers the policy sets
    parameter_count integer NOT NULL GENERATED ALWAYS AS (
        num_nonnulls(base_lr, max_lr, min_lr, gamma, power, stepsize, max_iter, start)
        + COALESCE(cardinality(stepvalue), 0)
    ) STORED,
    UNIQUE NULLS NOT DISTINCT (name, base_lr, max_lr, min_lr, gamma, power, stepsize, max_iter, start, stepvalue)
);

CREATE TABLE lrpolicy.trial (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id              bigint NOT NULL REFERENCES lrpolicy.run,
    policy_id           bigint NOT NULL REFERENCES lrpolicy.policy,
    stage               text NOT NULL CHECK (stage IN ('range', 'search', 'final')),
    seed                bigint NOT NULL,
    max_iter            bigint NOT NULL CHECK (max_iter >= 0),
    batch_size          bigint NOT NULL CHECK (batch_size > 0),
    test_interval       bigint NOT NULL CHECK (test_interval >= 0),
    optimizer           lrpolicy.name NOT NULL,
    momentum            double precision NOT NULL,
    weight_decay        double precision NOT NULL,
    momentum_convention text NOT NULL CHECK (momentum_convention IN ('caffe', 'pytorch')),
    protocol            text NOT NULL CHECK (protocol IN ('validation', 'paper')),
    engine              lrpolicy.name NOT NULL,
    device              lrpolicy.name NOT NULL,
    -- how it stands
    status              text NOT NULL DEFAULT 'planned'
        CHECK (status IN ('planned', 'running', 'completed', 'diverged', 'failed', 'interrupted')),
    attempt             integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    worker              bigint,
    started             timestamptz,
    ended               timestamptz,
    iterations          bigint CHECK (iterations >= 0),
    seconds             double precision CHECK (seconds >= 0),
    message             text NOT NULL DEFAULT '',
    -- which measurements are its result
    best_split          text,
    best_iteration      bigint,
    test_split          text,
    test_iteration      bigint,
    -- a resumed run finds its trials again and counts none twice
    UNIQUE (run_id, stage, policy_id, seed, max_iter),
    CHECK ((iterations IS NULL) = (seconds IS NULL)),
    CHECK ((best_split IS NULL) = (best_iteration IS NULL)),
    CHECK ((test_split IS NULL) = (test_iteration IS NULL))
);

CREATE INDEX trial_by_policy ON lrpolicy.trial (policy_id);

CREATE TABLE lrpolicy.measurement (
    trial_id                            bigint NOT NULL REFERENCES lrpolicy.trial ON DELETE CASCADE,
    split                               text NOT NULL CHECK (split IN ('train', 'validation', 'test')),
    iteration                           bigint NOT NULL CHECK (iteration >= 0),
    rate                                double precision NOT NULL,
    train_loss                          double precision NOT NULL,
    loss                                double precision NOT NULL,
    top1                                lrpolicy.ratio NOT NULL,
    top5                                lrpolicy.ratio NOT NULL,
    average_confidence                  lrpolicy.ratio NOT NULL,
    confidence_deviation                lrpolicy.ratio NOT NULL,
    confidence_deviation_across_classes lrpolicy.ratio NOT NULL,
    classes_without_hit                 integer NOT NULL CHECK (classes_without_hit >= 0),
    example_count                       bigint NOT NULL CHECK (example_count >= 0),
    seconds                             double precision NOT NULL,
    PRIMARY KEY (trial_id, split, iteration)
);

ALTER TABLE lrpolicy.trial
    ADD FOREIGN KEY (id, best_split, best_iteration) REFERENCES lrpolicy.measurement (trial_id, split, iteration),
    ADD FOREIGN KEY (id, test_split, test_iteration) REFERENCES lrpolicy.measurement (trial_id, split, iteration);

-- The training curve, in the pieces in which it arrived; each piece is named by its first iteration.
CREATE TABLE lrpolicy.curve_piece (
    trial_id   bigint NOT NULL REFERENCES lrpolicy.trial ON DELETE CASCADE,
    first      bigint NOT NULL,
    iterations bigint[] NOT NULL,
    losses     real[] NOT NULL,
    rates      double precision[] NOT NULL,
    PRIMARY KEY (trial_id, first),
    CHECK (first = iterations[1]),
    CHECK (cardinality(iterations) = cardinality(losses) AND cardinality(iterations) = cardinality(rates))
);
