-- What was known of production at an earlier moment: today's facts, without what changed since.

CREATE TABLE sync.late_report (        -- mes.job_responses that came, were mended or went away late
    no              bigint      GENERATED ALWAYS AS IDENTITY,  -- in the order in which it was noted
    noted_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    sign            smallint    NOT NULL,                 -- 1 of a row that came, -1 of one that went
    site_id         text        NOT NULL,
    id              uuid        NOT NULL,
    created_at      timestamptz,
    started_at      timestamptz,
    ended_at        timestamptz,
    business_date   date,                                 -- as it was reported; most rows have none
    equipment_id    uuid,
    report_type     text,
    segment_code    text,
    shift_code      text,
    work_order_id   uuid,
    person_id       uuid,
    qty_good        numeric,
    qty_scrap       numeric,
    qty_rework      numeric,
    qty_mrb         numeric,
    duration_s      numeric,
    duration_known  boolean,
    scrap_reason    text,
    is_rework       boolean
);
CREATE INDEX late_report_noted ON sync.late_report (site_id, noted_at);
COMMENT ON TABLE sync.late_report IS 'Reports that came, changed or went when their day was long over';

CREATE TABLE sync.restated (           -- when one of them changed what was known of some days
    site_id    text        NOT NULL,
    first_day  date        NOT NULL,
    last_day   date        NOT NULL,
    noted_at   timestamptz NOT NULL,
    PRIMARY KEY (site_id, first_day, last_day)
) WITH (fillfactor = 70);
COMMENT ON TABLE sync.restated IS 'When a late report last changed what was known of some days';

CREATE TABLE sync.known_since (        -- one row: nothing before is known
    since  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO sync.known_since DEFAULT VALUES;
COMMENT ON TABLE sync.known_since IS 'From when on late reports were noted, and are kept';
