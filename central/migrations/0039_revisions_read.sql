-- Revisions are followed where answers are read: as mes_api, which may be on a replica, and of every
-- site, since one look is for all who ask. A function, since as mes_api no row of a table or view is
-- read but of the sites that are asked of: it tells how often something changed, and nothing of what.

CREATE FUNCTION sync.revisions(OUT site text, OUT revision bigint, OUT life text)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT r.site, r.revision, l.life
      FROM sync.site_revision AS r,
           -- Another one after each restore: the server was started for it, or the database or the
           -- table made anew. After that the same numbers come again, for what is not the same.
           (SELECT concat_ws('/', extract(epoch FROM pg_postmaster_start_time()), d.oid,
                             pg_relation_filenode('sync.revision')) AS life
              FROM pg_database AS d WHERE d.datname = current_database()) AS l
$$;
COMMENT ON FUNCTION sync.revisions IS
    'The revision of each site, and in which life of the database it counts; for the API';
