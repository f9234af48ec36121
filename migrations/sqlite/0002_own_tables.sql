-- What a flow has beyond the base columns. The code stands beside the id, so that options never
-- reach another flow that was given the same id.
CREATE TABLE hearthgate_flow_options (
    flow_id   INTEGER PRIMARY KEY,
    flow_code VARCHAR(100) NOT NULL,
    options   TEXT NOT NULL
);

-- How far each journal has been written: entries through `position` are settled.
CREATE TABLE hearthgate_cursors (
    journal_id VARCHAR(36) PRIMARY KEY,
    position   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE hearthgate_meta (
    name  VARCHAR(64) PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO hearthgate_meta (name, value) VALUES ('change_mark', '0');

CREATE TRIGGER hearthgate_flow_added AFTER INSERT ON flows BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_flow_changed
AFTER UPDATE OF id, code, description, topic, action, payload_schema, endpoint_url, enabled ON flows BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_flow_removed AFTER DELETE ON flows BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_options_added AFTER INSERT ON hearthgate_flow_options BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_options_changed AFTER UPDATE ON hearthgate_flow_options BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_options_removed AFTER DELETE ON hearthgate_flow_options BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_server_added AFTER INSERT ON mqtt_servers BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_server_changed AFTER UPDATE ON mqtt_servers BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;

CREATE TRIGGER hearthgate_server_removed AFTER DELETE ON mqtt_servers BEGIN
    UPDATE hearthgate_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'change_mark';
END;
