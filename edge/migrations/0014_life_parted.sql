-- Where the history of a life of the server left that of the one that it follows: a restored backup may be newer than
-- one that was restored before, and then knows nothing of the life between.

ALTER TABLE _sync_life ADD COLUMN after_no INTEGER;
-- The highest order of any version that both have; none is known of lives that an earlier release met.
ALTER TABLE _sync_life ADD COLUMN parted_order INTEGER;
UPDATE _sync_life SET after_no = (SELECT max(before.no) FROM _sync_life AS before WHERE before.no < _sync_life.no);
