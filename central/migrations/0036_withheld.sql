-- What a site told, after a restore of the centre, of rows that by the backup it does not get, or that
-- others get. Its word alone does not count there: the rows' own site says so as well, or a person.
CREATE TABLE sync.withheld (
    id         uuid        PRIMARY KEY,             -- of the row and its version: told again it is the same
    site       text        NOT NULL,                -- who told
    owner      text        NOT NULL,                -- the row's site_id
    table_name text        NOT NULL,
    row_id     uuid        NOT NULL,
    version    uuid        NOT NULL,                -- that the row had in the lost history
    history    uuid        NOT NULL,                -- the last life of the server that the site has met
    lost_ord   bigint      NOT NULL,                -- of the version, there
    told       jsonb       NOT NULL,                -- by column, what was not taken
    held       jsonb,                               -- what stood there then; null where no row did
    is_whole   boolean     NOT NULL,                -- nothing of the row was taken, not only who gets it
    is_beside  boolean     NOT NULL,                -- somebody wrote these columns since the restore
    noted_at   timestamptz NOT NULL DEFAULT now(),
    state      text        NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'home', 'superseded', 'taken', 'discarded')),
    settled_at timestamptz,
    settled_by text
);
CREATE INDEX withheld_of_row ON sync.withheld (owner, table_name, row_id);
COMMENT ON TABLE sync.withheld IS 'Lost words on rows of others, which their site or a person has to confirm';
COMMENT ON COLUMN sync.withheld.state IS 'open: waits for a person; home: its own site told it, too; superseded: by a later word of the lost history; taken, discarded: by settled_by';
