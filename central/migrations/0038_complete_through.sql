-- Until when all that a site committed is here: said in one place, for the status, reports, planned
-- time and backups alike. That of the last drain whose transactions were applied; or of the look at
-- which the site found nothing left, as its last hello tells, where all that it had by then is
-- decided. So a plant that is quiet is complete, and not behind.

CREATE VIEW sync.complete_through WITH (security_invoker = true) AS
SELECT s.site, greatest(e.through_ms, CASE
           WHEN coalesce(s.hello ->> 'epoch' = l.epoch::text, l.epoch IS NULL)
                AND (s.hello ->> 'n')::bigint <= coalesce(l.last_n, 0)
                AND s.hello ->> 'drained_ms' IS NOT NULL
           THEN least((s.hello ->> 'drained_ms')::bigint,
                      floor(extract(epoch FROM s.hello_at) * 1000)::bigint) END) AS through_ms
  FROM sync.site AS s
  LEFT JOIN LATERAL (
       SELECT nullif(max(o.through_ms), 0) AS through_ms FROM sync.epoch AS o WHERE o.site = s.site
  ) AS e ON true
  LEFT JOIN LATERAL (
       SELECT o.epoch, o.last_n FROM sync.epoch AS o WHERE o.site = s.site
        ORDER BY o.closed_at_n IS NOT NULL, o.opened_at DESC LIMIT 1
  ) AS l ON true;
COMMENT ON VIEW sync.complete_through IS
    'Until when all that a site committed is here, in ms since 1970; null of one never heard';

-- Answers say it, and planned time counts until then: so a hello that moves it changes them.
ALTER TABLE sync.revision DROP CONSTRAINT revision_part_check;
ALTER TABLE sync.revision ADD CONSTRAINT revision_part_check
    CHECK (part IN ('applied', 'told', 'kept', 'heard'));
COMMENT ON COLUMN sync.revision.part IS
    'applied: by the ingest; told: by the sequencer, of changes of clients that the queue held until'
    ' then; kept: by upkeep; heard: by a hello that told of another minute. Each is counted by one'
    ' at a time, so nobody waits for another';
