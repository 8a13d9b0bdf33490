-- What lies beyond a fork is found by the order of its versions, which are written in about that order: an
-- index that costs a write next to nothing.
CREATE INDEX version_by_order ON sync.version USING brin (ord) WITH (pages_per_range = 32, autosummarize = on);

-- What came home after a restore of the centre is remembered as long as transactions are.
ALTER TABLE sync.included ADD COLUMN at timestamptz NOT NULL DEFAULT now();
ALTER TABLE sync.again ADD COLUMN at timestamptz NOT NULL DEFAULT now();
CREATE INDEX included_by_time ON sync.included (at);
CREATE INDEX included_by_n ON sync.included (site, epoch, n);
CREATE INDEX again_by_time ON sync.again (at);
