-- Forgets values that wait for columns which their rows have been given by a later write since.
DELETE FROM sync.extra AS e
USING unnest(%(id)s::uuid[], %(hlc)s::bigint[]) AS i (id, hlc)
WHERE e.site_id = %(site)s AND e.table_name = %(table_name)s AND e.id = i.id
  AND e.column_name = ANY(%(names)s::text[]) AND e.hlc <= i.hlc
