-- last_msg_id: a busy flow would use up 32 bits within months.
CREATE TABLE IF NOT EXISTS flows (
    id             INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    code           VARCHAR(100) NOT NULL UNIQUE,
    description    VARCHAR(255) NOT NULL DEFAULT '',
    topic          VARCHAR(255) NOT NULL,
    action         VARCHAR(30) NOT NULL,
    payload_schema JSON NOT NULL,
    endpoint_url   VARCHAR(500) NULL,
    last_msg_id    BIGINT NOT NULL DEFAULT 0,
    enabled        BOOLEAN NOT NULL DEFAULT TRUE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
