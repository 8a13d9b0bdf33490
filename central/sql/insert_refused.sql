-- Keeps a message that nobody can read where a person finds it; the same one once.
INSERT INTO sync.refused (site, reason, message, sha256, payload, stored_at_ms)
VALUES (%(site)s, %(reason)s, %(message)s, %(sha256)s, %(payload)s, %(stored_at_ms)s)
ON CONFLICT (site, sha256) DO NOTHING
