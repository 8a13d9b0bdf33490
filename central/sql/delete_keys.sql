-- Lets go of the natural keys of rows, all before any new one is taken, so that rows of one
-- transaction may hand keys on to one another.
DELETE FROM sync.row_key
WHERE site_id = %(site)s AND table_no = %(table_no)s AND id = ANY(%(ids)s::uuid[])
