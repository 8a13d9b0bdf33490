-- Of values that wait for a column that we don't have yet: those that a new one displaces, and its writer
-- can't have seen, since nobody but the store that wrote them had them, and that has gone back. And those
-- that the new one gives way to, as a row that was parked meanwhile does.
SELECT i.place - 1, e.value, e.hlc, e.hlc > i.hlc
FROM unnest(%(table_name)s::text[], %(table_no)s::smallint[], %(id)s::uuid[],
            %(column_name)s::text[], %(value)s::bytea[], %(hlc)s::bigint[])
     WITH ORDINALITY AS i (table_name, table_no, id, column_name, value, hlc, place)
JOIN sync.extra AS e
     ON e.site_id = %(site)s AND e.table_name = i.table_name AND e.id = i.id
     AND e.column_name = i.column_name
WHERE e.value <> i.value
  AND (e.hlc > i.hlc OR EXISTS (
      SELECT FROM sync.version AS v
      WHERE v.site_id = %(site)s AND v.table_no = i.table_no AND v.id = e.id AND v.ord = e.ord
        AND v.lost))
