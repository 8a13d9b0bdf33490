-- One step from lots to those that went into them; read_edges_down.sql tells why one.
SELECT e.id, e.site_id AS site, e.parent_lot_id AS parent, e.child_lot_id AS child, e.relation,
       e.qty, e.uom, e.response_id
FROM mes.lot_genealogy AS e
WHERE e.site_id = ANY(%(sites)s) AND e.child_lot_id = ANY(%(lots)s) AND e.void_of IS NULL
ORDER BY e.parent_lot_id, e.id LIMIT %(edges_max)s
