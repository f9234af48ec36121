-- received_at is UTC, with microseconds. MEDIUMTEXT: a value may be as long as a message (TEXT ends at 64 KiB).
CREATE TABLE IF NOT EXISTS data (
    id              BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    received_at     DATETIME(6) NOT NULL,
    flow_code       VARCHAR(100) NOT NULL,
    attribute_name  VARCHAR(255) NOT NULL,
    attribute_value MEDIUMTEXT NOT NULL,
    last_msg_id     BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
