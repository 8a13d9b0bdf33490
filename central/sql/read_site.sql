-- The fence, and what the apply has to look out for. From here to the commit it waits for a lock no
-- longer than half of what it takes PostgreSQL to look for a deadlock, and is tried again: so it is
-- the ingest that gives way to programs of the centre, never the other way round.
SELECT s.lease_holder, s.lease_token, s.stopped_because,
       (SELECT count(*) FROM sync.epoch AS e WHERE e.site = s.site),
       EXISTS (SELECT FROM sync.waiting AS w WHERE w.site_id = s.site),
       EXISTS (SELECT FROM sync.extra AS e WHERE e.site_id = s.site),
       EXISTS (SELECT FROM sync.let_go AS g WHERE g.site_id = s.site),
       to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
       sync.is_verified(s.site),
       EXISTS (SELECT FROM sync.included AS i WHERE i.site = s.site),
       set_config('lock_timeout', '500ms', true)
FROM sync.site AS s
WHERE s.site = %(site)s
