-- Values of a characteristic in the order in which they were made: of first attempts, since what a
-- piece measures once it was reworked says nothing of the process; and of results that nobody took
-- back. Of several corrections of one result the first counts, the others correct nothing. A value
-- and its result are of one moment, give or take the slack: without it every month would be asked.
SELECT m.created_at AS at, m.result_id, r.sample_no, r.equipment_id, m.value, m.uom, m.passed,
       m.defects
FROM mes.measurements AS m
LEFT JOIN mes.inspection_results AS r
       ON r.site_id = m.site_id AND r.id = m.result_id
      AND r.created_at >= %(from)s - %(slack)s AND r.created_at < %(to)s + %(slack)s
WHERE m.site_id = %(site)s AND m.characteristic_id = %(characteristic)s
  AND m.created_at >= %(from)s AND m.created_at < %(to)s
  AND coalesce(r.attempt, 1) = 1
  AND (%(equipment)s::uuid IS NULL OR r.equipment_id = %(equipment)s)
  AND NOT EXISTS (
      SELECT FROM mes.inspection_results AS c
      WHERE c.site_id = m.site_id AND c.corrects_id = m.result_id)
  AND NOT EXISTS (
      SELECT FROM mes.inspection_results AS c
      WHERE c.site_id = m.site_id AND c.corrects_id = r.corrects_id
        AND (c.created_at, c.id) < (r.created_at, r.id))
ORDER BY m.created_at, m.result_id, m.piece_no, m.id
LIMIT %(values_max)s
