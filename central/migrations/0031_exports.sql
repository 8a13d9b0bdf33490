-- Reports that are written into files, for those who asked: too long to wait for in one request.

CREATE TABLE sync.export (
    id               uuid        PRIMARY KEY DEFAULT uuidv7(),
    who              text        NOT NULL,           -- key NAME or user NAME, who alone gets it
    sites            text[]      NOT NULL,
    report           text        NOT NULL,
    query            jsonb       NOT NULL,
    form             text        NOT NULL,
    state            text        NOT NULL DEFAULT 'waiting'
                     CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    why              text        NOT NULL DEFAULT '', -- of one that failed
    asked_at         timestamptz NOT NULL DEFAULT now(),
    begun_at         timestamptz,
    ended_at         timestamptz,
    expires_at       timestamptz NOT NULL,
    tries            integer     NOT NULL DEFAULT 0,
    alive_until      timestamptz,                     -- told by the process that writes it
    rows             bigint      NOT NULL DEFAULT 0,
    rows_expected    bigint,
    bytes            bigint      NOT NULL DEFAULT 0,
    sha256           bytea,
    as_of            timestamptz,
    complete_through jsonb,
    provisional      boolean
);
COMMENT ON TABLE sync.export IS 'Reports that are written into files below MES_EXPORT_DIR';
CREATE INDEX export_who ON sync.export (who, id);
CREATE INDEX export_expires_at ON sync.export (expires_at);
CREATE INDEX export_undone ON sync.export (id) WHERE state IN ('waiting', 'running');
