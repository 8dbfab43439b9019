"""The ledger's tables, and what brings those of an earlier version up to date.

Written as SQLite reads them; `postgresql` reads the same text in its own words.
"""

FORMAT = 3

TABLES = """
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS known_runs (
    run_id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    experiment_id TEXT,
    artifact_uri BLOB,
    kept BLOB,
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_s REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS known_runs_left ON known_runs (state) WHERE state <> 'active';
CREATE TABLE IF NOT EXISTS items (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    root BLOB NOT NULL,
    inside BLOB NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    held TEXT NOT NULL,
    name BLOB,
    experiment_id TEXT,
    quarantined_at TEXT,
    quarantined_s REAL NOT NULL,
    settled_s REAL NOT NULL,
    files INTEGER,
    bytes INTEGER,
    freed_files INTEGER NOT NULL DEFAULT 0,
    freed_bytes INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_s REAL NOT NULL DEFAULT 0,
    error BLOB,
    by_hand INTEGER NOT NULL DEFAULT 0,
    deleted_at TEXT
);
CREATE INDEX IF NOT EXISTS items_by_state ON items (state);
CREATE INDEX IF NOT EXISTS items_by_entity ON items (entity_id);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    kind TEXT,
    entity_id TEXT,
    name BLOB,
    item_id TEXT,
    detail BLOB,
    files INTEGER,
    bytes INTEGER
);
CREATE TABLE IF NOT EXISTS refusals (
    plan_id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    reason BLOB NOT NULL,
    answer TEXT,
    is_current INTEGER NOT NULL DEFAULT 1,
    is_lasting INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY,
    verb TEXT NOT NULL,
    words TEXT NOT NULL,
    progress TEXT,
    is_to_stop INTEGER NOT NULL DEFAULT 0,
    outcome TEXT
);
CREATE TABLE IF NOT EXISTS roots (
    path BLOB PRIMARY KEY,
    is_marked INTEGER NOT NULL DEFAULT 0,
    problem BLOB,
    tokens TEXT
);
CREATE TABLE IF NOT EXISTS sightings (
    root BLOB NOT NULL,
    inside BLOB NOT NULL,
    first_s REAL NOT NULL,
    PRIMARY KEY (root, inside)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (
    target BLOB PRIMARY KEY,
    at TEXT NOT NULL,
    reason BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (
    stamp TEXT PRIMARY KEY,
    begun_at TEXT NOT NULL,
    is_done INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""

UPGRADES = {
    1: (
        "ALTER TABLE items ADD COLUMN deleted_at TEXT",
        "ALTER TABLE refusals ADD COLUMN is_lasting INTEGER NOT NULL DEFAULT 0",
        "UPDATE refusals SET is_lasting = 1 WHERE reason LIKE '%back in time%'",
        "ALTER TABLE roots ADD COLUMN tokens TEXT",
    ),
    # Nobody waits for an answer, or carries out half a plan, across two versions.
    2: ("DROP TABLE requests", "DROP TABLE IF EXISTS plans"),
}
"""What makes a ledger of each earlier format one of the next."""
