-- The hours whose reports are to be made again: appended, so that nobody waits for anybody.
INSERT INTO sync.rollup_mark (site_id, table_name, hour)
SELECT %(site)s, i.table_name, i.hour
FROM unnest(%(table_name)s::text[], %(hour)s::timestamptz[]) AS i (table_name, hour)
