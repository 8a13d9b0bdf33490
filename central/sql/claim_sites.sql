-- Renews what a worker holds, lets go of what is more than its share, and takes what is free up to
-- its share. All by the server's clock, so that workers' clocks may differ. What ran out and nobody
-- took meanwhile is still its own, under the same token: what it is applying goes on.
WITH alive AS MATERIALIZED (
    SELECT greatest(count(*), 1) AS workers FROM sync.worker WHERE until > now()
), sites AS MATERIALIZED (
    SELECT s.site, s.lease_holder IS NOT DISTINCT FROM %(holder)s AS mine,
           s.lease_holder IS NULL OR s.lease_until <= now() AS free
    FROM sync.site AS s
    ORDER BY s.site
    FOR UPDATE
), share AS (
    SELECT ceil((SELECT count(*) FROM sync.site)::numeric / (SELECT workers FROM alive)) AS sites
), ranked AS (
    -- What it has goes before what is free, so that a site stays where it is.
    SELECT s.*, row_number() OVER (ORDER BY NOT s.mine, s.site) AS place
    FROM sites AS s WHERE s.mine OR s.free
), kept AS (
    UPDATE sync.site AS s
    SET lease_token = s.lease_token + (NOT r.mine)::int, lease_holder = %(holder)s,
        lease_until = now() + make_interval(secs => %(ttl_s)s)
    FROM ranked AS r
    WHERE s.site = r.site AND r.place <= (SELECT sites FROM share)
    RETURNING s.site, s.lease_token
), let_go AS (
    UPDATE sync.site AS s SET lease_holder = NULL, lease_until = '-infinity'
    FROM ranked AS r
    WHERE s.site = r.site AND r.mine AND r.place > (SELECT sites FROM share)
)
SELECT FROM kept
