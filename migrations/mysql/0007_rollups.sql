-- How far each rollup of a flow's table has come: rows through the id `position` are taken in, and rows from before
-- `pruned_before` may be gone. Lengths and times are in microseconds (since 1970).
CREATE TABLE IF NOT EXISTS hearthgate_rollups (
    table_name    VARCHAR(63) NOT NULL,
    flow_code     VARCHAR(100) NOT NULL,
    window_length BIGINT NOT NULL,
    position      BIGINT NOT NULL,
    pruned_before BIGINT NOT NULL,
    PRIMARY KEY (table_name, flow_code, window_length)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
