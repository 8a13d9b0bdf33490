-- Tells what became of parked rows: to the site as well, by a version of the centre. Unless it is told
-- anyway, one that failed again for the same reason is passed over: it would go down with every try.
WITH moved AS (
    UPDATE sync.head AS h SET version = %(version)s, ord = nextval('sync.version_order')
    FROM unnest(%(tickets)s::uuid[], %(states)s::text[], %(reasons)s::text[],
                %(messages)s::text[]) AS i (id, state, reason, message)
    WHERE h.site_id = %(site)s AND h.table_no = %(table_no)s AND h.id = i.id
      AND (%(anyway)s OR NOT EXISTS (
          SELECT FROM mes.sync_parked AS p
          WHERE p.site_id = %(site)s AND p.created_at = h.created_at AND p.id = h.id
            AND p.state = i.state AND p.reason = coalesce(i.reason, p.reason)
            AND p.message = coalesce(i.message, p.message)))
    RETURNING h.ord, h.created_at, i.*
), noted AS (
    INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin, at_ms)
    SELECT %(site)s, %(table_no)s, m.id, m.ord, %(version)s, 'U', %(mask)s, '*',
           (extract(epoch FROM now()) * 1000)::bigint FROM moved AS m
), told AS (
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT %(table_no)s, %(site)s, m.id, m.created_at, ARRAY[%(site)s] FROM moved AS m
)
UPDATE mes.sync_parked AS p
SET state = m.state, reason = coalesce(m.reason, p.reason),
    message = coalesce(m.message, p.message), retried_at = now()
FROM moved AS m
WHERE p.site_id = %(site)s AND p.created_at = m.created_at AND p.id = m.id
