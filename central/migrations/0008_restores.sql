-- What either side went back to, how that was found, and what came of it (protocol, rules 19 and 20).

ALTER TABLE sync.epoch
    ADD COLUMN fork_n     bigint,                     -- closed: the last transaction that its site still has
    ADD COLUMN included_n    bigint NOT NULL DEFAULT 0,  -- up to here rows came home with a salvage, facts not
    ADD COLUMN included_hash bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex');

-- Clock of the drain: whatever its site drained later than the fork was made by a store that is no more.
-- One that moved to a new epoch has a link in each: so the next fork is found, too.
ALTER TABLE sync.applied
    ADD COLUMN hlc bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT applied_pkey,
    ADD PRIMARY KEY (tx_id, epoch);

-- Made by a store of which its site went back to an older copy: nobody there has seen it.
ALTER TABLE sync.version ADD COLUMN lost boolean NOT NULL DEFAULT false;

-- Sites that have said hello since this server was started. Unlogged: a restore, a crash and a promoted
-- replica begin with an empty one. The start tells the copy of a server that was shut down in good order.
ALTER TABLE sync.site
    DROP COLUMN verified,
    ADD COLUMN claimed_by text,            -- another store that said hello for the site, and was sent away
    ADD COLUMN claimed_at timestamptz,
    ADD COLUMN released_at timestamptz;    -- a person has looked: what was before counts no more
CREATE UNLOGGED TABLE sync.verified (
    site        text        PRIMARY KEY,
    started_at  timestamptz NOT NULL DEFAULT pg_postmaster_start_time()
);

-- Every start of the server that was noticed: it may have been started as an older copy of itself. The
-- table is restored with the rest, the pointer to the life of now is not.
CREATE TABLE sync.life (
    no          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid   NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    started_ms  bigint NOT NULL,
    held_order  bigint NOT NULL,       -- highest order of any version that was there then
    order_here  bigint NOT NULL        -- of no version: above those, below all that was written since
);
CREATE UNLOGGED TABLE sync.life_now (
    one         boolean     PRIMARY KEY CHECK (one),
    started_at  timestamptz NOT NULL,
    life        uuid        NOT NULL
);

CREATE FUNCTION sync.is_verified(_site text) RETURNS boolean LANGUAGE sql STABLE
RETURN EXISTS (
    SELECT FROM sync.verified AS v
    WHERE v.site = _site AND v.started_at = pg_postmaster_start_time()
);

-- Transactions whose rows came home with a salvage: by their ids, since a store that is put back to a copy
-- gives their numbers to others.
CREATE TABLE sync.included (
    site   text   NOT NULL,
    tx_id  uuid   NOT NULL,
    epoch  uuid   NOT NULL,
    n      bigint NOT NULL,
    hash   bytea  NOT NULL,
    PRIMARY KEY (site, tx_id)
);

-- Rows of transactions that came home with a salvage which had not taken effect in them: parked, or waiting.
CREATE TABLE sync.again (
    site        text NOT NULL,
    tx_id       uuid NOT NULL,
    table_name  text NOT NULL,
    row_id      text NOT NULL,
    PRIMARY KEY (site, tx_id, table_name, row_id)
);

CREATE TABLE sync.restore (            -- for people: who went back, how far, and what became of it
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site      text        NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    who       text        NOT NULL,    -- edge, centre
    why       text        NOT NULL,
    found     jsonb       NOT NULL
);
CREATE INDEX restore_by_site ON sync.restore (site, at);
