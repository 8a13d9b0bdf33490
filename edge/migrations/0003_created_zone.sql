-- A created_at that an adopted table had before stays as the plant's programs write it.

ALTER TABLE _sync_table ADD COLUMN created_zone TEXT;  -- zone of its texts that name none, '' where that is
                                                       -- not known; null: the column is ours
