-- What is inspected, by the plans that it is of; %(text)s is in lower case, and empty for all. A plan
-- is of the same site or of all: were it another's of that id, a characteristic would come twice.
SELECT p.plan_code, c.id, c.site_id AS site, c.plan_id, c.name, c.kind, c.target, c.lsl, c.usl,
       c.uom, c.subgroup_size, c.chart_type
FROM mes.inspection_characteristics AS c
LEFT JOIN mes.inspection_plans AS p ON p.id = c.plan_id AND p.site_id IN (c.site_id, '*')
      AND p.site_id = ANY(%(sites)s)
WHERE c.site_id = ANY(%(sites)s)
  AND (strpos(lower(c.name), %(text)s) > 0 OR strpos(lower(p.plan_code), %(text)s) > 0)
ORDER BY p.plan_code, c.seq, c.site_id, c.id LIMIT %(limit)s
