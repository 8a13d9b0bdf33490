-- Holds of lots that nobody released: each alone blocks its lot. One of '*' is the centre's own.
SELECT h.target_id AS lot_id, h.id, h.site_id AS site, h.reason_code, h.comment, h.placed_by,
       h.placed_at
FROM mes.holds AS h
WHERE h.site_id = ANY(%(sites)s) AND h.target_type = 'LOT' AND h.target_id = ANY(%(lots)s)
  AND h.released_at IS NULL
ORDER BY h.target_id, h.placed_at, h.id
