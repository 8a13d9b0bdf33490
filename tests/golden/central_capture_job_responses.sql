-- Capture of mes.job_responses at the centre, made by central/capture.py.

DROP TRIGGER IF EXISTS refuse_move ON mes.job_responses;

CREATE TRIGGER refuse_move BEFORE UPDATE OF id, site_id, created_at ON mes.job_responses
    FOR EACH ROW WHEN ((old.id, old.site_id, old.created_at)
        IS DISTINCT FROM (new.id, new.site_id, new.created_at))
    EXECUTE FUNCTION sync.refuse_move();

DROP TRIGGER IF EXISTS refuse_truncate ON mes.job_responses;

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mes.job_responses
    FOR EACH STATEMENT
    EXECUTE FUNCTION sync.refuse_truncate();

DROP TRIGGER IF EXISTS refuse_fact ON mes.job_responses;

CREATE TRIGGER refuse_fact BEFORE INSERT OR UPDATE OR DELETE ON mes.job_responses
    FOR EACH STATEMENT WHEN (current_user <> 'mes_ingest')
    EXECUTE FUNCTION sync.refuse_fact();
