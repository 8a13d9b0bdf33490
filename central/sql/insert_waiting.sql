-- Keeps rows that can't be applied as they came, so that a retry decides on what was sent.
INSERT INTO sync.waiting (ticket, site_id, table_name, row_id, tx_id, epoch, n, reason, schema,
                          needs, needs_no, behind, quiet, block, stored_at_ms, catalogue)
SELECT i.ticket, %(site)s, i.table_name, i.row_id, i.tx_id, i.epoch, i.n, i.reason, i.schema,
       i.needs, i.needs_no, i.behind, i.quiet, i.block, i.stored_at_ms, %(catalogue)s
FROM unnest(%(ticket)s::uuid[], %(table_name)s::text[], %(row_id)s::text[], %(tx_id)s::uuid[],
            %(epoch)s::uuid[], %(n)s::bigint[], %(reason)s::text[], %(schema)s::integer[],
            %(needs)s::uuid[], %(needs_no)s::smallint[], %(behind)s::uuid[], %(quiet)s::boolean[],
            %(block)s::bytea[], %(stored_at_ms)s::bigint[])
     AS i (ticket, table_name, row_id, tx_id, epoch, n, reason, schema, needs, needs_no, behind, quiet,
           block, stored_at_ms)
