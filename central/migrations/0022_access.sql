-- Who asks the API, by which key, and who read and changed what there.

CREATE TABLE sync.api_key (
    id          text        PRIMARY KEY CHECK (id ~ '^[a-z0-9]{8}$'),
    name        text        NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,39}$'),
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),  -- the key itself is nowhere
    grants      text[]      NOT NULL CHECK (cardinality(grants) > 0),
    scopes      text[]      NOT NULL CHECK (cardinality(scopes) > 0),
    added_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,
    revoked_at  timestamptz,
    used_at     timestamptz                                            -- to about a minute
);
COMMENT ON TABLE sync.api_key IS 'Keys of programs that ask the API';
COMMENT ON COLUMN sync.api_key.id IS 'Second part of the key, which is no secret';
COMMENT ON COLUMN sync.api_key.hash IS 'SHA-256 of the whole key, which has 256 bits of chance';
COMMENT ON COLUMN sync.api_key.grants IS 'Roles with their sites, such as plant:SITE_001';
COMMENT ON COLUMN sync.api_key.scopes IS 'What of the grants the key uses: read, review, plan, admin';
-- A name is that of one key; those that were revoked stay, so that the audit log can be read.
CREATE UNIQUE INDEX api_key_name ON sync.api_key (name) WHERE revoked_at IS NULL;

CREATE TABLE sync.audit (
    no       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    who      text        NOT NULL,
    address  text        NOT NULL,
    action   text        NOT NULL,
    target   text        NOT NULL,
    sites    text[]      NOT NULL,
    status   smallint    NOT NULL,
    times    integer     NOT NULL DEFAULT 1 CHECK (times > 0),
    changed  jsonb
);
COMMENT ON TABLE sync.audit IS 'Who read and changed what over the API; only added to';
COMMENT ON COLUMN sync.audit.who IS 'key NAME, user NAME, or nobody where the request was refused';
COMMENT ON COLUMN sync.audit.address IS 'Where the connection came from';
COMMENT ON COLUMN sync.audit.action IS 'Method and route';
COMMENT ON COLUMN sync.audit.target IS 'Path and query as they were asked';
COMMENT ON COLUMN sync.audit.sites IS 'Sites whose rows the answer could hold';
COMMENT ON COLUMN sync.audit.status IS 'Of the answer';
COMMENT ON COLUMN sync.audit.times IS 'How often it was asked so within about a second';
COMMENT ON COLUMN sync.audit.changed IS 'What was written; in the transaction that wrote it';
CREATE INDEX audit_at ON sync.audit (at);
CREATE INDEX audit_who ON sync.audit (who, at);
