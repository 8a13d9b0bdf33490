-- A step of the centre that writes shared rows and rows of a site is shown there as one: each entry
-- that ends a run names where the other feeds stood. Of the sites the shared feed names those that
-- have moved since.

ALTER TABLE sync.feed_head ADD COLUMN named_pos bigint NOT NULL DEFAULT 0;  -- of this feed in the shared one
