-- One pass over the reports; orders, machines and people are counted by the names that people use,
-- since every site has rows of its own for them.
WITH reports AS (
    SELECT r.*, o.order_no, o.material_code, e.equipment_code, p.person_no,
           extract(epoch FROM r.ended_at - r.started_at) / 60 AS elapsed_min
    FROM mes.job_responses AS r
    LEFT JOIN mes.work_orders AS o ON o.site_id = r.site_id AND o.id = r.work_order_id
    LEFT JOIN mes.equipment AS e ON e.site_id = r.site_id AND e.id = r.equipment_id
    LEFT JOIN mes.persons AS p ON p.id = r.person_id
)
SELECT count(*) AS rows,
       count(DISTINCT order_no) AS cases,
       count(DISTINCT equipment_code) AS resources,
       count(DISTINCT segment_code) AS activities,
       count(DISTINCT person_no) AS workers,
       count(DISTINCT material_code) AS parts,
       to_char(min(started_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') AS min_start,
       to_char(max(started_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') AS max_start,
       to_char(min(ended_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') AS min_complete,
       to_char(max(ended_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') AS max_complete,
       coalesce(sum(qty_good), 0) AS qty_completed,
       coalesce(sum(qty_scrap), 0) AS qty_rejected,
       coalesce(sum(qty_mrb), 0) AS qty_mrb,
       coalesce(sum(qty_good + qty_scrap + qty_mrb), 0) AS produced,
       (SELECT coalesce(sum(o.qty_ordered), 0)
        FROM mes.work_orders AS o
        WHERE (o.site_id, o.id) IN (SELECT r.site_id, r.work_order_id FROM reports AS r)
       ) AS wo_qty_sum_over_cases,
       coalesce(sum(elapsed_min), 0) AS elapsed_min,
       coalesce(sum(duration_s), 0) / 60 AS span_min,
       coalesce(sum(elapsed_min) FILTER (WHERE duration_known), 0) AS recorded_min
FROM reports
