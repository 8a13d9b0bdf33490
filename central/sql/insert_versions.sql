-- The history that later decisions are made on: what each version touched, and who made it.
INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, overruled, contested,
                          origin, writer, at_ms, hlc, clamped, replaced, times, counts)
SELECT %(site)s, %(table_no)s, i.id, i.ord, i.version, i.op::"char", i.mask, i.overruled,
       i.contested, %(site)s, i.writer, i.at_ms, i.hlc, i.clamped, i.replaced::jsonb,
       i.times::jsonb, i.counts
FROM unnest(%(id)s::uuid[], %(ord)s::bigint[], %(version)s::uuid[], %(op)s::text[],
            %(mask)s::bigint[], %(overruled)s::bigint[], %(contested)s::bigint[],
            %(writer)s::text[], %(at_ms)s::bigint[], %(hlc)s::bigint[], %(clamped)s::boolean[],
            %(replaced)s::text[], %(times)s::text[], %(counts)s::boolean[])
     AS i (id, ord, version, op, mask, overruled, contested, writer, at_ms, hlc, clamped, replaced,
           times, counts)
