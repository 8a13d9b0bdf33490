-- Parked rows as they were sent, held so that nobody else tries them at the same time.
SELECT ticket::text, reason, behind::text, quiet, block, tx_id::text, epoch::text, n, stored_at_ms, ord
FROM sync.waiting
WHERE site_id = %(site)s AND ticket = ANY(%(tickets)s::uuid[])
ORDER BY ord
FOR UPDATE
