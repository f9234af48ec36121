-- Windows whose rows have changed since they were summed up. `mark` is the id of the newest such row.
CREATE TABLE IF NOT EXISTS hearthgate_rollup_windows (
    table_name    VARCHAR(63) NOT NULL,
    flow_code     VARCHAR(100) NOT NULL,
    window_length BIGINT NOT NULL,
    window_start  BIGINT NOT NULL,
    mark          BIGINT NOT NULL,
    PRIMARY KEY (table_name, flow_code, window_length, window_start)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
