-- Facts that a person let go of. Their site goes on having them and may send them again, long after
-- mes.sync_parked has forgotten: from a store that was put back to a copy, or as a repair. So a line
-- is kept for as long as there is the site; there are as many as people have decided on.

CREATE TABLE sync.let_go (
    site_id    text  NOT NULL REFERENCES sync.site (site) ON DELETE CASCADE,
    table_name text  NOT NULL,
    row_id     uuid  NOT NULL,
    sha256     bytea NOT NULL,                   -- of its created_at and values
    PRIMARY KEY (site_id, table_name, row_id, sha256)
);
COMMENT ON TABLE sync.let_go IS 'Facts that were discarded, and are not applied should they come again';
