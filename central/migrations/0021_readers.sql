-- Who reads by plain SQL, and of which sites: logins of people, of Grafana, Metabase, Excel, Power BI.
--
-- Their sites stand in a table and not in a setting of the session: whoever writes SQL can set any
-- setting. A setting is for the API alone, whose queries nobody else writes.

CREATE TABLE sync.reader (
    name     text PRIMARY KEY,
    sites    text[] CHECK (cardinality(sites) > 0),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE sync.reader IS 'Logins that read by SQL';
COMMENT ON COLUMN sync.reader.name IS 'Of the login';
COMMENT ON COLUMN sync.reader.sites IS 'Sites whose rows it reads; null: all that are registered';

-- Sites of the login that asks. By session_user: it is the same whatever role was set since.
CREATE FUNCTION mes.reader_sites() RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _found text[];
BEGIN
    SELECT coalesce(r.sites, (SELECT array_agg(s.site) FROM sync.site AS s)) INTO _found
    FROM sync.reader AS r WHERE r.name = session_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login % has no sites', session_user
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'An administrator runs mes-central readers add.';
    END IF;
    RETURN _found;
END $$;

-- Sites that the transaction named. Without one it fails: a query that forgot to name them must
-- look neither like a site without rows nor like one that may see all. A policy asks only once it
-- judges a row, so whoever opens a transaction for a user calls this itself.
CREATE FUNCTION mes.asked_sites() RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    _named CONSTANT text := coalesce(current_setting('app.sites', true), '');
BEGIN
    IF _named = '' THEN
        RAISE EXCEPTION 'no sites are named'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Call set_config(''app.sites'', ''SITE_001,SITE_002'', true) in the same transaction.';
    END IF;
    IF _named !~ '^([A-Z0-9_-]{1,20}|\*)(,([A-Z0-9_-]{1,20}|\*))*$' THEN
        RAISE EXCEPTION 'app.sites names no sites: %', _named
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Give names as they are registered, parted by commas and by nothing else.';
    END IF;
    RETURN string_to_array(_named, ',');
END $$;
