-- What is measured and between which limits. Shared plans stand under '*', for all sites.
SELECT c.id, c.site_id AS site, c.plan_id, c.name, c.kind, c.target, c.lsl, c.usl, c.uom,
       c.subgroup_size, c.chart_type
FROM mes.inspection_characteristics AS c
WHERE c.site_id = ANY(%(sites)s) AND c.id = %(id)s
ORDER BY c.site_id LIMIT 1
