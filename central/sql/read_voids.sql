-- What voids these edges, what voids that, and so on: whether an edge stands is told from all of it.
-- A row voids what its own site wrote; were it another's, the answer would depend on who asks.
WITH RECURSIVE v AS (
    SELECT e.id, e.site_id, e.void_of
    FROM unnest(%(edges)s::uuid[], %(owners)s::text[]) AS o (id, site)
    JOIN mes.lot_genealogy AS e ON e.void_of = o.id AND e.site_id = o.site
    WHERE e.site_id = ANY(%(sites)s)
    UNION
    SELECT e.id, e.site_id, e.void_of
    FROM v JOIN mes.lot_genealogy AS e ON e.void_of = v.id AND e.site_id = v.site_id
    WHERE e.site_id = ANY(%(sites)s)
)
SELECT site_id, id, void_of FROM v
