-- insert_marks
-- The hours whose reports are to be made again, each once. Nobody waits for anybody: the marks are of
-- one site, whose chain the apply holds.
INSERT INTO sync.rollup_mark (site_id, table_name, hour)
SELECT %(site)s, i.table_name, i.hour
FROM unnest(%(table_name)s::text[], %(hour)s::timestamptz[]) AS i (table_name, hour)
ON CONFLICT DO NOTHING
