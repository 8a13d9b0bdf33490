-- The watermark moves with the effects, or not at all.
UPDATE sync.epoch SET last_n = %(last_n)s, last_hash = %(last_hash)s, decided_at = now(),
    through_ms = greatest(through_ms, %(through_ms)s)
WHERE site = %(site)s AND epoch = %(epoch)s
