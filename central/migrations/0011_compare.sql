CREATE TABLE sync.compare (            -- what a site's last comparisons with its share came to
    site       text        NOT NULL REFERENCES sync.site ON DELETE CASCADE,
    run        uuid        NOT NULL,   -- made by the site, or by whoever asked it to compare
    at         timestamptz NOT NULL DEFAULT now(),
    differing  integer     NOT NULL,   -- rows that differ still, after repair
    whole      boolean     NOT NULL,   -- every table was compared
    report     jsonb       NOT NULL,   -- as the site told it
    PRIMARY KEY (site, run)
);
