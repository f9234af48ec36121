-- How far each journal has been written: entries through `position` are settled.
CREATE TABLE IF NOT EXISTS hearthgate_cursors (
    journal_id CHAR(36) CHARACTER SET ascii NOT NULL PRIMARY KEY,
    position   BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
