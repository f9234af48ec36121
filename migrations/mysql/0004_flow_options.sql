-- What a flow has beyond the base columns. The code stands beside the id, so that options never
-- reach another flow that was given the same id.
CREATE TABLE IF NOT EXISTS hearthgate_flow_options (
    flow_id   BIGINT NOT NULL PRIMARY KEY,
    flow_code VARCHAR(100) NOT NULL,
    options   MEDIUMTEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
