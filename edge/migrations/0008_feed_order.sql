-- Entries whose run is whole wait here, too: for the other feed, with which they are shown.

ALTER TABLE _sync_in ADD COLUMN beside INTEGER;  -- the end of a run: where the other feed stood then
CREATE INDEX _sync_in_end ON _sync_in (scope, pos) WHERE beside IS NOT NULL;
