-- Queues rows for the sequencer, which sends their heads to the sites named.
INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
SELECT i.table_no, %(site)s, i.id, i.created_at, i.scopes::text[]
FROM unnest(%(table_no)s::smallint[], %(id)s::uuid[], %(created_at)s::timestamptz[],
            %(scopes)s::text[]) AS i (table_no, id, created_at, scopes)
