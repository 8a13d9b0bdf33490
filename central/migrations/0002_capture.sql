-- What the generated capture triggers call, and what a client of the centre may call.
--
-- Who owns a function decides what it may write: all of them belong to mes_owner, and no client has
-- a right on anything in "sync" but the two functions in "mes" at the end.

CREATE FUNCTION sync.now_ms() RETURNS bigint LANGUAGE sql VOLATILE
RETURN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- The sites that share columns name. Each is a site, '*', or a set of sites as a JSON array.
CREATE FUNCTION sync.scopes(VARIADIC shares text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT coalesce(array_agg(DISTINCT site ORDER BY site), '{}')
    FROM unnest(shares) AS s (share)
    CROSS JOIN LATERAL jsonb_array_elements_text(
        CASE WHEN share LIKE '[%' THEN share::jsonb ELSE jsonb_build_array(share) END
    ) AS e (site)
    WHERE site <> ''
);

-- Whether a text is a set in canonical form: sorted, unique, compact. In two statements, since the
-- planner may read the text as JSON before anything has asked whether it is.
CREATE FUNCTION sync.is_set(value text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value IS NOT JSON ARRAY THEN
        RETURN false;
    END IF;
    RETURN value = '[' || coalesce((
        SELECT string_agg(to_json(member)::text, ',' ORDER BY member COLLATE "C")
        FROM (SELECT DISTINCT member FROM json_array_elements_text(value::json) AS e (member)) AS m
    ), '') || ']';
END $$;

-- What an update took away: the old values of the columns that are different now.
CREATE FUNCTION sync.replaced(old_row jsonb, new_row jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT jsonb_object_agg(key, value)
    FROM jsonb_each(old_row)
    WHERE value IS DISTINCT FROM new_row -> key
);

-- Refusals ---------------------------------------------------------------------------------------

CREATE FUNCTION sync.refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% of site %: id, site_id and created_at of a row never change',
            tg_table_schema, tg_table_name, old.site_id
        USING ERRCODE = 'restrict_violation', DETAIL = format('The row is %s.', old.id),
              HINT = 'Delete the row and insert it anew, with an id of its own.';
END $$;

CREATE FUNCTION sync.refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: TRUNCATE is refused, since no site would learn of it', tg_table_name
        USING ERRCODE = 'restrict_violation', HINT = 'Use DELETE.';
END $$;

CREATE FUNCTION sync.refuse_correction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: rows are only ever added, % is refused', tg_table_name, tg_op
        USING ERRCODE = 'restrict_violation', HINT = 'A correction is a new row.';
END $$;

CREATE FUNCTION sync.refuse_fact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: rows are made at their site and never change, % at the centre is refused',
            tg_table_name, tg_op
        USING ERRCODE = 'restrict_violation',
              HINT = 'Write the row, or the row that corrects it, into the store of its site.';
END $$;

-- A person's write -------------------------------------------------------------------------------

-- The version that stands in each row: what a program shows to a person, it shows with this.
CREATE VIEW mes.row_versions WITH (security_barrier) AS
SELECT t.name AS table_name, h.site_id, h.id, h.version, h.ord, h.deleted, h.created_at
FROM sync.head AS h JOIN sync.table_no AS t ON t.no = h.table_no
WHERE h.site_id = '*' OR h.site_id = nullif(current_setting('app.current_site_id', true), '');

-- Call it before the UPDATE or DELETE, in the same transaction: it holds the row until the commit,
-- or tells that somebody else has written it since. The head is locked before the row, as the
-- ingest does, so neither waits for the other in a circle.
CREATE FUNCTION mes.seen(table_name text, site_id text, id uuid, version uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _head sync.head;
BEGIN
    IF seen.site_id IS DISTINCT FROM '*'
       AND seen.site_id IS DISTINCT FROM current_setting('app.current_site_id', true) THEN
        RAISE EXCEPTION '% of site %: this session works for another site', table_name, site_id
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Set app.current_site_id in the same transaction.';
    END IF;
    SELECT h.* INTO _head
    FROM sync.head AS h JOIN sync.table_no AS t ON t.no = h.table_no
    WHERE t.name = seen.table_name AND h.site_id = seen.site_id AND h.id = seen.id
    FOR UPDATE OF h;
    IF _head.version IS DISTINCT FROM seen.version OR _head.deleted THEN
        RAISE EXCEPTION '% % of site % was % since it was read', table_name, id, site_id,
                CASE WHEN _head.deleted THEN 'deleted' ELSE 'written' END
            USING ERRCODE = 'serialization_failure',
                  DETAIL = format('Seen: %s. Now: %s.', version, _head.version),
                  HINT = 'Read the row again and let the person decide.';
    END IF;
END $$;
