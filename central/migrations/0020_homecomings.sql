-- What comes home holds wherever it is cut off, and however often its site's store goes back.

-- A transaction has a link in each epoch that it moved through, also where only its rows came home: so the next
-- fork is found, too.
ALTER TABLE sync.included
    DROP CONSTRAINT included_pkey,
    ADD PRIMARY KEY (site, tx_id, epoch);

-- The homecoming that told of it: what an earlier one told and this one does not has come home since.
ALTER TABLE sync.again ADD COLUMN home uuid;

-- Sites that brought home what the centre had lost before it was noted in which life of the server.
UPDATE sync.site AS s SET home_no = h.no FROM (
    SELECT r.site, max(l.no) AS no FROM sync.restore AS r
    JOIN sync.life AS l ON l.started_ms <= extract(epoch FROM r.at) * 1000
    WHERE r.who = 'centre' GROUP BY r.site) AS h
WHERE h.site = s.site AND h.no > s.home_no;
