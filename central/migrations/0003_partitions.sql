-- Partitions: TABLE__SITE, LIST of one site, and under it TABLE__SITE__YYYY_MM, a month in UTC.
--
-- A function, so that the ingest can make the partition that a late row needs without owning the
-- tables. It attaches instead of CREATE ... PARTITION OF: that would lock the parent against all
-- readers, and wait for the longest report with every writer queued behind it.

CREATE FUNCTION sync.attach_partition(parent text, child text, part text, split text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE mes.%I (LIKE mes.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
        ' INCLUDING STORAGE INCLUDING COMPRESSION) %s', child, parent, split);
    -- A child that is queried by name is not covered by its parent's policy: with no policy of its
    -- own it shows nothing. Rights on children are given to the ingest alone.
    EXECUTE format('ALTER TABLE mes.%I ENABLE ROW LEVEL SECURITY', child);
    EXECUTE format('ALTER TABLE mes.%I FORCE ROW LEVEL SECURITY', child);
    EXECUTE format('ALTER TABLE mes.%I ATTACH PARTITION mes.%I FOR VALUES %s', parent, child, part);
END $$;

-- Asked of pg_class: to_regclass remembers that there was none, and does not notice the other
-- transaction that it has just been waiting for.
CREATE FUNCTION sync.has_table(name text) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.relnamespace = 'mes'::regnamespace AND c.relname = has_table.name
    );
END $$;

CREATE FUNCTION sync.make_partition(table_name text, site text, month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    _of_site CONSTANT text :=
        table_name || '__' || CASE site WHEN '*' THEN 'shared' ELSE lower(site) END;
    _first CONSTANT date := date_trunc('month', month::timestamp)::date;
    _of_month CONSTANT text := _of_site || to_char(_first, '"__"YYYY"_"MM');
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
    RETURN true;
END $$;
