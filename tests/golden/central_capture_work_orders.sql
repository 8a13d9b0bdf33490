-- Capture of mes.work_orders at the centre, made by central/capture.py.

DROP TRIGGER IF EXISTS refuse_move ON mes.work_orders;

CREATE TRIGGER refuse_move BEFORE UPDATE OF id, site_id, created_at ON mes.work_orders
    FOR EACH ROW WHEN ((old.id, old.site_id, old.created_at)
        IS DISTINCT FROM (new.id, new.site_id, new.created_at))
    EXECUTE FUNCTION sync.refuse_move();

DROP TRIGGER IF EXISTS refuse_truncate ON mes.work_orders;

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mes.work_orders
    FOR EACH STATEMENT
    EXECUTE FUNCTION sync.refuse_truncate();

CREATE OR REPLACE FUNCTION sync.capture_work_orders_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = 'work_orders');
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
        SELECT n.site_id, _table, n.id, h.ord, _version, 'I', 4194303, '*',
            coalesce(nullif(current_setting('app.person', true), ''), n.changed_by::text, session_user), _at_ms
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
        RAISE EXCEPTION 'work_orders: id % of site % exists already', _row.id, _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'work_orders';
    END IF;
    INSERT INTO sync.row_key (site_id, table_no, key, id)
    SELECT k.site_id, _table, k.key, k.id
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.order_no::text)::text)::text || ']' AS key
        FROM new_rows AS n) AS k
    WHERE k.key IS NOT NULL ORDER BY k.site_id, k.key
    ON CONFLICT DO NOTHING;
    SELECT k.site_id, k.key, k.id, r.id AS other INTO _row
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.order_no::text)::text)::text || ']' AS key
        FROM new_rows AS n) AS k
    JOIN LATERAL (
        SELECT r.id FROM sync.row_key AS r
        WHERE r.site_id = k.site_id AND r.table_no = _table AND r.key = k.key OFFSET 0
    ) AS r ON r.id <> k.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'work_orders: order_no = % of site % is another row''s already',
            trim(LEADING '0,' FROM trim(BOTH '[]' FROM _row.key)), _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'work_orders',
                CONSTRAINT = 'work_orders_natural_key_0',
                DETAIL = format('It is that of %s; the row refused is %s.', _row.other, _row.id);
    END IF;
    PERFORM pg_notify('mes_feed', '');
    RETURN NULL;
END $capture$;

DROP TRIGGER IF EXISTS capture_insert ON mes.work_orders;

CREATE TRIGGER capture_insert AFTER INSERT ON mes.work_orders
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.capture_work_orders_insert();

CREATE OR REPLACE FUNCTION sync.capture_work_orders_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = 'work_orders');
    _version CONSTANT uuid := uuidv7();
    _at_ms CONSTANT bigint := sync.now_ms();
    _row record;
