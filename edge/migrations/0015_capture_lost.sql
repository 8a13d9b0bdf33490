-- When our triggers were found to be away from a table: since some moment before, what programs wrote
-- was not captured. Null: all of it was, or a comparison has found the table the same at both ends since.
ALTER TABLE _sync_table ADD COLUMN uncaptured_ms INTEGER;
