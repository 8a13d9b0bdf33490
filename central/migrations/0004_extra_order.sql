-- When a value came that waits for its column: it gives way to what was written into it since. What
-- waits already is taken for a value of the version that stands.
ALTER TABLE sync.extra
    ADD COLUMN hlc bigint NOT NULL DEFAULT 0,  -- clock of the site's drain: the later value stays
    ADD COLUMN ord bigint NOT NULL DEFAULT 0;  -- of the version that the write made; 0 for a fact

UPDATE sync.extra AS e SET ord = h.ord
FROM sync.head AS h JOIN sync.table_no AS t ON t.no = h.table_no
WHERE h.site_id = e.site_id AND t.name = e.table_name AND h.id = e.id;
