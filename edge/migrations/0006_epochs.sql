-- Epochs that ended, since the file went back to an older copy of itself: each hello tells of all of them.

CREATE TABLE _sync_epoch (
    no       INTEGER PRIMARY KEY,
    epoch    TEXT    NOT NULL UNIQUE,
    fork_n   INTEGER NOT NULL,         -- the last transaction of it that this file still has
    closed_n INTEGER NOT NULL,         -- the last that had its effect at the centre
    at_ms    INTEGER NOT NULL
) STRICT;

-- Lives of the centre's server in which both ends agreed.
CREATE TABLE _sync_life (no INTEGER PRIMARY KEY, life TEXT NOT NULL UNIQUE) STRICT;

-- Where the file was before a person said that it had been moved: the centre knows it by that.
ALTER TABLE _sync_site ADD COLUMN moved_from TEXT;
