-- Tables that exist are left as they are: this may be a database that another program made.
CREATE TABLE IF NOT EXISTS mqtt_servers (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    host       VARCHAR(255) NOT NULL,
    port       INTEGER NOT NULL DEFAULT 1883,
    username   VARCHAR(255),
    password   VARCHAR(255),
    enabled    BOOLEAN NOT NULL DEFAULT 1,
    is_default BOOLEAN NOT NULL DEFAULT 1
);

-- AUTOINCREMENT: the id of a removed flow never comes back for another one.
CREATE TABLE IF NOT EXISTS flows (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    code           VARCHAR(100) NOT NULL UNIQUE,
    description    VARCHAR(255) NOT NULL DEFAULT '',
    topic          VARCHAR(255) NOT NULL,
    action         VARCHAR(30) NOT NULL,
    payload_schema JSON NOT NULL,
    endpoint_url   VARCHAR(500),
    last_msg_id    INTEGER NOT NULL DEFAULT 0,
    enabled        BOOLEAN NOT NULL DEFAULT 1
);

-- received_at: UTC, 'YYYY-MM-DD HH:MM:SS.ffffff'.
CREATE TABLE IF NOT EXISTS data (
    id              INTEGER PRIMARY KEY,
    received_at     DATETIME NOT NULL,
    flow_code       VARCHAR(100) NOT NULL,
    attribute_name  VARCHAR(255) NOT NULL,
    attribute_value TEXT NOT NULL,
    last_msg_id     INTEGER NOT NULL
);
