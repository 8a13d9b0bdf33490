-- From the bounds and not from the names: in a name a site stands in small letters. Sizes with
-- indexes and TOAST, 0 where one was dropped meanwhile; rows as the last ANALYZE counted them, null
-- where there was none.
SELECT t.relname AS table_name,
       substring(pg_get_expr(s.relpartbound, s.oid) FROM $$IN \('(.*)'\)$$) AS site,
       substring(pg_get_expr(m.relpartbound, m.oid) FROM $$FROM \('(\d{4}-\d\d)$$) AS month,
       coalesce(pg_total_relation_size(m.oid), 0) AS bytes,
       CASE WHEN m.reltuples >= 0 THEN m.reltuples::bigint END AS rows
FROM pg_class AS m
JOIN pg_inherits AS of_site ON of_site.inhrelid = m.oid
JOIN pg_class AS s ON s.oid = of_site.inhparent
JOIN pg_inherits AS of_table ON of_table.inhrelid = s.oid
JOIN pg_class AS t ON t.oid = of_table.inhparent
WHERE m.relkind = 'r' AND t.relnamespace = 'mes'::regnamespace
  AND (%(tables)s::text[] IS NULL OR t.relname = ANY (%(tables)s))
ORDER BY 1, 2, 3
