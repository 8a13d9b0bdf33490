-- Corrections no longer prolong the life of an order. What is kept of orders that have any was made
-- by them as well: it is stale, so that reports read the facts until upkeep made it anew. Those of
-- archived months are found, too: the sums by order know the type of each report.

DO $$
BEGIN
    IF to_regclass('mes.order_lives') IS NOT NULL THEN
        -- The owner is bound by the policies of rows; the ingest sees all of them.
        SET LOCAL ROLE mes_ingest;
        UPDATE mes.order_lives AS t SET is_stale = true WHERE EXISTS (
            SELECT FROM mes.output_order_days_folded AS o
            WHERE o.site_id = t.site_id AND o.work_order_id = t.work_order_id
            AND o.report_type = 'CORRECTION');
        SET LOCAL ROLE mes_owner;
    END IF;
END $$;
