-- A store that went back finds by the times of its touches what its lost life has sent: versions keep them
-- corrected by this. Null of what was applied before.
ALTER TABLE sync.applied ADD COLUMN offset_ms bigint;
