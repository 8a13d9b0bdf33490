-- What of the past may be forgotten: see central/retention.py.

CREATE TABLE sync.settled (            -- up to when a site has seen everything, and builds on nothing older
    site        text        PRIMARY KEY REFERENCES sync.site ON DELETE CASCADE,
    epoch       text        NOT NULL,  -- as the site says it
    n           bigint      NOT NULL,  -- what it had drained when it had seen all that was known_at
    known_at    timestamptz NOT NULL,
    settled_at  timestamptz            -- of an earlier look, once all that was drained until then is applied
);

CREATE TABLE sync.order_mark (         -- how far the orders of versions were given out at a time
    at   timestamptz PRIMARY KEY DEFAULT now(),
    ord  bigint      NOT NULL
);

CREATE TABLE sync.forgotten_to (       -- the row up to which histories were looked at; none: begin anew
    one       boolean  PRIMARY KEY DEFAULT true CHECK (one),
    site_id   text     NOT NULL,
    table_no  smallint NOT NULL,
    id        uuid     NOT NULL
);

-- What plain SQL of the centre replaced or deleted, of versions that are forgotten otherwise.
CREATE TABLE sync.overwritten (
    site_id   text     NOT NULL,
    table_no  smallint NOT NULL,
    id        uuid     NOT NULL,
    ord       bigint   NOT NULL,
    op        "char"   NOT NULL,
    writer    text,
    at_ms     bigint   NOT NULL,
    replaced  jsonb    NOT NULL,
    PRIMARY KEY (site_id, table_no, id, ord)
);
CREATE INDEX overwritten_by_time ON sync.overwritten (at_ms);
