-- Gives rows that a comparison found to differ a version of their own, and queues them for the feed:
-- a site takes no head again that it has had. What their columns hold is left as it is, so the version
-- has none: what a site writes at that moment meets nobody's write.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(sites)s::text[], %(ids)s::uuid[], %(created)s::timestamptz[],
                         %(versions)s::uuid[], %(deleted)s::boolean[], %(scopes)s::text[])
                  AS g (site_id, id, created_at, version, deleted, scopes)
), moved AS (
    UPDATE sync.head AS h
    SET version = g.version, ord = nextval('sync.version_order'), deleted = g.deleted
    FROM given AS g
    WHERE h.site_id = g.site_id AND h.table_no = %(table_no)s AND h.id = g.id
    RETURNING h.site_id, h.id, h.ord, h.version, h.created_at, g.deleted, g.scopes
), noted AS (
    INSERT INTO sync.version
        (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms)
    SELECT m.site_id, %(table_no)s, m.id, m.ord, m.version,
           CASE WHEN m.deleted THEN 'D' ELSE 'U' END::"char", 0, '*', %(writer)s,
           sync.now_ms()
    FROM moved AS m
)
INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
SELECT %(table_no)s, m.site_id, m.id, m.created_at, m.scopes::text[]
FROM moved AS m WHERE m.scopes <> '{}'
