-- Capture of mes.bom_items at the centre, made by central/capture.py.

DROP TRIGGER IF EXISTS refuse_move ON mes.bom_items;

CREATE TRIGGER refuse_move BEFORE UPDATE OF id, site_id, created_at ON mes.bom_items
    FOR EACH ROW WHEN ((old.id, old.site_id, old.created_at)
        IS DISTINCT FROM (new.id, new.site_id, new.created_at))
    EXECUTE FUNCTION sync.refuse_move();

DROP TRIGGER IF EXISTS refuse_truncate ON mes.bom_items;

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mes.bom_items
    FOR EACH STATEMENT
    EXECUTE FUNCTION sync.refuse_truncate();

CREATE OR REPLACE FUNCTION sync.capture_bom_items_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = 'bom_items');
    _version CONSTANT uuid := uuidv7();
    _at_ms CONSTANT bigint := sync.now_ms();
    _row record;
BEGIN
    WITH heads AS (
        INSERT INTO sync.head AS h
            (site_id, table_no, id, created_at, version, ord, deleted)
        SELECT r.site_id, _table, r.id, r.created_at, _version,
            nextval('sync.version_order'), false
        FROM new_rows AS r ORDER BY r.site_id, r.id
        ON CONFLICT (site_id, table_no, id) DO UPDATE
        SET version = excluded.version, ord = nextval('sync.version_order'),
            deleted = excluded.deleted, created_at = excluded.created_at
        WHERE h.deleted
        RETURNING h.site_id, h.id, h.ord
    ), versions AS (
        INSERT INTO sync.version
            (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms)
        SELECT n.site_id, _table, n.id, h.ord, _version, 'I', 127, '*',
            coalesce(nullif(current_setting('app.person', true), ''), session_user), _at_ms
        FROM heads AS h JOIN new_rows AS n USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, n.site_id, n.id, n.created_at, ARRAY[n.site_id::text]
    FROM heads AS h JOIN new_rows AS n USING (site_id, id) ORDER BY n.site_id, n.id;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM new_rows) THEN
        RETURN NULL;
    END IF;
    SELECT n.id, n.site_id INTO _row
    FROM new_rows AS n CROSS JOIN LATERAL (
        SELECT h.version FROM sync.head AS h
        WHERE h.site_id = n.site_id AND h.table_no = _table AND h.id = n.id OFFSET 0
    ) AS h
    WHERE h.version <> _version LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'bom_items: id % of site % exists already', _row.id, _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'bom_items';
    END IF;
    INSERT INTO sync.row_key (site_id, table_no, key, id)
    SELECT k.site_id, _table, k.key, k.id
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.parent_material_id::text)::text)::text || ',' || to_json((n.parent_version::text)::text)::text || ',' || to_json((n.seq::bigint)::text)::text || ']' AS key
        FROM new_rows AS n) AS k
    WHERE k.key IS NOT NULL ORDER BY k.site_id, k.key
    ON CONFLICT DO NOTHING;
    SELECT k.site_id, k.key, k.id, r.id AS other INTO _row
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.parent_material_id::text)::text)::text || ',' || to_json((n.parent_version::text)::text)::text || ',' || to_json((n.seq::bigint)::text)::text || ']' AS key
        FROM new_rows AS n) AS k
    JOIN LATERAL (
        SELECT r.id FROM sync.row_key AS r
        WHERE r.site_id = k.site_id AND r.table_no = _table AND r.key = k.key OFFSET 0
    ) AS r ON r.id <> k.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'bom_items: parent_material_id, parent_version, seq = % of site % is another row''s already',
            trim(LEADING '0,' FROM trim(BOTH '[]' FROM _row.key)), _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'bom_items',
                CONSTRAINT = 'bom_items_natural_key_0',
                DETAIL = format('It is that of %s; the row refused is %s.', _row.other, _row.id);
    END IF;
    PERFORM pg_notify('mes_feed', '');
    RETURN NULL;
END $capture$;

DROP TRIGGER IF EXISTS capture_insert ON mes.bom_items;

CREATE TRIGGER capture_insert AFTER INSERT ON mes.bom_items
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.capture_bom_items_insert();

DROP TRIGGER IF EXISTS refuse_correction ON mes.bom_items;

CREATE TRIGGER refuse_correction BEFORE UPDATE OR DELETE ON mes.bom_items
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.refuse_correction();
