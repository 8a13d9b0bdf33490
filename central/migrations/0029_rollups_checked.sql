-- What became of holding a site's rollups against its facts, the last time that it was done.

CREATE TABLE sync.rollup_check (
    site       text PRIMARY KEY REFERENCES sync.site ON DELETE CASCADE,
    checked_at timestamptz NOT NULL,
    differing  integer NOT NULL,
    why        text NOT NULL                     -- why it could not be looked at; else empty
);
COMMENT ON TABLE sync.rollup_check IS 'How many sums of reports were not those of the facts';
