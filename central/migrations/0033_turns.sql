-- Whose turn it is among the rows that wait. An id alone says neither what is missing, since a report
-- may name as its order what is a job, nor does a row that fails again and again say so itself.

ALTER TABLE sync.waiting
    ADD COLUMN needs_no smallint,                   -- the table whose row is missing; null where nobody noted it
    ADD COLUMN tries    integer NOT NULL DEFAULT 0; -- in vain so far: who had fewer goes first
COMMENT ON COLUMN sync.waiting.needs_no IS 'Number of the table whose row of the id "needs" is missing';
COMMENT ON COLUMN sync.waiting.tries IS 'How often it was tried in vain; those that were tried less go first';
