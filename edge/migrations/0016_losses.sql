-- A table may lose its triggers more than once. Each loss has a number, since clocks are set back: a
-- comparison ends the mark of those that it has seen, and a row may stand aside for each.
ALTER TABLE _sync_table ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
UPDATE _sync_table SET losses = 1 WHERE uncaptured_ms IS NOT NULL;

ALTER TABLE _sync_aside RENAME TO _sync_aside_before;
CREATE TABLE _sync_aside (             -- rows that stand in no table now, in full, each for one reason
    table_name TEXT NOT NULL,
    id         TEXT NOT NULL,
    code       TEXT NOT NULL,          -- unique: another row has its key; it comes back when that is free
                                       -- parked, gone, left: own writes that the centre did not let stand
                                       -- refused: a head that SQLite did not take
                                       -- too_large: an own write that no message can carry
                                       -- uncaptured: it stood before a head, and may be of the site's making
    content    TEXT NOT NULL,          -- JSON column -> value
    version    TEXT,                   -- refused: the head's, and its order
    ord        INTEGER,
    reason     TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    key        TEXT,                   -- unique: JSON list of the columns of the key that is taken;
                                       -- null: not known, []: not to be looked up
    loss       INTEGER NOT NULL DEFAULT 0,   -- uncaptured: which loss of the table's triggers
    PRIMARY KEY (table_name, id, code, loss)
) STRICT, WITHOUT ROWID;
INSERT INTO _sync_aside SELECT table_name, id, code, content, version, ord, reason, at_ms, key,
    code = 'uncaptured' FROM _sync_aside_before;
DROP TABLE _sync_aside_before;
CREATE INDEX _sync_aside_by_key ON _sync_aside (code, table_name, key);
