-- Versions of changes that are parked: they took no effect, and an earlier change of their site that
-- is tried again gives way to none of them.

ALTER TABLE sync.version ADD COLUMN counts boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN sync.version.counts IS
    'Not where it is of a change that was parked: it holds what that had not seen, and nothing of it';
