-- Gives rows that a comparison found to differ a version of their own, and queues them for the feed:
-- a site takes no head again that it has had. What their columns hold is left as it is, and so is when
-- they were written: whatever a site writes after the row was compared is later than the repair.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(sites)s::text[], %(ids)s::uuid[], %(created)s::timestamptz[],
                         %(versions)s::uuid[], %(masks)s::bigint[], %(deleted)s::boolean[],
                         %(scopes)s::text[])
                  AS g (site_id, id, created_at, version, mask, deleted, scopes)
), before AS MATERIALIZED (
    SELECT g.site_id, g.id, v.at_ms, v.clamped
    FROM given AS g
    JOIN sync.head AS h ON h.site_id = g.site_id AND h.table_no = %(table_no)s AND h.id = g.id
    JOIN sync.version AS v ON v.site_id = h.site_id AND v.table_no = h.table_no AND v.id = h.id
                          AND v.ord = h.ord
), moved AS (
    UPDATE sync.head AS h
    SET version = g.version, ord = nextval('sync.version_order'), deleted = g.deleted
    FROM given AS g
    WHERE h.site_id = g.site_id AND h.table_no = %(table_no)s AND h.id = g.id
    RETURNING h.site_id, h.id, h.ord, h.version, h.created_at, g.mask, g.deleted, g.scopes
), noted AS (
    INSERT INTO sync.version
        (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms, times)
    SELECT m.site_id, %(table_no)s, m.id, m.ord, m.version,
           CASE WHEN m.deleted THEN 'D' ELSE 'U' END::"char", m.mask, '*', %(writer)s,
           sync.now_ms(),
           jsonb_build_array(jsonb_build_array(m.mask, coalesce(b.at_ms, 0), coalesce(b.clamped, false)))
    FROM moved AS m LEFT JOIN before AS b USING (site_id, id)
)
INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
SELECT %(table_no)s, m.site_id, m.id, m.created_at, m.scopes::text[]
FROM moved AS m WHERE m.scopes <> '{}'
