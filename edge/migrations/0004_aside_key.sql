-- What a row that made way waits for: only where its key is free is it tried again.

ALTER TABLE _sync_aside ADD COLUMN key TEXT;   -- unique: JSON list of the columns of the key that is taken;
                                               -- null: not known, []: not to be looked up
DROP INDEX _sync_aside_by_code;
CREATE INDEX _sync_aside_by_key ON _sync_aside (code, table_name, key);
