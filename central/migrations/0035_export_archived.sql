-- An export of single reports lacks months that are in the archive, and tells how many.

ALTER TABLE sync.export ADD COLUMN archived_not_counted integer;