BEGIN
    WITH changed AS MATERIALIZED (
        SELECT * FROM (
            SELECT n.site_id, n.id, n.created_at,
                coalesce(nullif(current_setting('app.person', true), ''), CASE WHEN o.changed_by IS DISTINCT FROM n.changed_by THEN n.changed_by::text END,
                    session_user) AS writer,
                ARRAY[o.site_id::text] AS scopes,
                sync.replaced((SELECT to_jsonb(r) FROM (SELECT o.id, o.site_id, o.created_at, o.order_no, o.source, o.material_id, o.material_code, o.material_version, o.definition_id, o.routing::text, o.qty_ordered, o.uom, o.priority, o.due_at, o.customer_ref, o.planned_start, o.planned_end, o.assigned_line, o.exec_state, o.cancel_requested, o.actual_start, o.actual_end, o.notes, o.customer_comment, o.changed_by) AS r (id, site_id, created_at, order_no, source, material_id, material_code, material_version, definition_id, routing, qty_ordered, uom, priority, due_at, customer_ref, planned_start, planned_end, assigned_line, exec_state, cancel_requested, actual_start, actual_end, notes, customer_comment, changed_by)), (SELECT to_jsonb(r) FROM (SELECT n.id, n.site_id, n.created_at, n.order_no, n.source, n.material_id, n.material_code, n.material_version, n.definition_id, n.routing::text, n.qty_ordered, n.uom, n.priority, n.due_at, n.customer_ref, n.planned_start, n.planned_end, n.assigned_line, n.exec_state, n.cancel_requested, n.actual_start, n.actual_end, n.notes, n.customer_comment, n.changed_by) AS r (id, site_id, created_at, order_no, source, material_id, material_code, material_version, definition_id, routing, qty_ordered, uom, priority, due_at, customer_ref, planned_start, planned_end, assigned_line, exec_state, cancel_requested, actual_start, actual_end, notes, customer_comment, changed_by))) AS replaced,
                (CASE WHEN o.order_no IS DISTINCT FROM n.order_no THEN 1 ELSE 0 END
                + CASE WHEN o.source IS DISTINCT FROM n.source THEN 2 ELSE 0 END
                + CASE WHEN o.material_id IS DISTINCT FROM n.material_id THEN 4 ELSE 0 END
                + CASE WHEN o.material_code IS DISTINCT FROM n.material_code THEN 8 ELSE 0 END
                + CASE WHEN o.material_version IS DISTINCT FROM n.material_version THEN 16 ELSE 0 END
                + CASE WHEN o.definition_id IS DISTINCT FROM n.definition_id THEN 32 ELSE 0 END
                + CASE WHEN o.routing::text IS DISTINCT FROM n.routing::text THEN 64 ELSE 0 END
                + CASE WHEN o.qty_ordered IS DISTINCT FROM n.qty_ordered THEN 128 ELSE 0 END
                + CASE WHEN o.uom IS DISTINCT FROM n.uom THEN 256 ELSE 0 END
                + CASE WHEN o.priority IS DISTINCT FROM n.priority THEN 512 ELSE 0 END
                + CASE WHEN o.due_at IS DISTINCT FROM n.due_at THEN 1024 ELSE 0 END
                + CASE WHEN o.customer_ref IS DISTINCT FROM n.customer_ref THEN 2048 ELSE 0 END
                + CASE WHEN o.planned_start IS DISTINCT FROM n.planned_start THEN 4096 ELSE 0 END
                + CASE WHEN o.planned_end IS DISTINCT FROM n.planned_end THEN 8192 ELSE 0 END
                + CASE WHEN o.assigned_line IS DISTINCT FROM n.assigned_line THEN 16384 ELSE 0 END
                + CASE WHEN o.exec_state IS DISTINCT FROM n.exec_state THEN 32768 ELSE 0 END
                + CASE WHEN o.cancel_requested IS DISTINCT FROM n.cancel_requested THEN 65536 ELSE 0 END
                + CASE WHEN o.actual_start IS DISTINCT FROM n.actual_start THEN 131072 ELSE 0 END
                + CASE WHEN o.actual_end IS DISTINCT FROM n.actual_end THEN 262144 ELSE 0 END
                + CASE WHEN o.notes IS DISTINCT FROM n.notes THEN 524288 ELSE 0 END
                + CASE WHEN o.customer_comment IS DISTINCT FROM n.customer_comment THEN 1048576 ELSE 0 END
                + CASE WHEN o.changed_by IS DISTINCT FROM n.changed_by THEN 2097152 ELSE 0 END)
                | coalesce(nullif(current_setting('app.decided_work_orders', true), '')::bigint, 0) AS mask
            FROM old_rows AS o JOIN new_rows AS n USING (site_id, created_at, id)
        ) AS c WHERE c.mask <> 0
    ), heads AS (
        INSERT INTO sync.head AS h
            (site_id, table_no, id, created_at, version, ord, deleted)
        SELECT r.site_id, _table, r.id, r.created_at, _version,
            nextval('sync.version_order'), false
        FROM changed AS r ORDER BY r.site_id, r.id
        ON CONFLICT (site_id, table_no, id) DO UPDATE
        SET version = excluded.version, ord = nextval('sync.version_order'),
            deleted = excluded.deleted, created_at = excluded.created_at
        RETURNING h.site_id, h.id, h.ord
    ), versions AS (
        INSERT INTO sync.version
            (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms, replaced)
        SELECT c.site_id, _table, c.id, h.ord, _version, 'U', c.mask, '*',
            c.writer, _at_ms, c.replaced
        FROM heads AS h JOIN changed AS c USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, c.site_id, c.id, c.created_at, c.scopes
    FROM changed AS c ORDER BY c.site_id, c.id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOR _row IN
        SELECT n.site_id, n.id, '[0,' || to_json((o.order_no::text)::text)::text || ']' AS key
        FROM new_rows AS n JOIN old_rows AS o USING (site_id, created_at, id)
        WHERE o.order_no IS DISTINCT FROM n.order_no
    LOOP
        DELETE FROM sync.row_key AS r WHERE r.site_id = _row.site_id
            AND r.table_no = _table AND r.key = _row.key AND r.id = _row.id;
    END LOOP;
    INSERT INTO sync.row_key (site_id, table_no, key, id)
    SELECT k.site_id, _table, k.key, k.id
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.order_no::text)::text)::text || ']' AS key
        FROM new_rows AS n JOIN old_rows AS o USING (site_id, created_at, id)
        WHERE o.order_no IS DISTINCT FROM n.order_no) AS k
    WHERE k.key IS NOT NULL ORDER BY k.site_id, k.key
    ON CONFLICT DO NOTHING;
    SELECT k.site_id, k.key, k.id, r.id AS other INTO _row
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.order_no::text)::text)::text || ']' AS key
        FROM new_rows AS n JOIN old_rows AS o USING (site_id, created_at, id)
        WHERE o.order_no IS DISTINCT FROM n.order_no) AS k
    JOIN LATERAL (
        SELECT r.id FROM sync.row_key AS r
        WHERE r.site_id = k.site_id AND r.table_no = _table AND r.key = k.key OFFSET 0
    ) AS r ON r.id <> k.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'work_orders: order_no = % of site % is another row''s already',
            trim(LEADING '0,' FROM trim(BOTH '[]' FROM _row.key)), _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'work_orders',
                CONSTRAINT = 'work_orders_natural_key_0',
                DETAIL = format('It is that of %s; the row refused is %s.', _row.other, _row.id);
    END IF;
    PERFORM pg_notify('mes_feed', '');
    RETURN NULL;
