-- Rows of several sites that a site brought home after a restore of the centre. Of what another one
-- brings of the same lost history the later stands: so each comes with its order there.
CREATE TABLE sync.tip (
    site_id     text        NOT NULL,
    table_no    smallint    NOT NULL,
    id          uuid        NOT NULL,
    ord         bigint      NOT NULL,  -- of the version that the row got by it
    lost_ord    bigint      NOT NULL,  -- that it had in the lost history
    history     uuid        NOT NULL,  -- the last life of the server that the site has met
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, table_no, id)
);
CREATE INDEX tip_by_time ON sync.tip (at);
