-- The path by which the report on states of machines finds what people noted on why they stood, on a
-- table that is there already; central/schema.py makes new ones with it.

DO $$
BEGIN
    IF to_regclass('mes.downtime_annotations') IS NOT NULL THEN
        CREATE INDEX IF NOT EXISTS downtime_annotations_latest
            ON mes.downtime_annotations (equipment_id, from_at);
    END IF;
END $$;
