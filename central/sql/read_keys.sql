-- Who holds these natural keys.
SELECT key, id::text FROM sync.row_key
WHERE site_id = %(site)s AND table_no = %(table_no)s AND key = ANY(%(keys)s::text[])
