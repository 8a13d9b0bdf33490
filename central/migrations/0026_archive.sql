-- Months of facts that are detached, and archived in files: which, where, and what is in them.

-- Where detached partitions stand until they are archived and dropped. They keep their names, so in
-- the schema mes these are free for late rows.
CREATE SCHEMA archive;

CREATE TABLE sync.archive (
    table_name    text NOT NULL,
    site_id       text NOT NULL,
    month         text NOT NULL CHECK (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    -- detaching: it may still be attached. detached: it stands in the schema archive, and is in no
    -- file. archived: it stands there, and is in the file. dropped: it is in the file alone.
    -- attached: the rows are back, and no file is
    -- known any more.
    state         text NOT NULL
        CHECK (state IN ('detaching', 'detached', 'archived', 'dropped', 'attached')),
    -- Of the file: one more each time that late rows are merged into a new one.
    generation    integer NOT NULL DEFAULT 0,
    file          text,
    rows          bigint,
    bytes         bigint,
    sha256        text,
    -- Of the hashes of its rows, modulo 2^64.
    sum           numeric(20),
    -- What stood in the schema archive when the file was written: that alone may be dropped.
    aside_rows    bigint,
    aside_sum     numeric(20),
    catalogue     text,
    detached_at   timestamptz,
    archived_at   timestamptz,
    verified_at   timestamptz,
    dropped_at    timestamptz,
    attached_at   timestamptz,
    PRIMARY KEY (table_name, site_id, month)
);
COMMENT ON TABLE sync.archive IS 'Months of facts that were detached, and the files that hold them';

-- Id and hash of each row in a file, 24 bytes each, some dozens together in the order of ids: what
-- is sent again is known without a look at the file, which may be on another machine.
CREATE TABLE sync.archive_key (
    table_name  text NOT NULL,
    site_id     text NOT NULL,
    month       text NOT NULL,
    generation  integer NOT NULL,
    first       uuid NOT NULL,
    keys        bytea NOT NULL,
    PRIMARY KEY (table_name, site_id, month, generation, first)
);
COMMENT ON TABLE sync.archive_key IS 'Ids and hashes of archived rows';

CREATE FUNCTION sync.archived_hash(
    table_name text, site text, month text, created timestamptz, row_id uuid
) RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _aside CONSTANT text :=
        format('%s__%s__%s', table_name, lower(site), replace(month, '-', '_'));
    _hash bigint;
BEGIN
    IF EXISTS (SELECT FROM pg_class
               WHERE relnamespace = 'archive'::regnamespace AND relname = _aside) THEN
        BEGIN
            EXECUTE format(
                'SELECT sync.row_hash_%s(t) FROM archive.%I AS t'
                ' WHERE t.site_id = $1 AND t.created_at = $2 AND t.id = $3', table_name, _aside)
            INTO _hash USING site, created, row_id;
        EXCEPTION WHEN undefined_column THEN
            -- It is there, and a migration has given its table a column since.
            RAISE EXCEPTION '% of % stands aside from before a migration: archive it and try again',
                month, table_name USING ERRCODE = 'unique_violation';
        END;
    END IF;
    IF _hash IS NULL THEN
        SELECT ('x' || encode(substr(k.keys, 24 * n + 17, 8), 'hex'))::bit(64)::bigint INTO _hash
        FROM sync.archive AS a
        CROSS JOIN LATERAL generate_series(1, a.generation) AS g
        CROSS JOIN LATERAL (
            SELECT ak.keys FROM sync.archive_key AS ak
            WHERE ak.table_name = a.table_name AND ak.site_id = a.site_id AND ak.month = a.month
              AND ak.generation = g AND ak.first <= row_id
            ORDER BY ak.first DESC LIMIT 1) AS k
        CROSS JOIN LATERAL generate_series(0, length(k.keys) / 24 - 1) AS n
        WHERE a.table_name = archived_hash.table_name AND a.site_id = site
          AND a.month = archived_hash.month
          AND substr(k.keys, 24 * n + 1, 16) = uuid_send(row_id);
    END IF;
    RETURN _hash;
END $$;

-- Before each row that comes late for an archived month. A row that stands there already is no news,
-- and nothing may count it twice; one that says otherwise is refused, as among rows that are here.
CREATE FUNCTION sync.refuse_archived() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _there CONSTANT bigint :=
        sync.archived_hash(TG_ARGV[0], TG_ARGV[1], TG_ARGV[2], NEW.created_at, NEW.id);
    _here bigint;
BEGIN
    IF _there IS NULL THEN
        RETURN NEW;
    END IF;
    EXECUTE format('SELECT sync.row_hash_%s($1)', TG_ARGV[0]) INTO _here USING NEW;
    IF _here = _there THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the archive of % has another row of this id in %', TG_ARGV[0], TG_ARGV[2]
        USING ERRCODE = 'unique_violation';
END $$;

CREATE OR REPLACE FUNCTION sync.make_partition(table_name text, site text, month date)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    _of_site CONSTANT text :=
        table_name || '__' || CASE site WHEN '*' THEN 'shared' ELSE lower(site) END;
    _first CONSTANT date := date_trunc('month', month::timestamp)::date;
    _of_month CONSTANT text := _of_site || to_char(_first, '"__"YYYY"_"MM');
    _month CONSTANT text := to_char(_first, 'YYYY-MM');
BEGIN
    IF sync.has_table(_of_month) THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM sync.site AS s WHERE s.site = make_partition.site) AND site <> '*' THEN
        RAISE EXCEPTION 'site % is not registered', site USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_partitioned_table WHERE partrelid = to_regclass(format('mes.%I', table_name))
    ) THEN
        RAISE EXCEPTION 'table % has no partitions', table_name
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Until the commit: whoever comes second waits here, and then finds that it is there.
    PERFORM pg_advisory_xact_lock(hashtextextended('sync.make_partition ' || table_name, 0));
    IF sync.has_table(_of_month) THEN
        RETURN false;
    END IF;
    IF NOT sync.has_table(_of_site) THEN
        PERFORM sync.attach_partition(
            table_name, _of_site, format('IN (%L)', site), 'PARTITION BY RANGE (created_at)');
    END IF;
    PERFORM sync.attach_partition(_of_site, _of_month, format(
        'FROM (%L) TO (%L)', _first::timestamptz, (_first + interval '1 month')::timestamptz), '');
    -- In the transaction that makes it, so that no row goes past it.
    IF EXISTS (SELECT FROM sync.archive AS a
               WHERE a.table_name = make_partition.table_name AND a.site_id = site
                 AND a.month = _month AND a.state <> 'attached') THEN
        EXECUTE format(
            'CREATE TRIGGER a_refuse_archived BEFORE INSERT ON mes.%I FOR EACH ROW'
            ' EXECUTE FUNCTION sync.refuse_archived(%L, %L, %L)',
            _of_month, table_name, site, _month);
    END IF;
    RETURN true;
END $$;
