-- Capture of mes.persons at the centre, made by central/capture.py.

DROP TRIGGER IF EXISTS refuse_move ON mes.persons;

CREATE TRIGGER refuse_move BEFORE UPDATE OF id, site_id, created_at ON mes.persons
    FOR EACH ROW WHEN ((old.id, old.site_id, old.created_at)
        IS DISTINCT FROM (new.id, new.site_id, new.created_at))
    EXECUTE FUNCTION sync.refuse_move();

DROP TRIGGER IF EXISTS refuse_truncate ON mes.persons;

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mes.persons
    FOR EACH STATEMENT
    EXECUTE FUNCTION sync.refuse_truncate();

CREATE OR REPLACE FUNCTION sync.capture_persons_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = 'persons');
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
        SELECT n.site_id, _table, n.id, h.ord, _version, 'I', 1023, '*',
            coalesce(nullif(current_setting('app.person', true), ''), n.changed_by::text, session_user), _at_ms
        FROM heads AS h JOIN new_rows AS n USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, n.site_id, n.id, n.created_at, sync.scopes(n.home_site_id::text, n.assigned_sites::text)
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
        RAISE EXCEPTION 'persons: id % of site % exists already', _row.id, _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'persons';
    END IF;
    INSERT INTO sync.row_key (site_id, table_no, key, id)
    SELECT k.site_id, _table, k.key, k.id
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.person_no::text)::text)::text || ']' AS key
        FROM new_rows AS n) AS k
    WHERE k.key IS NOT NULL ORDER BY k.site_id, k.key
    ON CONFLICT DO NOTHING;
    SELECT k.site_id, k.key, k.id, r.id AS other INTO _row
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.person_no::text)::text)::text || ']' AS key
        FROM new_rows AS n) AS k
    JOIN LATERAL (
        SELECT r.id FROM sync.row_key AS r
        WHERE r.site_id = k.site_id AND r.table_no = _table AND r.key = k.key OFFSET 0
    ) AS r ON r.id <> k.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'persons: person_no = % of site % is another row''s already',
            trim(LEADING '0,' FROM trim(BOTH '[]' FROM _row.key)), _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'persons',
                CONSTRAINT = 'persons_natural_key_0',
                DETAIL = format('It is that of %s; the row refused is %s.', _row.other, _row.id);
    END IF;
    PERFORM pg_notify('mes_feed', '');
    RETURN NULL;
END $capture$;

DROP TRIGGER IF EXISTS capture_insert ON mes.persons;

CREATE TRIGGER capture_insert AFTER INSERT ON mes.persons
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.capture_persons_insert();

CREATE OR REPLACE FUNCTION sync.capture_persons_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = 'persons');
    _version CONSTANT uuid := uuidv7();
    _at_ms CONSTANT bigint := sync.now_ms();
    _row record;
BEGIN
    WITH changed AS MATERIALIZED (
        SELECT * FROM (
            SELECT n.site_id, n.id, n.created_at,
                coalesce(nullif(current_setting('app.person', true), ''), CASE WHEN o.changed_by IS DISTINCT FROM n.changed_by THEN n.changed_by::text END,
                    session_user) AS writer,
                sync.scopes(o.home_site_id::text, o.assigned_sites::text, n.home_site_id::text, n.assigned_sites::text) AS scopes,
                sync.replaced(to_jsonb(o), to_jsonb(n)) AS replaced,
                (CASE WHEN o.person_no IS DISTINCT FROM n.person_no THEN 1 ELSE 0 END
                + CASE WHEN o.name IS DISTINCT FROM n.name THEN 2 ELSE 0 END
                + CASE WHEN o.badge_hash IS DISTINCT FROM n.badge_hash THEN 4 ELSE 0 END
                + CASE WHEN o.personnel_class IS DISTINCT FROM n.personnel_class THEN 8 ELSE 0 END
                + CASE WHEN o.home_site_id IS DISTINCT FROM n.home_site_id THEN 16 ELSE 0 END
                + CASE WHEN o.assigned_sites IS DISTINCT FROM n.assigned_sites THEN 32 ELSE 0 END
                + CASE WHEN o.valid_from IS DISTINCT FROM n.valid_from THEN 64 ELSE 0 END
                + CASE WHEN o.valid_to IS DISTINCT FROM n.valid_to THEN 128 ELSE 0 END
                + CASE WHEN o.status IS DISTINCT FROM n.status THEN 256 ELSE 0 END
                + CASE WHEN o.changed_by IS DISTINCT FROM n.changed_by THEN 512 ELSE 0 END)
                | coalesce(nullif(current_setting('app.decided_persons', true), '')::bigint, 0) AS mask
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
        SELECT n.site_id, n.id, '[0,' || to_json((o.person_no::text)::text)::text || ']' AS key
        FROM new_rows AS n JOIN old_rows AS o USING (site_id, created_at, id)
        WHERE o.person_no IS DISTINCT FROM n.person_no
    LOOP
        DELETE FROM sync.row_key AS r WHERE r.site_id = _row.site_id
            AND r.table_no = _table AND r.key = _row.key AND r.id = _row.id;
    END LOOP;
    INSERT INTO sync.row_key (site_id, table_no, key, id)
    SELECT k.site_id, _table, k.key, k.id
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.person_no::text)::text)::text || ']' AS key
        FROM new_rows AS n JOIN old_rows AS o USING (site_id, created_at, id)
        WHERE o.person_no IS DISTINCT FROM n.person_no) AS k
    WHERE k.key IS NOT NULL ORDER BY k.site_id, k.key
    ON CONFLICT DO NOTHING;
    SELECT k.site_id, k.key, k.id, r.id AS other INTO _row
    FROM (SELECT n.site_id, n.id, '[0,' || to_json((n.person_no::text)::text)::text || ']' AS key
        FROM new_rows AS n JOIN old_rows AS o USING (site_id, created_at, id)
        WHERE o.person_no IS DISTINCT FROM n.person_no) AS k
    JOIN LATERAL (
        SELECT r.id FROM sync.row_key AS r
        WHERE r.site_id = k.site_id AND r.table_no = _table AND r.key = k.key OFFSET 0
    ) AS r ON r.id <> k.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'persons: person_no = % of site % is another row''s already',
            trim(LEADING '0,' FROM trim(BOTH '[]' FROM _row.key)), _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = 'persons',
                CONSTRAINT = 'persons_natural_key_0',
                DETAIL = format('It is that of %s; the row refused is %s.', _row.other, _row.id);
    END IF;
    PERFORM pg_notify('mes_feed', '');
    RETURN NULL;
END $capture$;

DROP TRIGGER IF EXISTS capture_update ON mes.persons;

CREATE TRIGGER capture_update AFTER UPDATE ON mes.persons
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.capture_persons_update();

CREATE OR REPLACE FUNCTION sync.capture_persons_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = 'persons');
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
            coalesce(nullif(current_setting('app.person', true), ''), session_user), _at_ms, to_jsonb(o)
        FROM heads AS h JOIN old_rows AS o USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, o.site_id, o.id, o.created_at, sync.scopes(o.home_site_id::text, o.assigned_sites::text)
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

DROP TRIGGER IF EXISTS capture_delete ON mes.persons;

CREATE TRIGGER capture_delete AFTER DELETE ON mes.persons
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.capture_persons_delete();
