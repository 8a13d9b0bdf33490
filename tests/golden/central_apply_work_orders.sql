WITH i AS MATERIALIZED (
    SELECT * FROM unnest(%(id)s::uuid[], %(created_at)s::timestamptz[], %(version)s::uuid[], %(hlc)s::bigint[], %(at_ms)s::bigint[], %(clamped)s::boolean[], %(n_notes)s::text[], %(n_exec_state)s::text[], %(n_changed_by)s::text[], %(k_0)s::text[]) AS i (id, created_at, version, hlc, at_ms, clamped, n_notes, n_exec_state, n_changed_by, k_0)
), headed AS (
    INSERT INTO sync.head AS h (site_id, table_no, id, created_at, version, ord)
    SELECT %(site)s, %(table_no)s, i.id, i.created_at, i.version,
        nextval('sync.version_order') FROM i
    ON CONFLICT DO NOTHING RETURNING h.id, h.ord
), moved AS (
    SELECT i.*, h.ord FROM headed AS h JOIN i USING (id)
), noted AS (
    INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin,
        writer, hlc, at_ms, clamped, replaced)
    SELECT %(site)s, %(table_no)s, m.id, m.ord, m.version, 'I', 4194303, %(origin)s,
        m.n_changed_by, m.hlc, m.at_ms, m.clamped, NULL FROM moved AS m
), keys AS (
    SELECT m.id, m.k_0 AS key FROM moved AS m WHERE m.k_0 IS NOT NULL
), keyed AS (
    INSERT INTO sync.row_key (site_id, table_no, key, id)
    SELECT %(site)s, %(table_no)s, key, id FROM keys
    ON CONFLICT DO NOTHING RETURNING 1
), done AS (
    INSERT INTO mes."work_orders__site_001__2026_11" AS t (site_id, created_at, id, notes, exec_state, changed_by)
    SELECT %(site)s, m.created_at, m.id, m.n_notes, m.n_exec_state, m.n_changed_by FROM moved AS m
    RETURNING t.id, t.created_at
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM done),
    CASE WHEN (SELECT count(*) FROM moved) < %(size)s
         THEN (SELECT array_agg(id::text) FROM moved) END,
    (SELECT count(*) FROM keys) - (SELECT count(*) FROM keyed)
;
WITH moved AS (
    UPDATE sync.head AS h
    SET version = i.version, ord = nextval('sync.version_order')
    FROM (SELECT *, %(site)s::text AS i_site, %(table_no)s::smallint AS i_table_no
          FROM unnest(%(id)s::uuid[], %(created_at)s::timestamptz[], %(version)s::uuid[], %(hlc)s::bigint[], %(at_ms)s::bigint[], %(clamped)s::boolean[], %(expected)s::uuid[], %(n_notes)s::text[], %(n_exec_state)s::text[], %(n_changed_by)s::text[], %(o_exec_state)s::text[]) AS i (id, created_at, version, hlc, at_ms, clamped, expected, n_notes, n_exec_state, n_changed_by, o_exec_state) OFFSET 0) AS i
    WHERE h.site_id = i.i_site AND h.table_no = i.i_table_no AND h.id = i.id
      AND h.created_at = i.created_at AND h.version = i.expected AND NOT h.deleted
    RETURNING h.ord, i.*
), noted AS (
    INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin,
        writer, hlc, at_ms, clamped, replaced)
    SELECT %(site)s, %(table_no)s, m.id, m.ord, m.version, 'U', 2654208, %(origin)s,
        m.n_changed_by, m.hlc, m.at_ms, m.clamped, NULL FROM moved AS m
), done AS (
    UPDATE mes."work_orders__site_001__2026_11" AS t SET notes = m.n_notes, exec_state = m.n_exec_state, changed_by = m.n_changed_by FROM moved AS m
    WHERE t.site_id = %(site)s AND t.created_at = m.created_at AND t.id = m.id AND t.exec_state IS NOT DISTINCT FROM m.o_exec_state
    RETURNING t.id, t.created_at
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM done),
    CASE WHEN (SELECT count(*) FROM moved) < %(size)s
         THEN (SELECT array_agg(id::text) FROM moved) END, 0
;
WITH moved AS (
    UPDATE sync.head AS h
    SET version = i.version, ord = nextval('sync.version_order'), deleted = true
    FROM (SELECT *, %(site)s::text AS i_site, %(table_no)s::smallint AS i_table_no
          FROM unnest(%(id)s::uuid[], %(created_at)s::timestamptz[], %(version)s::uuid[], %(hlc)s::bigint[], %(at_ms)s::bigint[], %(clamped)s::boolean[], %(expected)s::uuid[]) AS i (id, created_at, version, hlc, at_ms, clamped, expected) OFFSET 0) AS i
    WHERE h.site_id = i.i_site AND h.table_no = i.i_table_no AND h.id = i.id
      AND h.created_at = i.created_at AND h.version = i.expected AND NOT h.deleted
    RETURNING h.ord, i.*
), done AS (
    DELETE FROM mes."work_orders__site_001__2026_11" AS t USING moved AS m WHERE t.site_id = %(site)s AND t.created_at = m.created_at AND t.id = m.id
    RETURNING t.id, t.created_at, m.ord, m.version, m.hlc, m.at_ms, m.clamped,
        (SELECT to_jsonb(r) FROM (SELECT t.id, t.site_id, t.created_at, t.order_no, t.source, t.material_id, t.material_code, t.material_version, t.definition_id, t.routing::text, t.qty_ordered, t.uom, t.priority, t.due_at, t.customer_ref, t.planned_start, t.planned_end, t.assigned_line, t.exec_state, t.cancel_requested, t.actual_start, t.actual_end, t.notes, t.customer_comment, t.changed_by) AS r (id, site_id, created_at, order_no, source, material_id, material_code, material_version, definition_id, routing, qty_ordered, uom, priority, due_at, customer_ref, planned_start, planned_end, assigned_line, exec_state, cancel_requested, actual_start, actual_end, notes, customer_comment, changed_by)) AS replaced
), noted AS (
    INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin,
        writer, hlc, at_ms, clamped, replaced)
    SELECT %(site)s, %(table_no)s, m.id, m.ord, m.version, 'D', 0, %(origin)s,
        NULL, m.hlc, m.at_ms, m.clamped, m.replaced FROM done AS m
), freed AS (
    DELETE FROM sync.row_key AS k USING moved AS m
    WHERE k.site_id = %(site)s AND k.table_no = %(table_no)s AND k.id = m.id
)
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM done),
    CASE WHEN (SELECT count(*) FROM moved) < %(size)s
         THEN (SELECT array_agg(id::text) FROM moved) END, 0
