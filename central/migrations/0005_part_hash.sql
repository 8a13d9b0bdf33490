-- Which transaction a part is of, so that nobody has to open the parts to see whether all are here.
-- Those that were kept before are taken for missing: their site is asked for them again.
ALTER TABLE sync.part ADD COLUMN hash bytea NOT NULL DEFAULT '';
