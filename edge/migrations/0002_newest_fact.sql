-- Numbers come again where somebody deletes the newest facts past the guard; ids do not.

ALTER TABLE _sync_table ADD COLUMN journal_id TEXT;   -- id of the fact at journal_mark; null: not known
