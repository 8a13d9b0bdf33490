-- The path that the report on states of machines takes, on a table that is there already;
-- central/schema.py makes new ones with it. Each partition gets its own. Without it the state that
-- a machine was in when a window begins would be looked for in all events before.

DO $$
BEGIN
    IF to_regclass('mes.equipment_state_events') IS NOT NULL THEN
        CREATE INDEX IF NOT EXISTS equipment_state_events_latest
            ON mes.equipment_state_events (equipment_id, since);
    END IF;
END $$;
