-- A transaction has its effect once, in whatever epoch it comes again.
SELECT tx_id::text FROM sync.applied WHERE tx_id = ANY(%(tx_ids)s::uuid[])
