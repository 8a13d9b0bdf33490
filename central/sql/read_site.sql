-- The fence, and what the apply has to look out for. The settings hold until the commit: the ingest
-- is the one that notices a deadlock with a program of the centre soon, and tries again.
SELECT s.lease_holder, s.lease_token, s.stopped_because,
       (SELECT count(*) FROM sync.epoch AS e WHERE e.site = s.site),
       EXISTS (SELECT FROM sync.waiting AS w WHERE w.site_id = s.site),
       to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM sync.site AS s
WHERE s.site = %(site)s
