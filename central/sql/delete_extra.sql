-- Forgets values that wait for columns which their rows have been given by a later write since; gives
-- those that the writer can't have seen, as the store that wrote them has gone back.
WITH gone AS (
    DELETE FROM sync.extra AS e
    USING unnest(%(id)s::uuid[], %(hlc)s::bigint[]) WITH ORDINALITY AS i (id, hlc, place)
    WHERE e.site_id = %(site)s AND e.table_name = %(table_name)s AND e.id = i.id
      AND e.column_name = ANY(%(names)s::text[]) AND e.hlc <= i.hlc
    RETURNING i.place, e.id, e.ord, e.column_name, e.value, e.hlc)
SELECT g.place - 1, g.column_name, g.value, g.hlc, v.lost
FROM gone AS g JOIN sync.version AS v
     ON v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.id = g.id AND v.ord = g.ord
WHERE v.lost
