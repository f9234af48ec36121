//! The tables of the file of dead letters. Where they are as they should be, nothing of this writes: a full disk keeps no
//! gateway from starting.

pub(super) const LETTERS: &str = "
CREATE TABLE IF NOT EXISTS dead_letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    journal     TEXT NOT NULL,
    seq         INTEGER,
    flow_code   TEXT,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    reason      TEXT NOT NULL,
    pointer     TEXT,
    received_at INTEGER NOT NULL,
    dead_at     INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    replayed_at INTEGER,
    size        INTEGER NOT NULL,
    part        TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS dead_letters_each ON dead_letters
    (journal, seq, ifnull(flow_code, ''), ifnull(part, ''));
CREATE INDEX IF NOT EXISTS dead_letters_by_age ON dead_letters (dead_at);
CREATE INDEX IF NOT EXISTS dead_letters_first_to_go ON dead_letters (replayed_at IS NULL, id);
CREATE TABLE IF NOT EXISTS totals (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    letters INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    evicted INTEGER NOT NULL
);
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0);
";

/// What messages were accepted for, which version 2 did not keep.
pub(super) const UPGRADE_2: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS parked (
    flow_id     INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    journal     TEXT NOT NULL,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    part        TEXT,
    size        INTEGER NOT NULL,
    PRIMARY KEY (flow_id, seq)
) WITHOUT ROWID;
ALTER TABLE parked ADD COLUMN promise INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 3;
COMMIT;
";

pub(super) const CLAIMS: &str = "
CREATE TABLE IF NOT EXISTS claims (
    letter INTEGER PRIMARY KEY,
    seen   INTEGER,
    after  INTEGER NOT NULL
);
";

/// Letters that were dropped, as long as that can be taken back.
pub(super) const DROPPED: &str = "
CREATE TABLE IF NOT EXISTS dropped_letters (
    id          INTEGER PRIMARY KEY,
    journal     TEXT NOT NULL,
    seq         INTEGER,
    flow_code   TEXT,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    reason      TEXT NOT NULL,
    pointer     TEXT,
    received_at INTEGER NOT NULL,
    dead_at     INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    replayed_at INTEGER,
    size        INTEGER NOT NULL,
    part        TEXT,
    dropped_at  INTEGER NOT NULL
);
";
