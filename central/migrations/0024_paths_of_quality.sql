-- The paths that reports of quality take, on tables that are there already; central/schema.py makes
-- new ones with them. On a table that is split by site and month each partition gets its own.

DO $$
DECLARE
    _path record;
BEGIN
    FOR _path IN SELECT * FROM (VALUES
        ('lot_genealogy', 'void_of'),
        ('measurements', 'characteristic_id'),
        ('inspection_results', 'corrects_id')) AS p (table_name, column_name)
    LOOP
        IF to_regclass('mes.' || _path.table_name) IS NOT NULL THEN
            EXECUTE format(
                'CREATE INDEX IF NOT EXISTS %I ON mes.%I (%I) WHERE %I IS NOT NULL',
                _path.table_name || '_by_' || _path.column_name, _path.table_name,
                _path.column_name, _path.column_name);
        END IF;
    END LOOP;
END $$;
