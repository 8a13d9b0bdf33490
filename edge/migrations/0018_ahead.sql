-- Records of decisions that a load brought before the rows that they are about, with their state before: until these
-- have come, a centre that goes back must not be told that they were decided.

CREATE TABLE _sync_ahead (
    record TEXT PRIMARY KEY,
    table_name TEXT,
    row_id TEXT,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX _sync_ahead_by_row ON _sync_ahead (table_name, row_id);
