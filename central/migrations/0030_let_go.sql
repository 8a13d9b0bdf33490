-- Facts that a person let go of. Their site goes on having them and may send them again, long after
-- mes.sync_parked has forgotten: from a store that was put back to a copy, or as a repair. So a line
-- is kept for as long as there is the site; there are as many as people have decided on.

CREATE TABLE sync.let_go (
    site_id    text  NOT NULL REFERENCES sync.site (site) ON DELETE CASCADE,
    table_name text  NOT NULL,
    row_id     uuid  NOT NULL,
    sha256     bytea NOT NULL,                   -- of its content, as in mes.sync_parked
    PRIMARY KEY (site_id, table_name, row_id, sha256)
);
COMMENT ON TABLE sync.let_go IS 'Facts that were discarded, and are not applied should they come again';

DO $$
BEGIN
    IF to_regclass('mes.sync_parked') IS NOT NULL THEN
        INSERT INTO sync.let_go
        SELECT DISTINCT p.site_id, p.table_name, p.row_id, sha256(convert_to(p.content::text, 'UTF8'))
        FROM mes.sync_parked AS p JOIN sync.site AS s ON s.site = p.site_id
        WHERE p.state = 'discarded' AND p.op = 'I' AND p.row_id IS NOT NULL AND p.content IS NOT NULL;
    END IF;
END $$;
