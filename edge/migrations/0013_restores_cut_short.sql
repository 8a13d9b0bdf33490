-- An own transaction by its id: a restore looks up the versions of all rows here, while programs wait for the store.

CREATE INDEX _sync_out_by_tx ON _sync_out (tx_id) WHERE part = 0;

-- What was taken out as sent before, by the epoch that ended with it, until a snapshot shows that the centre has it.
CREATE TABLE _sync_taken (
    epoch     TEXT    NOT NULL,
    part      INTEGER NOT NULL,
    fork_n    INTEGER NOT NULL,         -- after this transaction of it the lost life had sent it
    after_hlc INTEGER NOT NULL,
    before_n  INTEGER NOT NULL,         -- the transaction of the epoch of now that came after it, or holds the rest
    snapshots INTEGER NOT NULL,         -- a later snapshot brings what became of it
    body      BLOB    NOT NULL,
    PRIMARY KEY (epoch, part)
) STRICT;
