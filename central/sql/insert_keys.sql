-- Takes natural keys. One that another row holds does not come back: that row is parked as a clash
-- and both are kept.
INSERT INTO sync.row_key (site_id, table_no, key, id)
SELECT %(site)s, %(table_no)s, i.key, i.id
FROM unnest(%(key)s::text[], %(id)s::uuid[]) AS i (key, id)
ON CONFLICT DO NOTHING
RETURNING key
