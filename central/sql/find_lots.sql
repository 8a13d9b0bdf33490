-- Lots in the order of the primary key, so that a page begins where the last one ended.
SELECT l.id, l.site_id AS site, l.lot_no, l.material_id, l.material_code, l.supplier_lot, l.made_at,
       l.received_at, l.expires_at, l.uom, l.quality_status, l.location, l.created_at
FROM mes.material_lots AS l
WHERE l.site_id = ANY(%(sites)s)
  AND (%(after_id)s::uuid IS NULL
       OR (l.site_id, l.created_at, l.id) > (%(after_site)s, %(after_at)s, %(after_id)s))
  AND (%(starts)s::text IS NULL OR starts_with(l.lot_no, %(starts)s))
  AND (%(material)s::text IS NULL OR l.material_code = %(material)s)
  AND (%(status)s::text IS NULL OR l.quality_status = %(status)s)
ORDER BY l.site_id, l.created_at, l.id LIMIT %(limit)s
