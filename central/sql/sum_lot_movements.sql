-- What is on hand of each lot, site by site: the sum of all that ever moved, so no time bounds it.
-- Units are never added to each other.
SELECT m.lot_id, m.site_id AS site, m.uom, sum(m.qty_delta) AS qty
FROM mes.inventory_movements AS m
WHERE m.site_id = ANY(%(sites)s) AND m.lot_id = ANY(%(lots)s)
GROUP BY m.lot_id, m.site_id, m.uom
ORDER BY m.lot_id, m.site_id, m.uom
