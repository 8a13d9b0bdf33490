CREATE TABLE "job_responses" (
   "_seq" INTEGER PRIMARY KEY,
   "id" TEXT NOT NULL DEFAULT (printf('%08x-%04x-7%03x-%04x-%012x', CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) >> 16, CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) & 65535, random() & 4095, 32768 | (random() & 16383), random() & 281474976710655)),
   "site_id" TEXT NOT NULL DEFAULT 'SITE_001',
   "created_at" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
   "job_order_id" TEXT,
   "work_order_id" TEXT,
   "equipment_id" TEXT,
   "person_id" TEXT,
   "report_type" TEXT NOT NULL,
   "segment_code" TEXT,
   "started_at" TEXT,
   "ended_at" TEXT,
   "duration_s" TEXT,
   "duration_known" INTEGER NOT NULL DEFAULT 1,
   "qty_good" TEXT NOT NULL DEFAULT '0',
   "qty_scrap" TEXT NOT NULL DEFAULT '0',
   "qty_rework" TEXT NOT NULL DEFAULT '0',
   "qty_mrb" TEXT NOT NULL DEFAULT '0',
   "uom" TEXT NOT NULL DEFAULT 'pcs',
   "is_rework" INTEGER NOT NULL DEFAULT 0,
   "scrap_reason" TEXT,
   "corrects_id" TEXT,
   "shift_code" TEXT,
   "business_date" TEXT,
   "source_row" INTEGER,
   UNIQUE ("id"),
   CONSTRAINT "_seq numbers the rows by itself: leave it out" CHECK ("_seq" > 0)
) STRICT;

CREATE TRIGGER "_sync_job_responses_guard_insert" BEFORE INSERT ON "job_responses"
WHEN (EXISTS (SELECT 1 FROM "job_responses" d WHERE d."id" = NEW."id" AND (
      d."site_id" IS NOT NEW."site_id"
      OR d."created_at" IS NOT NEW."created_at"
      OR d."job_order_id" IS NOT NEW."job_order_id"
      OR d."work_order_id" IS NOT NEW."work_order_id"
      OR d."equipment_id" IS NOT NEW."equipment_id"
      OR d."person_id" IS NOT NEW."person_id"
      OR d."report_type" IS NOT NEW."report_type"
      OR d."segment_code" IS NOT NEW."segment_code"
      OR d."started_at" IS NOT NEW."started_at"
      OR d."ended_at" IS NOT NEW."ended_at"
      OR d."duration_s" IS NOT NEW."duration_s"
      OR d."duration_known" IS NOT NEW."duration_known"
      OR d."qty_good" IS NOT NEW."qty_good"
      OR d."qty_scrap" IS NOT NEW."qty_scrap"
      OR d."qty_rework" IS NOT NEW."qty_rework"
      OR d."qty_mrb" IS NOT NEW."qty_mrb"
      OR d."uom" IS NOT NEW."uom"
      OR d."is_rework" IS NOT NEW."is_rework"
      OR d."scrap_reason" IS NOT NEW."scrap_reason"
      OR d."corrects_id" IS NOT NEW."corrects_id"
      OR d."shift_code" IS NOT NEW."shift_code"
      OR d."business_date" IS NOT NEW."business_date"
      OR d."source_row" IS NOT NEW."source_row"))
  OR NEW."_seq" <> -1
  OR NEW."site_id" <> 'SITE_001') AND (SELECT flag FROM _sync_applying) = 0
BEGIN
  SELECT CASE
    WHEN EXISTS (SELECT 1 FROM "job_responses" d WHERE d."id" = NEW."id" AND (
      d."site_id" IS NOT NEW."site_id"
      OR d."created_at" IS NOT NEW."created_at"
      OR d."job_order_id" IS NOT NEW."job_order_id"
      OR d."work_order_id" IS NOT NEW."work_order_id"
      OR d."equipment_id" IS NOT NEW."equipment_id"
      OR d."person_id" IS NOT NEW."person_id"
      OR d."report_type" IS NOT NEW."report_type"
      OR d."segment_code" IS NOT NEW."segment_code"
      OR d."started_at" IS NOT NEW."started_at"
      OR d."ended_at" IS NOT NEW."ended_at"
      OR d."duration_s" IS NOT NEW."duration_s"
      OR d."duration_known" IS NOT NEW."duration_known"
      OR d."qty_good" IS NOT NEW."qty_good"
      OR d."qty_scrap" IS NOT NEW."qty_scrap"
      OR d."qty_rework" IS NOT NEW."qty_rework"
      OR d."qty_mrb" IS NOT NEW."qty_mrb"
      OR d."uom" IS NOT NEW."uom"
      OR d."is_rework" IS NOT NEW."is_rework"
      OR d."scrap_reason" IS NOT NEW."scrap_reason"
      OR d."corrects_id" IS NOT NEW."corrects_id"
      OR d."shift_code" IS NOT NEW."shift_code"
      OR d."business_date" IS NOT NEW."business_date"
      OR d."source_row" IS NOT NEW."source_row"))
      THEN RAISE(ABORT, 'a row with this id exists and says something else; job_responses is append-only: insert a correction row with corrects_id instead')
    WHEN NEW."_seq" <> -1
      THEN RAISE(ABORT, 'job_responses._seq numbers the rows by itself: leave it out')
    WHEN NEW."site_id" <> 'SITE_001'
      THEN RAISE(ABORT, 'job_responses: site_id must be SITE_001, this store''s own site; leave it out')
  END;
END;

CREATE TRIGGER "_sync_job_responses_guard_update" BEFORE UPDATE ON "job_responses"
WHEN (SELECT flag FROM _sync_applying) = 0
BEGIN
  SELECT RAISE(ABORT, 'job_responses is append-only: insert a correction row with corrects_id instead');
END;

CREATE TRIGGER "_sync_job_responses_guard_delete" BEFORE DELETE ON "job_responses"
WHEN (SELECT flag FROM _sync_applying) = 0
BEGIN
  SELECT RAISE(ABORT, 'job_responses is append-only: insert a correction row with corrects_id instead');
END;
