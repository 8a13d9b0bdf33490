-- No entry of a feed is made in a life of the server before that is noted: a site that has met it takes
-- none that is older out of the broker, which may hold some of a history that is lost.
ALTER TABLE sync.life ADD COLUMN noted_ms bigint NOT NULL DEFAULT sync.now_ms();
