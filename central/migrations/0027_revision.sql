-- What an answer on a site rests on changes with its revision: so an answer that is kept with the
-- revision it was made at is current for as long as the revision is.

CREATE TABLE sync.revision (
    site  text   NOT NULL,                       -- '*' of rows of all sites
    part  text   NOT NULL CHECK (part IN ('applied', 'told', 'kept')),
    no    bigint NOT NULL,
    PRIMARY KEY (site, part)
) WITH (fillfactor = 50);
COMMENT ON TABLE sync.revision IS 'How often what is kept of a site was changed, by whom';
COMMENT ON COLUMN sync.revision.part IS
    'applied: by the ingest; told: by the sequencer, of changes of clients that the queue held until'
    ' then; kept: by upkeep. Each is counted by one at a time, so nobody waits for another';

CREATE FUNCTION sync.count_change(changed text, by_whom text) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO sync.revision AS r (site, part, no) VALUES (changed, by_whom, 1)
    ON CONFLICT (site, part) DO UPDATE SET no = r.no + 1
$$;
COMMENT ON FUNCTION sync.count_change IS 'In the transaction that changes what is kept of a site';

CREATE FUNCTION sync.note_upkeep() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM sync.count_change(NEW.site_id, 'kept');
    RETURN NULL;
END $$;
CREATE TRIGGER count_change AFTER INSERT OR UPDATE ON sync.archive
    FOR EACH ROW EXECUTE FUNCTION sync.note_upkeep();

-- One number for each site. What clients wrote and nobody was told of yet counts by how much it is:
-- it grows with each commit until the sequencer takes it, and then 'told' does.
CREATE VIEW sync.site_revision AS
SELECT s.site,
       (coalesce(sum(c.changes), 0) * 1000000 + coalesce(sum(c.waiting), 0) % 1000000)::bigint
           AS revision
  FROM sync.site AS s
  LEFT JOIN (
       SELECT r.site, r.no AS changes, 0 AS waiting FROM sync.revision AS r
       UNION ALL
       SELECT t.site_id, 0, count(*) FROM sync.touched AS t GROUP BY t.site_id
  ) AS c ON c.site IN (s.site, '*')
 GROUP BY s.site;
COMMENT ON VIEW sync.site_revision IS 'Another number once anything changed that answers rest on';
