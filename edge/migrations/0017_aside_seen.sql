-- The last snapshot that brought a head which stands aside, as _sync_row.seen tells it of one that stands in
-- its table: a head that a later snapshot lacks is not the centre's any more, and must not come back.
ALTER TABLE _sync_aside ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
