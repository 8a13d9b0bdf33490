-- A report belongs wholly to the month in which it ended.
SELECT e.equipment_code COLLATE "C" AS resource,
       to_char(r.ended_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
       sum(r.qty_good) AS qty_completed,
       sum(r.qty_scrap) AS qty_rejected,
       sum(r.qty_mrb) AS qty_mrb
FROM mes.job_responses AS r
LEFT JOIN mes.equipment AS e ON e.site_id = r.site_id AND e.id = r.equipment_id
GROUP BY resource, month
ORDER BY resource, month
