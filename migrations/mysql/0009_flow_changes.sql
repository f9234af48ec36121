-- Who changed which flow, when (microseconds since 1970) and how: its row before and after as JSON, NULL where there was
-- none. Of each flow the newest changes are kept.
CREATE TABLE IF NOT EXISTS hearthgate_flow_changes (
    id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    changed_at BIGINT NOT NULL,
    author     VARCHAR(100) NOT NULL,
    flow_id    BIGINT NOT NULL,
    flow_code  VARCHAR(100) NOT NULL,
    before_row MEDIUMTEXT,
    after_row  MEDIUMTEXT,
    INDEX hearthgate_flow_changes_flow (flow_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
