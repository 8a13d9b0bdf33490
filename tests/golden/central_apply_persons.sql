WITH moved AS (
    UPDATE sync.head AS h
    SET version = i.version, ord = nextval('sync.version_order')
    FROM (SELECT *, %(site)s::text AS i_site, %(table_no)s::smallint AS i_table_no
          FROM unnest(%(id)s::uuid[], %(created_at)s::timestamptz[], %(version)s::uuid[], %(hlc)s::bigint[], %(at_ms)s::bigint[], %(clamped)s::boolean[], %(expected)s::uuid[], %(n_assigned_sites)s::text[]) AS i (id, created_at, version, hlc, at_ms, clamped, expected, n_assigned_sites) OFFSET 0) AS i
    WHERE h.site_id = i.i_site AND h.table_no = i.i_table_no AND h.id = i.id
      AND h.created_at = i.created_at AND h.version = i.expected AND NOT h.deleted
    RETURNING h.ord, i.*
), noted AS (
    INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin,
        writer, hlc, at_ms, clamped, replaced)
    SELECT %(site)s, %(table_no)s, m.id, m.ord, m.version, 'U', 32, %(origin)s,
        NULL, m.hlc, m.at_ms, m.clamped, NULL FROM moved AS m
), done AS (
    UPDATE mes.persons AS t SET assigned_sites = m.n_assigned_sites FROM moved AS m
    WHERE t.site_id = %(site)s AND t.created_at = m.created_at AND t.id = m.id
    RETURNING t.id, t.created_at, CASE WHEN sync.scopes(new.home_site_id::text, new.assigned_sites::text) && ARRAY[%(site)s, '*']::text[] THEN array_remove(sync.scopes(old.home_site_id::text, old.assigned_sites::text, new.home_site_id::text, new.assigned_sites::text), %(site)s) ELSE array_remove(sync.scopes(old.home_site_id::text, old.assigned_sites::text, new.home_site_id::text, new.assigned_sites::text), %(site)s) || %(site)s::text END AS scopes
), told AS (
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT %(table_no)s, %(site)s, id, created_at, scopes
    FROM done WHERE scopes <> '{}'
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM done),
    CASE WHEN (SELECT count(*) FROM moved) < %(size)s
         THEN (SELECT array_agg(id::text) FROM moved) END, 0
