-- Rows of decided transactions that the centre, which went back, was told to do again, until a snapshot tells how:
-- it may go back once more before it has.

CREATE TABLE _sync_again (
    tx_id TEXT NOT NULL,
    table_name TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (tx_id, table_name, id)
) STRICT, WITHOUT ROWID;
