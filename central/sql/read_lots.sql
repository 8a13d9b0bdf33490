-- Lots by their ids, which alone are in no index of the table: the heads tell the rest of the key.
SELECT l.id, l.site_id AS site, l.lot_no, l.material_id, l.material_code, l.supplier_lot, l.made_at,
       l.received_at, l.expires_at, l.uom, l.quality_status, l.location
FROM sync.head AS h
JOIN mes.material_lots AS l
  ON l.site_id = h.site_id AND l.created_at = h.created_at AND l.id = h.id
WHERE h.site_id = ANY(%(sites)s) AND l.site_id = ANY(%(sites)s)
  AND h.table_no = (SELECT no FROM sync.table_no WHERE name = 'material_lots')
  AND h.id = ANY(%(lots)s)
ORDER BY l.site_id, l.id
