-- Gives rows their new version, those whose heads are held and those that never had one. A new one
-- that does not come back was made by somebody else meanwhile: the whole run is tried again.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(id)s::uuid[], %(created_at)s::timestamptz[], %(version)s::uuid[],
                         %(deleted)s::boolean[], %(held)s::boolean[])
                  AS g (id, created_at, version, deleted, held)
), moved AS (
    UPDATE sync.head AS h
    SET version = g.version, ord = nextval('sync.version_order'), deleted = g.deleted,
        created_at = g.created_at
    FROM given AS g
    WHERE g.held AND h.site_id = %(site)s AND h.table_no = %(table_no)s AND h.id = g.id
      AND h.id = ANY(%(id)s::uuid[]) -- not all heads of the table, whatever is known of its size
    RETURNING h.id, h.ord
), made AS (
    INSERT INTO sync.head (site_id, table_no, id, created_at, version, ord, deleted)
    SELECT %(site)s, %(table_no)s, g.id, g.created_at, g.version, nextval('sync.version_order'),
           g.deleted
    FROM given AS g WHERE NOT g.held
    ON CONFLICT DO NOTHING
    RETURNING id, ord
)
SELECT id::text, ord FROM moved UNION ALL SELECT id::text, ord FROM made
