-- The backups that the centre may be restored from, as whoever takes them marks them. Names are kept
-- for ever: a line a backup. What a backup holds is kept while it may be restored.
CREATE TABLE sync.backup (
    name         text        PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}$'),
    begun_at     timestamptz NOT NULL DEFAULT now(),    -- all that was committed by then is in it
    finished_at  timestamptz,
    failed_at    timestamptz,
    gone_at      timestamptz,                           -- it can no longer be restored
    CONSTRAINT backup_ends_once CHECK (finished_at IS NULL OR failed_at IS NULL)
);
CREATE INDEX backup_that_counts ON sync.backup (name) WHERE failed_at IS NULL AND gone_at IS NULL;

CREATE TABLE sync.backup_position (    -- how far each chain was applied when a backup began
    backup      text   NOT NULL REFERENCES sync.backup ON DELETE CASCADE,
    site        text   NOT NULL,
    epoch       uuid   NOT NULL,
    last_n      bigint NOT NULL,
    through_ms  bigint NOT NULL,       -- all that the site committed until then is in the backup
    PRIMARY KEY (backup, site, epoch)
);
