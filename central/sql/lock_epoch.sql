-- One transaction at a time goes on with a site's chain, whoever believes to hold the lease.
SELECT last_n, last_hash, closed_at_n, fork_n
FROM sync.epoch
WHERE site = %(site)s AND epoch = %(epoch)s
FOR UPDATE
