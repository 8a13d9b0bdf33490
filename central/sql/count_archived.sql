-- Months of facts that are not in their table, of sites: what is summed or charted of it lacks them.
SELECT count(*) AS months FROM sync.archive AS a
WHERE a.site_id = ANY(%(sites)s) AND a.table_name = %(table)s AND a.state <> %(there)s
  AND a.month >= %(first)s AND a.month <= %(last)s
