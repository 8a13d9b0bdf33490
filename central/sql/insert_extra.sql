-- Keeps values of columns that we don't have yet, with the version that their write made. The last one
-- written counts, as in the row; a row that was parked meanwhile does not bring back what was before.
INSERT INTO sync.extra AS e (site_id, table_name, id, created_at, column_name, value, schema, hlc, ord)
SELECT %(site)s, i.table_name, i.id, i.created_at, i.column_name, i.value, i.schema, i.hlc,
       coalesce(h.ord, 0)
FROM unnest(%(table_name)s::text[], %(table_no)s::smallint[], %(id)s::uuid[],
            %(created_at)s::timestamptz[], %(column_name)s::text[], %(value)s::bytea[],
            %(schema)s::integer[], %(hlc)s::bigint[])
     AS i (table_name, table_no, id, created_at, column_name, value, schema, hlc)
LEFT JOIN sync.head AS h
     ON h.site_id = %(site)s AND h.table_no = i.table_no AND h.id = i.id
ON CONFLICT (site_id, table_name, id, column_name) DO UPDATE
SET value = excluded.value, schema = excluded.schema, hlc = excluded.hlc, ord = excluded.ord
WHERE e.hlc <= excluded.hlc
