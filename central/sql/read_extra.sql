-- What waits for the columns that new values came for, and whether the store that wrote it has gone back since:
-- then nobody has seen it, since it came down to no one.
SELECT i.place - 1, e.value, e.hlc, EXISTS (
    SELECT FROM sync.version AS v
    WHERE v.site_id = %(site)s AND v.table_no = i.table_no AND v.id = e.id AND v.ord = e.ord
      AND v.lost)
FROM unnest(%(table_name)s::text[], %(table_no)s::smallint[], %(id)s::uuid[], %(column_name)s::text[])
     WITH ORDINALITY AS i (table_name, table_no, id, column_name, place)
JOIN sync.extra AS e
     ON e.site_id = %(site)s AND e.table_name = i.table_name AND e.id = i.id
     AND e.column_name = i.column_name
