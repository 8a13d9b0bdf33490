-- Earlier changes of these rows that were not applied: a later one that builds on them goes behind.
SELECT row_id, ticket::text, tx_id::text, quiet, ord
FROM sync.waiting
WHERE site_id = %(site)s AND table_name = %(table)s AND row_id = ANY(%(ids)s::text[])
ORDER BY ord
