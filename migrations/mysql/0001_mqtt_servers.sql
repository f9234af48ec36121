-- One statement a file, each safe to repeat: DDL is not transactional here.
-- Tables that exist are left as they are: this may be a database that another program made.
CREATE TABLE IF NOT EXISTS mqtt_servers (
    id         INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    host       VARCHAR(255) NOT NULL,
    port       INT NOT NULL DEFAULT 1883,
    username   VARCHAR(255) NULL,
    password   VARCHAR(255) NULL,
    enabled    BOOLEAN NOT NULL DEFAULT TRUE,
    is_default BOOLEAN NOT NULL DEFAULT TRUE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
