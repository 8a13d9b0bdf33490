-- A site's first chain opens by itself; any further one is opened by the handshake that closes the
-- one before it.
INSERT INTO sync.epoch (site, epoch) VALUES (%(site)s, %(epoch)s) ON CONFLICT DO NOTHING
