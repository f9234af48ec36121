-- What a flow has beyond the base columns. The code stands beside the id, so that options never
-- reach another flow that was given the same id.
CREATE TABLE hearthgate_flow_options (
    flow_id   BIGINT PRIMARY KEY,
    flow_code VARCHAR(100) NOT NULL,
    options   TEXT NOT NULL
);

-- How far each journal has been written: entries through `position` are settled.
CREATE TABLE hearthgate_cursors (
    journal_id VARCHAR(36) PRIMARY KEY,
    position   BIGINT NOT NULL
);

CREATE TABLE hearthgate_meta (
    name  VARCHAR(64) PRIMARY KEY,
    value TEXT NOT NULL
);

-- Whoever changes a flow or a server: every gateway on this database hears of it. last_msg_id is not
-- among the columns that are watched.
CREATE FUNCTION hearthgate_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hearthgate_changes', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME);
    RETURN NULL;
END
$$;

CREATE TRIGGER hearthgate_options_changed AFTER INSERT OR UPDATE OR DELETE ON hearthgate_flow_options
    FOR EACH STATEMENT EXECUTE FUNCTION hearthgate_notify();

-- Tables of another owner may refuse a trigger: then there is no notification, and the reload interval serves.
DO $$
BEGIN
    CREATE TRIGGER hearthgate_flows_changed
        AFTER INSERT OR DELETE OR UPDATE OF id, code, description, topic, action, payload_schema, endpoint_url, enabled
        ON flows FOR EACH STATEMENT EXECUTE FUNCTION hearthgate_notify();
    CREATE TRIGGER hearthgate_servers_changed
        AFTER INSERT OR UPDATE OR DELETE ON mqtt_servers
        FOR EACH STATEMENT EXECUTE FUNCTION hearthgate_notify();
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'no right to create triggers on flows and mqtt_servers';
END
$$;
