-- Keeps values of columns that we don't have yet. The last one written counts, as in the row.
INSERT INTO sync.extra (site_id, table_name, id, created_at, column_name, value, schema)
SELECT %(site)s, i.table_name, i.id, i.created_at, i.column_name, i.value, i.schema
FROM unnest(%(table_name)s::text[], %(id)s::uuid[], %(created_at)s::timestamptz[],
            %(column_name)s::text[], %(value)s::bytea[], %(schema)s::integer[])
     AS i (table_name, id, created_at, column_name, value, schema)
ON CONFLICT (site_id, table_name, id, column_name) DO UPDATE
SET value = excluded.value, schema = excluded.schema
