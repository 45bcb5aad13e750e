-- What `lrpolicy range-test` found: an interval of good fixed rates, a suggestion in it, and how sure each is.
CREATE TABLE lrpolicy.range_test (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key                 uuid NOT NULL UNIQUE,
    task_id             bigint NOT NULL REFERENCES lrpolicy.task,
    finished            timestamptz NOT NULL DEFAULT now(),
    method              text NOT NULL CHECK (method IN ('smith', 'fix')),
    judged_by           text NOT NULL CHECK (judged_by IN ('loss', 'accuracy')),
    seeds               bigint[] NOT NULL CHECK (cardinality(seeds) > 0),
    -- the updates that it cost
    iterations          bigint NOT NULL CHECK (iterations >= 0),
    -- each number with the ends of its 95 % interval over seeds, NaN where one seed is all there was
    low                 double precision NOT NULL,
    low_from            double precision NOT NULL,
    low_to              double precision NOT NULL,
    suggestion          double precision NOT NULL,
    suggestion_from     double precision NOT NULL,
    suggestion_to       double precision NOT NULL,
    high                double precision NOT NULL,
    high_from           double precision NOT NULL,
    high_to             double precision NOT NULL,
    -- whether trainings inside beat those outside; NULL where nobody looked
    held                boolean,
    -- how it trained; max_iter is the length of one training
    max_iter            bigint NOT NULL CHECK (max_iter >= 0),
    batch_size          bigint NOT NULL CHECK (batch_size > 0),
    optimizer           lrpolicy.name NOT NULL,
    momentum            double precision NOT NULL,
    weight_decay        double precision NOT NULL,
    momentum_convention text NOT NULL CHECK (momentum_convention IN ('caffe', 'pytorch')),
    CHECK (0 < low AND low <= suggestion AND suggestion <= high AND high < 'Infinity')
);

CREATE INDEX range_test_by_task ON lrpolicy.range_test (task_id);
