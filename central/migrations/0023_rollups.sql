-- The business day of each site, and the triggers that keep rollups, on partitions as well.

-- The zone and day start that the rollups of a site are made by. They follow mes.sites in one
-- transaction with the rollups themselves, so that these are right at every moment, if by what
-- stood before.
CREATE TABLE sync.site_day (
    site       text PRIMARY KEY,
    zone       text NOT NULL,
    day_start  time NOT NULL
);
COMMENT ON TABLE sync.site_day IS 'By which zone and day start the days of rollups are made';

-- Triggers of a statement are those of the table that it names: of a partition, where it names one.
CREATE FUNCTION sync.keep_rollups(relation regclass, table_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _each regclass;
    _operation text;
    _tables CONSTANT jsonb := '{"insert": "NEW TABLE AS fresh", "delete": "OLD TABLE AS stale",
                                "update": "NEW TABLE AS fresh OLD TABLE AS stale"}';
BEGIN
    FOR _each IN  -- the tree of what is neither split nor a part yet is empty
        SELECT relation UNION SELECT relid FROM pg_partition_tree(relation) ORDER BY 1
    LOOP
        FOR _operation IN SELECT jsonb_object_keys(_tables) ORDER BY 1 LOOP
            EXECUTE format(
                'CREATE OR REPLACE TRIGGER roll_up_%s AFTER %s ON %s REFERENCING %s'
                ' FOR EACH STATEMENT EXECUTE FUNCTION sync.%I()',
                _operation, _operation, _each, _tables ->> _operation,
                format('roll_up_%s_%s', table_name, _operation));
        END LOOP;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION sync.attach_partition(parent text, child text, part text, split text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _table CONSTANT text := split_part(parent, '__', 1);
BEGIN
    EXECUTE format(
        'CREATE TABLE mes.%I (LIKE mes.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
        ' INCLUDING STORAGE INCLUDING COMPRESSION) %s', child, parent, split);
    -- A child that is queried by name is not covered by its parent's policy: with no policy of its
    -- own it shows nothing. Rights on children are given to the ingest alone.
    EXECUTE format('ALTER TABLE mes.%I ENABLE ROW LEVEL SECURITY', child);
    EXECUTE format('ALTER TABLE mes.%I FORCE ROW LEVEL SECURITY', child);
    -- Before it is attached, so that no statement goes past them.
    IF to_regprocedure(format('sync.%I()', 'roll_up_' || _table || '_insert')) IS NOT NULL THEN
        PERFORM sync.keep_rollups(format('mes.%I', child)::regclass, _table);
    END IF;
    EXECUTE format('ALTER TABLE mes.%I ATTACH PARTITION mes.%I FOR VALUES %s', parent, child, part);
END $$;
