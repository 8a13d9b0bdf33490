-- Holds the heads of these rows until the commit, in one order, so that two workers never wait for
-- each other in a circle. What is read after this is what the decision is made on.
SELECT id::text, version::text, ord, deleted,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM sync.head
WHERE site_id = %(site)s AND table_no = %(table_no)s AND id = ANY(%(ids)s::uuid[])
ORDER BY id
FOR UPDATE
