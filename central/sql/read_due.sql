-- Rows that may be applied now though no transaction of their site brought what they waited for: a
-- program of the centre made the parent, or a migration brought another catalogue: what broke the rules
-- of the last one is tried once by each. One of which nobody noted yet in which table its parent is
-- missing is tried once as well, which notes it. Those that were tried least first, then the oldest:
-- whatever fails each time holds up no other. What is behind another row has its turn with that one.
SELECT w.ticket::text
FROM sync.waiting AS w
WHERE w.site_id = %(site)s
  AND ((w.reason IN ('newer_schema', 'invalid_value', 'database') AND w.catalogue <> %(catalogue)s)
       OR (w.reason = 'parent_missing'
           AND (w.needs_no IS NULL
                OR EXISTS (SELECT FROM sync.head AS h
                           WHERE h.site_id IN (%(site)s, '*') AND h.table_no = w.needs_no
                             AND h.id = w.needs))))
ORDER BY w.tries, w.ord
LIMIT %(rows_max)s
