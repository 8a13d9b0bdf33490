-- The centre's own bookkeeping, in the schema "sync". Business tables live in "mes" and are built
-- from the catalogue; nothing of ours stands in them.

CREATE SCHEMA sync;
CREATE SCHEMA mes;

CREATE TABLE sync.migration (          -- the numbered files of central/migrations that were applied
    number      integer     PRIMARY KEY,
    name        text        NOT NULL,
    sha256      text        NOT NULL,  -- of the file's bytes: an applied file never changes
    applied_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sync.generated (          -- triggers, policies and grants made from the catalogue
    table_name  text PRIMARY KEY,
    sha256      text NOT NULL          -- of their text: another text means they are made again
);

CREATE TABLE sync.catalogue (          -- every catalogue the business tables were migrated to
    version     integer     NOT NULL,
    digest      text        NOT NULL,
    content     text        NOT NULL,  -- Catalog.to_json
    applied_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (version, digest)
);

CREATE TABLE sync.table_no (           -- two bytes for a table's name in the long tables below
    no    smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL UNIQUE
);

-- Sites, their chains, and who works for them ----------------------------------------------------

CREATE TABLE sync.site (
    site             text PRIMARY KEY CHECK (site ~ '^[A-Z0-9_-]{1,20}$'),
    -- A partition is named TABLE__SITE__YYYY_MM, and that of the shared rows TABLE__SHARED.
    CONSTRAINT site_name_is_kept CHECK (site <> 'SHARED' AND site NOT LIKE '%\_\_%'),
    registered_at    timestamptz NOT NULL DEFAULT now(),
    instance         text,                          -- host and path of the store that said hello
    verified         boolean     NOT NULL DEFAULT true,  -- false after a restore, until its hello
    stopped_because  text,                          -- a fork, a clone: a person has to look
    clock_offset_ms  bigint      NOT NULL DEFAULT 0,
    hello            jsonb,                         -- what the agent said of itself last
    hello_at         timestamptz,
    seen_at          timestamptz,
    lease_holder     text,                          -- ingest worker that applies for this site
    lease_token      bigint      NOT NULL DEFAULT 0,     -- grows with each holder: the fence
    lease_until      timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE TABLE sync.worker (             -- ingest workers that are alive, so that they share evenly
    holder  text        PRIMARY KEY,
    until   timestamptz NOT NULL
);

CREATE TABLE sync.epoch (
    site        text        NOT NULL REFERENCES sync.site,
    epoch       uuid        NOT NULL,
    opened_at   timestamptz NOT NULL DEFAULT now(),
    last_n      bigint      NOT NULL DEFAULT 0,
    last_hash   bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    safe_n      bigint      NOT NULL DEFAULT 0,
    closed_at_n bigint,                             -- stragglers beyond it are fenced
    decided_at  timestamptz,                        -- when last_n was
    through_ms  bigint      NOT NULL DEFAULT 0,     -- all that the site committed until then is applied
    PRIMARY KEY (site, epoch)
);

CREATE TABLE sync.applied (            -- every transaction that had its effect; kept beyond any backup
    tx_id       uuid        PRIMARY KEY,
    site        text        NOT NULL,
    epoch       uuid        NOT NULL,
    n           bigint      NOT NULL,
    hash        bytea       NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX applied_by_n ON sync.applied (site, epoch, n);

CREATE TABLE sync.part (               -- parts of transactions that are not whole yet
    site          text    NOT NULL,
    epoch         uuid    NOT NULL,
    n             bigint  NOT NULL,
    part          integer NOT NULL,
    message       bytea   NOT NULL,    -- the frame as it came
    stored_at_ms  bigint  NOT NULL,
    PRIMARY KEY (site, epoch, n, part)
);
ALTER TABLE sync.part ALTER message SET STORAGE EXTERNAL;   -- it is compressed already

-- Rows and their versions ------------------------------------------------------------------------

CREATE SEQUENCE sync.version_order CACHE 1;   -- taken under the head's row lock: grows along each row

CREATE TABLE sync.head (               -- one per two-way or central row ever seen: the compare-and-set
    site_id     text        NOT NULL,
    table_no    smallint    NOT NULL,
    id          uuid        NOT NULL,
    created_at  timestamptz NOT NULL,  -- part of the row's key, never changed
    version     uuid        NOT NULL,
    ord         bigint      NOT NULL,
    deleted     boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (site_id, table_no, id)
) WITH (fillfactor = 70);              -- the update of a head stays on its page

CREATE TABLE sync.version (            -- what every version touched: the union of masks since a base
    site_id    text     NOT NULL,
    table_no   smallint NOT NULL,
    id         uuid     NOT NULL,
    ord        bigint   NOT NULL,
    version    uuid     NOT NULL,
    op         "char"   NOT NULL,      -- I, U, D
    mask       bigint   NOT NULL,      -- bit positions are those of the catalogue's columns
    overruled  bigint   NOT NULL DEFAULT 0,     -- columns in which the write did not take effect
    contested  bigint   NOT NULL DEFAULT 0,     -- ... on whose verdict a later write must not build
    origin     text     NOT NULL,      -- site, or '*' for the centre
    writer     text,
    at_ms      bigint   NOT NULL,      -- corrected wall time of the touch
    hlc        bigint   NOT NULL DEFAULT 0,     -- of the site's drain: tells its own writes' order
    clamped    boolean  NOT NULL DEFAULT false,
    replaced   jsonb,                  -- plain SQL at the centre: the values it overwrote or deleted
    PRIMARY KEY (site_id, table_no, id, ord)
);

CREATE TABLE sync.row_key (            -- natural keys, unique per site across all partitions
    site_id   text     NOT NULL,
    table_no  smallint NOT NULL,
    key       text     NOT NULL,       -- JSON array: number of the natural key, then its values
    id        uuid     NOT NULL,
    PRIMARY KEY (site_id, table_no, key)
);
-- By id alone: with the site in front the planner, which knows nothing of a new table, takes this index
-- where the primary key is meant.
CREATE INDEX row_key_by_id ON sync.row_key (id);

CREATE TABLE sync.extra (              -- columns of a newer schema, until our own migration has them
    site_id      text        NOT NULL,
    table_name   text        NOT NULL,
    id           uuid        NOT NULL,
    created_at   timestamptz NOT NULL,
    column_name  text        NOT NULL,
    value        bytea       NOT NULL, -- msgpack
    schema       integer     NOT NULL,
    PRIMARY KEY (site_id, table_name, id, column_name)
);

CREATE TABLE sync.waiting (            -- rows that are not applied: parked, or waiting for another
    ticket      uuid        PRIMARY KEY,    -- id of the row in mes.sync_parked
    site_id     text        NOT NULL,
    table_name  text        NOT NULL,
    row_id      text        NOT NULL,
    tx_id       uuid        NOT NULL,
    epoch       uuid        NOT NULL,
    n           bigint      NOT NULL,
    ord         bigint      GENERATED ALWAYS AS IDENTITY,
    reason      text        NOT NULL,
    schema      integer     NOT NULL,  -- the writer's
    needs       uuid,                  -- id of the parent that is missing
    behind      uuid,                  -- ticket of the row that goes first
    quiet       boolean     NOT NULL,  -- the site goes on as if the row had been applied
    block       bytea       NOT NULL,  -- canonical body of a part that holds just this row
    stored_at_ms bigint     NOT NULL
);
CREATE INDEX waiting_by_need ON sync.waiting (site_id, needs) WHERE needs IS NOT NULL;
CREATE INDEX waiting_by_row ON sync.waiting (site_id, table_name, row_id);
CREATE INDEX waiting_by_first ON sync.waiting (behind) WHERE behind IS NOT NULL;

CREATE TABLE sync.refused (            -- messages that nobody can read, for a person to look at
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site          text        NOT NULL,
    refused_at    timestamptz NOT NULL DEFAULT now(),
    reason        text        NOT NULL,
    message       text        NOT NULL,
    sha256        bytea       NOT NULL,
    payload       bytea       NOT NULL,
    stored_at_ms  bigint      NOT NULL,
    UNIQUE (site, sha256)
);

CREATE TABLE sync.spent_release (      -- signed releases that let a lattice go back: once each
    release_id  uuid PRIMARY KEY,
    tx_id       uuid NOT NULL
);

-- Downstream ---------------------------------------------------------------------------------------

-- The queue between whoever touched a row and the sequencer. The sequencer deletes what its snapshot
-- sees and reads the heads in that same snapshot, so neither commit order nor a long transaction
-- matters: a row of a transaction that commits later is simply seen later.
CREATE TABLE sync.touched (
    id          bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_no    smallint NOT NULL,
    site_id     text     NOT NULL,
    row_id      uuid     NOT NULL,
    created_at  timestamptz NOT NULL,
    scopes      text[]   NOT NULL      -- sites in the row's share before or after, '*' for all
);

CREATE TABLE sync.feed (               -- the numbered, hash-chained entries, frozen
    scope     text        NOT NULL,
    pos       bigint      NOT NULL,
    previous  bytea       NOT NULL,
    hash      bytea       NOT NULL,
    body      bytea       NOT NULL,    -- compressed
    made_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, pos)
);
ALTER TABLE sync.feed ALTER body SET STORAGE EXTERNAL;

CREATE TABLE sync.feed_head (
    scope      text   PRIMARY KEY,
    pos        bigint NOT NULL DEFAULT 0,
    hash       bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    published  bigint NOT NULL DEFAULT 0,
    ack_epoch  uuid,
    ack_n      bigint NOT NULL DEFAULT 0,
    ack_safe_n bigint NOT NULL DEFAULT 0
);

CREATE TABLE sync.snapshot (
    id          uuid        PRIMARY KEY,
    site        text        NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT now(),
    manifest    jsonb       NOT NULL,  -- feed positions with hashes, ack, highest version order
    chunks      integer                -- NULL while it is being spooled
);

CREATE TABLE sync.snapshot_chunk (
    snapshot  uuid    NOT NULL REFERENCES sync.snapshot ON DELETE CASCADE,
    k         integer NOT NULL,
    body      bytea   NOT NULL,
    PRIMARY KEY (snapshot, k)
);
ALTER TABLE sync.snapshot_chunk ALTER body SET STORAGE EXTERNAL;

-- Reports ------------------------------------------------------------------------------------------

CREATE TABLE sync.rollup_mark (        -- append-only: a mark is taken away only by who has seen it
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id     text        NOT NULL,
    table_name  text        NOT NULL,
    hour        timestamptz NOT NULL
);
