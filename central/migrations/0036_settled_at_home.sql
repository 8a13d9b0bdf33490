-- After a restore of the centre the record of a parked row comes home before the row. Until that is
-- here, the row as it was sent is kept: a homecoming may be cut off between the two.
ALTER TABLE sync.waiting ADD COLUMN came_home boolean NOT NULL DEFAULT false;
