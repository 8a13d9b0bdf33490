-- Lots of one number, one a site at most: by the index that keeps numbers unique, since a recall
-- begins with a number and must not read all lots there are.
SELECT l.id, l.site_id AS site, l.lot_no, l.material_id, l.material_code, l.supplier_lot, l.made_at,
       l.received_at, l.expires_at, l.uom, l.quality_status, l.location, l.created_at
FROM sync.row_key AS k
JOIN sync.head AS h ON h.site_id = k.site_id AND h.table_no = k.table_no AND h.id = k.id
JOIN mes.material_lots AS l
  ON l.site_id = h.site_id AND l.created_at = h.created_at AND l.id = h.id
WHERE k.site_id = ANY(%(sites)s) AND l.site_id = ANY(%(sites)s)
  AND k.table_no = (SELECT no FROM sync.table_no WHERE name = 'material_lots')
  AND k.key = %(key)s
  AND (%(after_id)s::uuid IS NULL
       OR (l.site_id, l.created_at, l.id) > (%(after_site)s, %(after_at)s, %(after_id)s))
  AND (%(material)s::text IS NULL OR l.material_code = %(material)s)
  AND (%(status)s::text IS NULL OR l.quality_status = %(status)s)
ORDER BY l.site_id, l.created_at, l.id LIMIT %(limit)s
