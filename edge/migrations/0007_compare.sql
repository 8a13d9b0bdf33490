-- What comparing the store with the centre came to, and what of the facts it can't have all of.

CREATE TABLE _sync_compare (           -- the last ones
    run       TEXT    PRIMARY KEY,
    at_ms     INTEGER NOT NULL,
    differing INTEGER NOT NULL,        -- rows that differ still, after repair
    whole     INTEGER NOT NULL,        -- every table was compared
    report    TEXT    NOT NULL         -- JSON
) STRICT;

ALTER TABLE _sync_table ADD COLUMN kept_from TEXT;  -- facts of earlier days may be missing here: they were
                                                    -- dropped, or were no part of the first snapshot; null: none
