-- Remembers which transactions had their effect, beyond any backup that may be restored.
INSERT INTO sync.applied (tx_id, site, epoch, n, hash)
SELECT i.tx_id, %(site)s, %(epoch)s, i.n, i.hash
FROM unnest(%(tx_id)s::uuid[], %(n)s::bigint[], %(hash)s::bytea[]) AS i (tx_id, n, hash)
ON CONFLICT DO NOTHING
