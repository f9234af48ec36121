-- How far each rollup of a flow's table has come: rows through the id `position` are taken in, and rows from before
-- `pruned_before` may be gone. Lengths and times are in microseconds (since 1970).
CREATE TABLE hearthgate_rollups (
    table_name    VARCHAR(63) NOT NULL,
    flow_code     VARCHAR(100) NOT NULL,
    window_length INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    pruned_before INTEGER NOT NULL,
    PRIMARY KEY (table_name, flow_code, window_length)
) WITHOUT ROWID;

-- Windows whose rows have changed since they were summed up. `mark` is the id of the newest such row.
CREATE TABLE hearthgate_rollup_windows (
    table_name    VARCHAR(63) NOT NULL,
    flow_code     VARCHAR(100) NOT NULL,
    window_length INTEGER NOT NULL,
    window_start  INTEGER NOT NULL,
    mark          INTEGER NOT NULL,
    PRIMARY KEY (table_name, flow_code, window_length, window_start)
) WITHOUT ROWID;