END $capture$;

DROP TRIGGER IF EXISTS capture_update ON mes.work_orders;

CREATE TRIGGER capture_update AFTER UPDATE ON mes.work_orders
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.capture_work_orders_update();

CREATE OR REPLACE FUNCTION sync.capture_work_orders_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = 'work_orders');
    _version CONSTANT uuid := uuidv7();
    _at_ms CONSTANT bigint := sync.now_ms();
    _row record;
BEGIN
    WITH heads AS (
        INSERT INTO sync.head AS h
            (site_id, table_no, id, created_at, version, ord, deleted)
        SELECT r.site_id, _table, r.id, r.created_at, _version,
            nextval('sync.version_order'), true
        FROM old_rows AS r ORDER BY r.site_id, r.id
        ON CONFLICT (site_id, table_no, id) DO UPDATE
        SET version = excluded.version, ord = nextval('sync.version_order'),
            deleted = excluded.deleted, created_at = excluded.created_at
        RETURNING h.site_id, h.id, h.ord
    ), versions AS (
        INSERT INTO sync.version
            (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms, replaced)
        SELECT o.site_id, _table, o.id, h.ord, _version, 'D', 0, '*',
            coalesce(nullif(current_setting('app.person', true), ''), session_user), _at_ms, (SELECT to_jsonb(r) FROM (SELECT o.id, o.site_id, o.created_at, o.order_no, o.source, o.material_id, o.material_code, o.material_version, o.definition_id, o.routing::text, o.qty_ordered, o.uom, o.priority, o.due_at, o.customer_ref, o.planned_start, o.planned_end, o.assigned_line, o.exec_state, o.cancel_requested, o.actual_start, o.actual_end, o.notes, o.customer_comment, o.changed_by) AS r (id, site_id, created_at, order_no, source, material_id, material_code, material_version, definition_id, routing, qty_ordered, uom, priority, due_at, customer_ref, planned_start, planned_end, assigned_line, exec_state, cancel_requested, actual_start, actual_end, notes, customer_comment, changed_by))
        FROM heads AS h JOIN old_rows AS o USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, o.site_id, o.id, o.created_at, ARRAY[o.site_id::text]
    FROM old_rows AS o ORDER BY o.site_id, o.id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOR _row IN SELECT o.site_id, o.id FROM old_rows AS o LOOP
        DELETE FROM sync.row_key AS r WHERE r.site_id = _row.site_id
            AND r.table_no = _table AND r.id = _row.id;
    END LOOP;
    PERFORM pg_notify('mes_feed', '');
    RETURN NULL;
END $capture$;

DROP TRIGGER IF EXISTS capture_delete ON mes.work_orders;

CREATE TRIGGER capture_delete AFTER DELETE ON mes.work_orders
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.capture_work_orders_delete();
