-- The edge's own bookkeeping, beside the programs' tables in the same file, so that both commit or
-- neither does. Per-table logs (_sync_log_<table>) and triggers are built from the catalogue.

CREATE TABLE _sync_site (              -- one row
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    site              TEXT    NOT NULL,
    instance          TEXT    NOT NULL,          -- host and path; a mismatch means the file was copied
    epoch             TEXT    NOT NULL,
    last_n            INTEGER NOT NULL DEFAULT 0,
    last_hash         BLOB    NOT NULL,
    hlc               INTEGER NOT NULL DEFAULT 0,
    acked_n           INTEGER NOT NULL DEFAULT 0,
    acked_at_ms       INTEGER,
    safe_n            INTEGER NOT NULL DEFAULT 0,
    own_pos           INTEGER NOT NULL DEFAULT 0,   -- the site's feed
    own_hash          BLOB    NOT NULL,
    shared_pos        INTEGER NOT NULL DEFAULT 0,   -- the feed that all sites follow
    shared_hash       BLOB    NOT NULL,
    offset_ms         INTEGER NOT NULL DEFAULT 0,   -- centre's clock minus ours
    offset_at_ms      INTEGER,
    needs_snapshot    INTEGER NOT NULL DEFAULT 1,   -- a new store starts with one
    snapshots         INTEGER NOT NULL DEFAULT 0,   -- number of the last one begun
    waits_since_ms    INTEGER,                      -- an entry of our feed waits for the shared feed
    stopped_because   TEXT                          -- a fork or a clone: a person has to look
) STRICT;

CREATE TABLE _sync_catalogue (
    version INTEGER NOT NULL, digest TEXT NOT NULL, content TEXT NOT NULL, applied_at_ms INTEGER NOT NULL,
    PRIMARY KEY (version, digest)
) STRICT;

-- Set only inside the agent's own write transaction: keeps the capture triggers silent while it applies.
CREATE TABLE _sync_applying (one INTEGER PRIMARY KEY CHECK (one = 1), flag INTEGER NOT NULL) STRICT;
INSERT INTO _sync_applying VALUES (1, 0);

CREATE TABLE _sync_table (
    no           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    journal_mark INTEGER NOT NULL DEFAULT 0,   -- facts up to this _seq are drained
    adopted      INTEGER NOT NULL DEFAULT 0    -- made by the plant before it was replicated
) STRICT;

CREATE TABLE _sync_row (               -- the version decided by the centre that stands in each row
    table_no  INTEGER NOT NULL,
    id        TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    ord       INTEGER NOT NULL,        -- 0: our own write, accepted as it was
    gone      INTEGER NOT NULL DEFAULT 0,  -- the version is a deletion, or the row left our share
    seen      INTEGER NOT NULL DEFAULT 0,  -- number of the last snapshot that held the row
    PRIMARY KEY (table_no, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE _sync_pending (           -- own writes that the centre has not decided yet
    table_no  INTEGER NOT NULL,
    id        TEXT    NOT NULL,
    n         INTEGER NOT NULL,
    op        TEXT    NOT NULL,
    mask      INTEGER NOT NULL,
    deltas    TEXT,                    -- JSON column -> [old, new] of sum and set columns
    base      TEXT,                    -- the version that the writer saw under it
    PRIMARY KEY (table_no, id, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX _sync_pending_by_n ON _sync_pending (n);

CREATE TABLE _sync_shadow (            -- the centre's head of a row that shows undecided writes over it
    table_no INTEGER NOT NULL, id TEXT NOT NULL, fate TEXT NOT NULL, version TEXT NOT NULL, ord INTEGER NOT NULL,
    head BLOB NOT NULL,                -- msgpack column -> value
    PRIMARY KEY (table_no, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE _sync_out (               -- outbox: kept until safe
    epoch TEXT NOT NULL, n INTEGER NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL,
    tx_id TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL, digests BLOB NOT NULL,
    rows INTEGER NOT NULL, made_at_ms INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (epoch, n, part)
) STRICT;

CREATE TABLE _sync_in (                -- feed entries of a central transaction whose end has not come
    scope TEXT NOT NULL, pos INTEGER NOT NULL, message BLOB NOT NULL, PRIMARY KEY (scope, pos)
) STRICT;

CREATE TABLE _sync_seen (              -- sparse trail of feed positions, to find a fork
    scope TEXT NOT NULL, pos INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (scope, pos)
) STRICT, WITHOUT ROWID;

CREATE TABLE _sync_snapshot (          -- the load under way, if any
    one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, number INTEGER NOT NULL,
    manifest TEXT NOT NULL, next_chunk INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE _sync_extra (             -- columns of a newer schema, until our own migration has them
    table_name TEXT NOT NULL, id TEXT NOT NULL, column_name TEXT NOT NULL, value BLOB NOT NULL, schema INTEGER NOT NULL,
    PRIMARY KEY (table_name, id, column_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE _sync_aside (             -- rows that stand in no table now, in full, each for one reason
    table_name TEXT NOT NULL,
    id         TEXT NOT NULL,
    code       TEXT NOT NULL,          -- unique: another row has its key; it comes back when that is free
                                       -- parked, gone, left: own writes that the centre did not let stand
                                       -- refused: a head that SQLite did not take
                                       -- too_large: an own write that no message can carry
    content    TEXT NOT NULL,          -- JSON column -> value
    version    TEXT,                   -- refused: the head's, and its order
    ord        INTEGER,
    reason     TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    PRIMARY KEY (table_name, id, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX _sync_aside_by_code ON _sync_aside (code, at_ms);

CREATE TABLE _sync_event (             -- what an operator should see: clamps, refusals, resyncs
    no INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL
) STRICT;

CREATE TABLE _sync_import (            -- progress of CSV imports, in the transaction that writes the rows
    file_digest TEXT NOT NULL, map_digest TEXT NOT NULL, row INTEGER NOT NULL, rejected INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (file_digest, map_digest)
) STRICT;
