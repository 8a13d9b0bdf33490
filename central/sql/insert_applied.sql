-- Remembers which transactions had their effect, beyond any backup that may be restored.
INSERT INTO sync.applied (tx_id, site, epoch, n, hash, hlc, offset_ms)
SELECT i.tx_id, %(site)s, %(epoch)s, i.n, i.hash,
       -- The clock of one in parts stands in their bodies, which nobody reads where it had its effect.
       CASE WHEN i.hlc > 0 THEN i.hlc ELSE coalesce(
           (SELECT max(a.hlc) FROM sync.applied AS a WHERE a.tx_id = i.tx_id), 0) END, i.offset_ms
FROM unnest(%(tx_id)s::uuid[], %(n)s::bigint[], %(hash)s::bytea[],
            %(hlc)s::bigint[], %(offset_ms)s::bigint[]) AS i (tx_id, n, hash, hlc, offset_ms)
ON CONFLICT DO NOTHING
