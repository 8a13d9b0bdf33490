-- What came after the version that each writer saw. A base that is named and not found is unknown:
-- then the whole history is of no use and none is read, and everything is in conflict.
SELECT k.id::text, k.base IS NOT NULL AND b.ord IS NULL AS unknown,
       v.version::text, v.op::text, v.mask, v.overruled, v.contested, v.origin, v.writer,
       v.at_ms, v.clamped, v.times, v.lost, v.counts, v.hlc
FROM unnest(%(ids)s::uuid[], %(bases)s::uuid[]) AS k (id, base)
LEFT JOIN LATERAL (
    SELECT max(o.ord) AS ord FROM sync.version AS o
    WHERE o.site_id = %(site)s AND o.table_no = %(table_no)s AND o.id = k.id AND o.version = k.base
) AS b ON true
LEFT JOIN LATERAL (
    SELECT * FROM sync.version AS l
    WHERE l.site_id = %(site)s AND l.table_no = %(table_no)s AND l.id = k.id
      AND l.ord > coalesce(b.ord, 0) AND (k.base IS NULL OR b.ord IS NOT NULL)
) AS v ON true
ORDER BY k.id, v.ord
