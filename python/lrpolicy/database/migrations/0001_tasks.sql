-- What is learned. Every table is filled by "insert unless there": equal facts are one row.

-- A ratio in [0, 1]; NaN where a metric has no value. The slack is float32's rounding in a mean of confidences.
CREATE DOMAIN lrpolicy.ratio AS double precision
    CHECK (VALUE BETWEEN 0 AND 1.000001 OR VALUE = 'NaN');

CREATE DOMAIN lrpolicy.name AS text CHECK (VALUE <> '');

CREATE TABLE lrpolicy.framework (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name lrpolicy.name NOT NULL UNIQUE
);

CREATE TABLE lrpolicy.network (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         lrpolicy.name NOT NULL,
    fingerprint  text NOT NULL,
    weight_count bigint NOT NULL CHECK (weight_count >= 0),
    UNIQUE (fingerprint, name, weight_count)
);

CREATE TABLE lrpolicy.dataset (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            lrpolicy.name NOT NULL,
    train_size      bigint NOT NULL CHECK (train_size >= 0),
    validation_size bigint NOT NULL CHECK (validation_size >= 0),
    test_size       bigint NOT NULL CHECK (test_size >= 0),
    channels        integer NOT NULL CHECK (channels >= 0),
    height          integer NOT NULL CHECK (height >= 0),
    width           integer NOT NULL CHECK (width >= 0),
    class_count     integer NOT NULL CHECK (class_count >= 0),
    fingerprint     text NOT NULL,
    UNIQUE (fingerprint, name, train_size, validation_size, test_size, channels, height, width, class_count)
);

CREATE TABLE lrpolicy.task (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    framework_id bigint NOT NULL REFERENCES lrpolicy.framework,
    network_id   bigint NOT NULL REFERENCES lrpolicy.network,
    dataset_id   bigint NOT NULL REFERENCES lrpolicy.dataset,
    task_type    lrpolicy.name NOT NULL,
    UNIQUE (network_id, dataset_id, framework_id, task_type)
);

CREATE INDEX task_by_dataset ON lrpolicy.task (dataset_id);
