CREATE TABLE sync.stream_refused (     -- what the broker would not make as it must be, for the status
    name        text        PRIMARY KEY,        -- UP_SITE, DOWN/site-SITE: stream, and its durable
    reason      text        NOT NULL,
    refused_at  timestamptz NOT NULL DEFAULT now()
);

-- Digest of our catalogue by which a row was tried last; '' is none, so it is tried once more.
ALTER TABLE sync.waiting ADD COLUMN catalogue text NOT NULL DEFAULT '';

-- The hours whose totals are to be made again, each once. Every apply holds its site's chain until it
-- commits: who takes a site's marks away locks its rows of sync.epoch first, so that no apply that
-- found the mark there already is still to come.
CREATE TABLE sync.rollup_mark_once (
    site_id     text        NOT NULL,
    table_name  text        NOT NULL,
    hour        timestamptz NOT NULL,
    PRIMARY KEY (site_id, table_name, hour)
);
INSERT INTO sync.rollup_mark_once SELECT DISTINCT site_id, table_name, hour FROM sync.rollup_mark;
DROP TABLE sync.rollup_mark;
ALTER TABLE sync.rollup_mark_once RENAME TO rollup_mark;
ALTER INDEX sync.rollup_mark_once_pkey RENAME TO rollup_mark_pkey;
