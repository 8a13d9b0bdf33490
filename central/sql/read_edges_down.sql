-- One step from lots to those that they went into. Step by step, not in one recursive query: that
-- would follow every path, and in a genealogy with diamonds there are more paths than anybody has
-- time for. A row that voids another one is no edge.
SELECT e.id, e.site_id AS site, e.parent_lot_id AS parent, e.child_lot_id AS child, e.relation,
       e.qty, e.uom, e.response_id
FROM mes.lot_genealogy AS e
WHERE e.site_id = ANY(%(sites)s) AND e.parent_lot_id = ANY(%(lots)s) AND e.void_of IS NULL
ORDER BY e.child_lot_id, e.id LIMIT %(edges_max)s
