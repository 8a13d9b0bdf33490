-- By the letters of the shop floor's report forms, in their order and not in that of our names.
SELECT CASE report_type
           WHEN 'PRODUCTION' THEN 'D'
           WHEN 'SETUP' THEN 'S'
           WHEN 'BREAKDOWN' THEN 'B'
           ELSE report_type
       END COLLATE "C" AS form,
       count(*) AS rows,
       sum(qty_good) AS qty_completed,
       sum(qty_scrap) AS qty_rejected,
       sum(qty_mrb) AS qty_mrb,
       coalesce(sum(elapsed_min), 0) AS elapsed_min,
       coalesce(sum(elapsed_min) FILTER (WHERE duration_known), 0) AS recorded_min,
       coalesce(sum(duration_s), 0) / 60 AS span_min
FROM (
    SELECT *, extract(epoch FROM ended_at - started_at) / 60 AS elapsed_min
    FROM mes.job_responses
) AS reports
GROUP BY form
ORDER BY form
