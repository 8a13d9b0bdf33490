-- In which life of the server a site last brought home what the centre had lost: an older copy of its store has not
-- heard of it, whatever its numbers are.

ALTER TABLE sync.site ADD COLUMN home_no bigint NOT NULL DEFAULT 0;
