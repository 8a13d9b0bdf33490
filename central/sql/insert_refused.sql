-- insert_refused
-- Keeps a message that nobody can read where a person finds it; the same one once. Of a site that has
-- 32 MiB here already only what is known of a message is kept, and nothing beyond 20,000: its site still
-- has it, and sends it again. A fault is different: what was set aside so was accepted, and is nowhere
-- else.
INSERT INTO sync.refused (site, reason, message, sha256, payload, stored_at_ms)
SELECT i.site, i.reason, i.message || CASE WHEN i.whole THEN '' ELSE ' (bytes not kept: 32 MiB are)' END,
       i.sha256, CASE WHEN i.whole THEN i.payload ELSE ''::bytea END, i.stored_at_ms
FROM (SELECT %(site)s::text AS site, %(reason)s::text AS reason, %(message)s::text AS message,
             %(sha256)s::bytea AS sha256, %(payload)s::bytea AS payload,
             %(stored_at_ms)s::bigint AS stored_at_ms,
             %(reason)s = 'fault' OR here.bytes < 33554432 AS whole
      FROM (SELECT count(*) AS messages, coalesce(sum(octet_length(r.payload)), 0) AS bytes
            FROM sync.refused AS r WHERE r.site = %(site)s AND r.reason <> 'fault') AS here
      WHERE %(reason)s = 'fault' OR here.messages < 20000) AS i
ON CONFLICT (site, sha256) DO NOTHING
