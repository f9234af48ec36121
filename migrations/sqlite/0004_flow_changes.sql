-- Who changed which flow, when (microseconds since 1970) and how: its row before and after as JSON, NULL where there was
-- none. Of each flow the newest changes are kept.
CREATE TABLE hearthgate_flow_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    changed_at INTEGER NOT NULL,
    author     VARCHAR(100) NOT NULL,
    flow_id    INTEGER NOT NULL,
    flow_code  VARCHAR(100) NOT NULL,
    before_row TEXT,
    after_row  TEXT
);

CREATE INDEX hearthgate_flow_changes_flow ON hearthgate_flow_changes (flow_id);
