CREATE TABLE "work_orders" (
   "id" TEXT PRIMARY KEY NOT NULL DEFAULT (printf('%08x-%04x-7%03x-%04x-%012x', CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) >> 16, CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) & 65535, random() & 4095, 32768 | (random() & 16383), random() & 281474976710655)),
   "site_id" TEXT NOT NULL DEFAULT 'SITE_001',
   "created_at" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
   "order_no" TEXT,
   "source" TEXT DEFAULT 'LOCAL',
   "material_id" TEXT,
   "material_code" TEXT,
   "material_version" TEXT,
   "definition_id" TEXT,
   "routing" TEXT,
   "qty_ordered" TEXT DEFAULT '0',
   "uom" TEXT DEFAULT 'pcs',
   "priority" INTEGER DEFAULT 50,
   "due_at" TEXT,
   "customer_ref" TEXT,
   "planned_start" TEXT,
   "planned_end" TEXT,
   "assigned_line" TEXT,
   "exec_state" TEXT DEFAULT 'CREATED',
   "cancel_requested" INTEGER DEFAULT 0,
   "actual_start" TEXT,
   "actual_end" TEXT,
   "notes" TEXT,
   "customer_comment" TEXT,
   "changed_by" TEXT,
   UNIQUE ("site_id", "order_no")
) STRICT;

CREATE TABLE "_sync_log_work_orders" (
  seq INTEGER PRIMARY KEY,
  op TEXT NOT NULL,
  id TEXT NOT NULL,
  site_id ANY,
  created_at ANY,
  mask INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  "o_order_no" ANY,
  "o_source" ANY,
  "o_material_id" ANY,
  "o_material_code" ANY,
  "o_material_version" ANY,
  "o_definition_id" ANY,
  "o_routing" ANY,
  "o_qty_ordered" ANY,
  "o_uom" ANY,
  "o_priority" ANY,
  "o_due_at" ANY,
  "o_customer_ref" ANY,
  "o_planned_start" ANY,
  "o_planned_end" ANY,
  "o_assigned_line" ANY,
  "o_exec_state" ANY,
  "o_cancel_requested" ANY,
  "o_actual_start" ANY,
  "o_actual_end" ANY,
  "o_notes" ANY,
  "o_customer_comment" ANY,
  "o_changed_by" ANY
) STRICT;

CREATE TRIGGER "_sync_work_orders_guard_insert" BEFORE INSERT ON "work_orders"
WHEN (SELECT flag FROM _sync_applying) = 0
BEGIN
  SELECT CASE
    WHEN NEW."site_id" <> 'SITE_001'
      THEN RAISE(ABORT, 'work_orders: site_id must be SITE_001, this store''s own site; leave it out')
    WHEN NEW."_rowid_" <> -1
      THEN RAISE(ABORT, 'work_orders: SQLite numbers the rows by itself: leave the rowid out')
    WHEN (NEW."id" NOT GLOB '????????-????-????-????-????????????' OR NEW."id" <> lower(NEW."id"))
      THEN RAISE(ABORT, 'work_orders.id: a lower-case uuid in groups of 8-4-4-4-12 is expected; leave it out')
    WHEN NEW."created_at" IS NULL
      THEN RAISE(ABORT, 'work_orders.created_at is required')
    WHEN NEW."created_at" NOT BETWEEN '0' AND ':' OR instr(NEW."created_at", 'Z') = 0 AND NEW."created_at" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*'
      THEN RAISE(ABORT, 'work_orders.created_at: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."order_no" IS NULL
      THEN RAISE(ABORT, 'work_orders.order_no is required')
    WHEN length(NEW."order_no") > 60
      THEN RAISE(ABORT, 'work_orders.order_no: at most 60 characters are allowed')
    WHEN NEW."source" IS NULL
      THEN RAISE(ABORT, 'work_orders.source is required')
    WHEN NEW."source" <> 'ERP' AND NEW."source" <> 'LOCAL' AND NEW."source" <> 'REWORK'
      THEN RAISE(ABORT, 'work_orders.source: one of ERP, LOCAL, REWORK is expected')
    WHEN length(NEW."material_id") <> 36
      THEN RAISE(ABORT, 'work_orders.material_id: a uuid in groups of 8-4-4-4-12 is expected')
    WHEN length(NEW."material_code") > 80
      THEN RAISE(ABORT, 'work_orders.material_code: at most 80 characters are allowed')
    WHEN length(NEW."material_version") > 20
      THEN RAISE(ABORT, 'work_orders.material_version: at most 20 characters are allowed')
    WHEN length(NEW."definition_id") <> 36
      THEN RAISE(ABORT, 'work_orders.definition_id: a uuid in groups of 8-4-4-4-12 is expected')
    WHEN NEW."routing" IS NOT NULL AND NOT json_valid(NEW."routing")
      THEN RAISE(ABORT, 'work_orders.routing: JSON is expected')
    WHEN length(NEW."routing") > 4000000
      THEN RAISE(ABORT, 'work_orders.routing: at most 4000000 characters are allowed')
    WHEN NEW."qty_ordered" IS NULL
      THEN RAISE(ABORT, 'work_orders.qty_ordered is required')
    WHEN NEW."qty_ordered" NOT BETWEEN '+' AND ':'
      THEN RAISE(ABORT, 'work_orders.qty_ordered: a decimal number such as 12.5 is expected')
    WHEN instr(NEW."qty_ordered", '.') > 0 AND length(rtrim(NEW."qty_ordered", '0')) - instr(NEW."qty_ordered", '.') > 6
      THEN RAISE(ABORT, 'work_orders.qty_ordered: at most 6 digits may stand after the point; it is not rounded')
    WHEN CAST(NEW."qty_ordered" AS REAL) < 0
      THEN RAISE(ABORT, 'work_orders.qty_ordered: the least value allowed is 0')
    WHEN NEW."uom" IS NULL
      THEN RAISE(ABORT, 'work_orders.uom is required')
    WHEN length(NEW."uom") > 20
      THEN RAISE(ABORT, 'work_orders.uom: at most 20 characters are allowed')
    WHEN NEW."priority" IS NULL
      THEN RAISE(ABORT, 'work_orders.priority is required')
    WHEN NEW."priority" < 0
      THEN RAISE(ABORT, 'work_orders.priority: the least value allowed is 0')
    WHEN NEW."priority" > 100
      THEN RAISE(ABORT, 'work_orders.priority: the largest value allowed is 100')
    WHEN NEW."due_at" NOT BETWEEN '0' AND ':' OR instr(NEW."due_at", 'Z') = 0 AND NEW."due_at" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*'
      THEN RAISE(ABORT, 'work_orders.due_at: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN length(NEW."customer_ref") > 80
      THEN RAISE(ABORT, 'work_orders.customer_ref: at most 80 characters are allowed')
    WHEN NEW."planned_start" NOT BETWEEN '0' AND ':' OR instr(NEW."planned_start", 'Z') = 0 AND NEW."planned_start" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*'
      THEN RAISE(ABORT, 'work_orders.planned_start: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."planned_end" NOT BETWEEN '0' AND ':' OR instr(NEW."planned_end", 'Z') = 0 AND NEW."planned_end" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*'
      THEN RAISE(ABORT, 'work_orders.planned_end: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN length(NEW."assigned_line") > 60
      THEN RAISE(ABORT, 'work_orders.assigned_line: at most 60 characters are allowed')
    WHEN NEW."exec_state" IS NULL
      THEN RAISE(ABORT, 'work_orders.exec_state is required')
    WHEN NEW."exec_state" <> 'CREATED' AND NEW."exec_state" <> 'RELEASED' AND NEW."exec_state" <> 'IN_PROGRESS' AND NEW."exec_state" <> 'COMPLETED' AND NEW."exec_state" <> 'CLOSED'
      THEN RAISE(ABORT, 'work_orders.exec_state: one of CREATED, RELEASED, IN_PROGRESS, COMPLETED, CLOSED is expected')
    WHEN NEW."cancel_requested" IS NULL
      THEN RAISE(ABORT, 'work_orders.cancel_requested is required')
    WHEN NEW."cancel_requested" NOT BETWEEN 0 AND 1
      THEN RAISE(ABORT, 'work_orders.cancel_requested: 0 or 1 is expected')
    WHEN NEW."actual_start" NOT BETWEEN '0' AND ':' OR instr(NEW."actual_start", 'Z') = 0 AND NEW."actual_start" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*'
      THEN RAISE(ABORT, 'work_orders.actual_start: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."actual_end" NOT BETWEEN '0' AND ':' OR instr(NEW."actual_end", 'Z') = 0 AND NEW."actual_end" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*'
      THEN RAISE(ABORT, 'work_orders.actual_end: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN length(NEW."notes") > 4000
      THEN RAISE(ABORT, 'work_orders.notes: at most 4000 characters are allowed')
    WHEN length(NEW."customer_comment") > 4000
      THEN RAISE(ABORT, 'work_orders.customer_comment: at most 4000 characters are allowed')
    WHEN length(NEW."changed_by") > 80
      THEN RAISE(ABORT, 'work_orders.changed_by: at most 80 characters are allowed')
  END;
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "site_id", "created_at", "mask", "at_ms", "o_order_no", "o_source", "o_material_id", "o_material_code", "o_material_version", "o_definition_id", "o_routing", "o_qty_ordered", "o_uom", "o_priority", "o_due_at", "o_customer_ref", "o_planned_start", "o_planned_end", "o_assigned_line", "o_exec_state", "o_cancel_requested", "o_actual_start", "o_actual_end", "o_notes", "o_customer_comment", "o_changed_by")
  SELECT
    'X',
    d."id",
    d."site_id",
    d."created_at",
    4194303,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER),
    d."order_no",
    d."source",
    d."material_id",
    d."material_code",
    d."material_version",
    d."definition_id",
    d."routing",
    d."qty_ordered",
    d."uom",
    d."priority",
    d."due_at",
    d."customer_ref",
    d."planned_start",
    d."planned_end",
    d."assigned_line",
    d."exec_state",
    d."cancel_requested",
    d."actual_start",
    d."actual_end",
    d."notes",
    d."customer_comment",
    d."changed_by"
  FROM "work_orders" d WHERE (d."id" = NEW."id") OR (d."site_id" = NEW."site_id" AND d."order_no" = NEW."order_no");
END;

CREATE TRIGGER "_sync_work_orders_guard_update" BEFORE UPDATE ON "work_orders"
WHEN (SELECT flag FROM _sync_applying) = 0
BEGIN
  SELECT CASE
    WHEN OLD."site_id" <> 'SITE_001'
      THEN RAISE(ABORT, 'work_orders: the row belongs to the centre or another site: change it there')
    WHEN NEW."site_id" IS NOT OLD."site_id" AND OLD."site_id" IS NOT NULL
      THEN RAISE(ABORT, 'work_orders.site_id is set once, when the row is made')
    WHEN NEW."created_at" IS NOT OLD."created_at" AND OLD."created_at" IS NOT NULL
      THEN RAISE(ABORT, 'work_orders.created_at is set once, when the row is made')
    WHEN OLD."id" <> NEW."id" AND (NEW."id" NOT GLOB '????????-????-????-????-????????????' OR NEW."id" <> lower(NEW."id"))
      THEN RAISE(ABORT, 'work_orders.id: a lower-case uuid in groups of 8-4-4-4-12 is expected; leave it out')
    WHEN NEW."_rowid_" <> OLD."_rowid_"
      THEN RAISE(ABORT, 'work_orders: SQLite numbers the rows by itself: leave the rowid out')
    WHEN NEW."order_no" IS NOT OLD."order_no" AND (NEW."order_no" IS NULL)
      THEN RAISE(ABORT, 'work_orders.order_no is required')
    WHEN NEW."order_no" IS NOT OLD."order_no" AND (length(NEW."order_no") > 60)
      THEN RAISE(ABORT, 'work_orders.order_no: at most 60 characters are allowed')
    WHEN NEW."source" IS NOT OLD."source" AND (NEW."source" IS NULL)
      THEN RAISE(ABORT, 'work_orders.source is required')
    WHEN NEW."source" IS NOT OLD."source" AND (NEW."source" <> 'ERP' AND NEW."source" <> 'LOCAL' AND NEW."source" <> 'REWORK')
      THEN RAISE(ABORT, 'work_orders.source: one of ERP, LOCAL, REWORK is expected')
    WHEN NEW."material_id" IS NOT OLD."material_id" AND (length(NEW."material_id") <> 36)
      THEN RAISE(ABORT, 'work_orders.material_id: a uuid in groups of 8-4-4-4-12 is expected')
    WHEN NEW."material_code" IS NOT OLD."material_code" AND (length(NEW."material_code") > 80)
      THEN RAISE(ABORT, 'work_orders.material_code: at most 80 characters are allowed')
    WHEN NEW."material_version" IS NOT OLD."material_version" AND (length(NEW."material_version") > 20)
      THEN RAISE(ABORT, 'work_orders.material_version: at most 20 characters are allowed')
    WHEN NEW."definition_id" IS NOT OLD."definition_id" AND (length(NEW."definition_id") <> 36)
      THEN RAISE(ABORT, 'work_orders.definition_id: a uuid in groups of 8-4-4-4-12 is expected')
    WHEN NEW."routing" IS NOT OLD."routing" AND (NEW."routing" IS NOT NULL AND NOT json_valid(NEW."routing"))
      THEN RAISE(ABORT, 'work_orders.routing: JSON is expected')
    WHEN NEW."routing" IS NOT OLD."routing" AND (length(NEW."routing") > 4000000)
      THEN RAISE(ABORT, 'work_orders.routing: at most 4000000 characters are allowed')
    WHEN NEW."qty_ordered" IS NOT OLD."qty_ordered" AND (NEW."qty_ordered" IS NULL)
      THEN RAISE(ABORT, 'work_orders.qty_ordered is required')
    WHEN NEW."qty_ordered" IS NOT OLD."qty_ordered" AND (NEW."qty_ordered" NOT BETWEEN '+' AND ':')
      THEN RAISE(ABORT, 'work_orders.qty_ordered: a decimal number such as 12.5 is expected')
    WHEN NEW."qty_ordered" IS NOT OLD."qty_ordered" AND (instr(NEW."qty_ordered", '.') > 0 AND length(rtrim(NEW."qty_ordered", '0')) - instr(NEW."qty_ordered", '.') > 6)
      THEN RAISE(ABORT, 'work_orders.qty_ordered: at most 6 digits may stand after the point; it is not rounded')
    WHEN NEW."qty_ordered" IS NOT OLD."qty_ordered" AND (CAST(NEW."qty_ordered" AS REAL) < 0)
      THEN RAISE(ABORT, 'work_orders.qty_ordered: the least value allowed is 0')
    WHEN NEW."uom" IS NOT OLD."uom" AND (NEW."uom" IS NULL)
      THEN RAISE(ABORT, 'work_orders.uom is required')
    WHEN NEW."uom" IS NOT OLD."uom" AND (length(NEW."uom") > 20)
      THEN RAISE(ABORT, 'work_orders.uom: at most 20 characters are allowed')
    WHEN NEW."priority" IS NOT OLD."priority" AND (NEW."priority" IS NULL)
      THEN RAISE(ABORT, 'work_orders.priority is required')
    WHEN NEW."priority" IS NOT OLD."priority" AND (NEW."priority" < 0)
      THEN RAISE(ABORT, 'work_orders.priority: the least value allowed is 0')
    WHEN NEW."priority" IS NOT OLD."priority" AND (NEW."priority" > 100)
      THEN RAISE(ABORT, 'work_orders.priority: the largest value allowed is 100')
    WHEN NEW."due_at" IS NOT OLD."due_at" AND (NEW."due_at" NOT BETWEEN '0' AND ':' OR instr(NEW."due_at", 'Z') = 0 AND NEW."due_at" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*')
      THEN RAISE(ABORT, 'work_orders.due_at: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."customer_ref" IS NOT OLD."customer_ref" AND (length(NEW."customer_ref") > 80)
      THEN RAISE(ABORT, 'work_orders.customer_ref: at most 80 characters are allowed')
    WHEN NEW."planned_start" IS NOT OLD."planned_start" AND (NEW."planned_start" NOT BETWEEN '0' AND ':' OR instr(NEW."planned_start", 'Z') = 0 AND NEW."planned_start" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*')
      THEN RAISE(ABORT, 'work_orders.planned_start: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."planned_end" IS NOT OLD."planned_end" AND (NEW."planned_end" NOT BETWEEN '0' AND ':' OR instr(NEW."planned_end", 'Z') = 0 AND NEW."planned_end" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*')
      THEN RAISE(ABORT, 'work_orders.planned_end: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."assigned_line" IS NOT OLD."assigned_line" AND (length(NEW."assigned_line") > 60)
      THEN RAISE(ABORT, 'work_orders.assigned_line: at most 60 characters are allowed')
    WHEN NEW."exec_state" IS NOT OLD."exec_state" AND (NEW."exec_state" IS NULL)
      THEN RAISE(ABORT, 'work_orders.exec_state is required')
    WHEN NEW."exec_state" IS NOT OLD."exec_state" AND (NEW."exec_state" <> 'CREATED' AND NEW."exec_state" <> 'RELEASED' AND NEW."exec_state" <> 'IN_PROGRESS' AND NEW."exec_state" <> 'COMPLETED' AND NEW."exec_state" <> 'CLOSED')
      THEN RAISE(ABORT, 'work_orders.exec_state: one of CREATED, RELEASED, IN_PROGRESS, COMPLETED, CLOSED is expected')
    WHEN (CASE NEW."exec_state" WHEN 'CREATED' THEN 0 WHEN 'RELEASED' THEN 1 WHEN 'IN_PROGRESS' THEN 2 WHEN 'COMPLETED' THEN 3 WHEN 'CLOSED' THEN 4 ELSE -1 END) < (CASE OLD."exec_state" WHEN 'CREATED' THEN 0 WHEN 'RELEASED' THEN 1 WHEN 'IN_PROGRESS' THEN 2 WHEN 'COMPLETED' THEN 3 WHEN 'CLOSED' THEN 4 ELSE -1 END)
      THEN RAISE(ABORT, 'work_orders.exec_state never goes back (CREATED < RELEASED < IN_PROGRESS < COMPLETED < CLOSED); ask the centre if it must')
    WHEN NEW."cancel_requested" IS NOT OLD."cancel_requested" AND (NEW."cancel_requested" IS NULL)
      THEN RAISE(ABORT, 'work_orders.cancel_requested is required')
    WHEN NEW."cancel_requested" IS NOT OLD."cancel_requested" AND (NEW."cancel_requested" NOT BETWEEN 0 AND 1)
      THEN RAISE(ABORT, 'work_orders.cancel_requested: 0 or 1 is expected')
    WHEN (CASE NEW."cancel_requested" WHEN 0 THEN 0 WHEN 1 THEN 1 ELSE -1 END) < (CASE OLD."cancel_requested" WHEN 0 THEN 0 WHEN 1 THEN 1 ELSE -1 END)
      THEN RAISE(ABORT, 'work_orders.cancel_requested never goes back (0 < 1); ask the centre if it must')
    WHEN NEW."actual_start" IS NOT OLD."actual_start" AND (NEW."actual_start" NOT BETWEEN '0' AND ':' OR instr(NEW."actual_start", 'Z') = 0 AND NEW."actual_start" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*')
      THEN RAISE(ABORT, 'work_orders.actual_start: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."actual_end" IS NOT OLD."actual_end" AND (NEW."actual_end" NOT BETWEEN '0' AND ':' OR instr(NEW."actual_end", 'Z') = 0 AND NEW."actual_end" NOT GLOB '????-??-??[Tt ]??:??*[-+z]*')
      THEN RAISE(ABORT, 'work_orders.actual_end: a timestamp such as 2012-01-02T03:04:05.678Z is expected; write strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now'')')
    WHEN NEW."notes" IS NOT OLD."notes" AND (length(NEW."notes") > 4000)
      THEN RAISE(ABORT, 'work_orders.notes: at most 4000 characters are allowed')
    WHEN NEW."customer_comment" IS NOT OLD."customer_comment" AND (length(NEW."customer_comment") > 4000)
      THEN RAISE(ABORT, 'work_orders.customer_comment: at most 4000 characters are allowed')
    WHEN NEW."changed_by" IS NOT OLD."changed_by" AND (length(NEW."changed_by") > 80)
      THEN RAISE(ABORT, 'work_orders.changed_by: at most 80 characters are allowed')
  END;
END;

CREATE TRIGGER "_sync_work_orders_guard_delete" BEFORE DELETE ON "work_orders"
WHEN (SELECT flag FROM _sync_applying) = 0
BEGIN
  SELECT CASE
    WHEN OLD."site_id" <> 'SITE_001'
      THEN RAISE(ABORT, 'work_orders: the row belongs to the centre or another site: change it there')
  END;
END;

CREATE TRIGGER "_sync_work_orders_log_insert" AFTER INSERT ON "work_orders"
WHEN (SELECT flag FROM _sync_applying) = 0
BEGIN
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "mask", "at_ms")
  VALUES (
    'I',
    NEW."id",
    CASE
      WHEN NEW."_rowid_" < 0 THEN RAISE(ABORT, 'work_orders: SQLite numbers the rows by itself: leave the rowid out')
      WHEN (SELECT op FROM "_sync_log_work_orders" ORDER BY seq DESC LIMIT 1) <> 'I' THEN coalesce((
        SELECT max(CASE
        WHEN (CASE NEW."exec_state" WHEN 'CREATED' THEN 0 WHEN 'RELEASED' THEN 1 WHEN 'IN_PROGRESS' THEN 2 WHEN 'COMPLETED' THEN 3 WHEN 'CLOSED' THEN 4 ELSE -1 END) < (CASE d."o_exec_state" WHEN 'CREATED' THEN 0 WHEN 'RELEASED' THEN 1 WHEN 'IN_PROGRESS' THEN 2 WHEN 'COMPLETED' THEN 3 WHEN 'CLOSED' THEN 4 ELSE -1 END)
          THEN RAISE(ABORT, 'work_orders.exec_state never goes back (CREATED < RELEASED < IN_PROGRESS < COMPLETED < CLOSED); ask the centre if it must')
        WHEN (CASE NEW."cancel_requested" WHEN 0 THEN 0 WHEN 1 THEN 1 ELSE -1 END) < (CASE d."o_cancel_requested" WHEN 0 THEN 0 WHEN 1 THEN 1 ELSE -1 END)
          THEN RAISE(ABORT, 'work_orders.cancel_requested never goes back (0 < 1); ask the centre if it must')
        ELSE 0 END) FROM "_sync_log_work_orders" d
        WHERE d.seq >= (SELECT max(seq) FROM "_sync_log_work_orders") - 3 AND d.op = 'X' AND d.id = NEW."id"), 0)
      ELSE 0 END,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER));
END;

CREATE TRIGGER "_sync_work_orders_log_displaced_by_update" BEFORE UPDATE OF "site_id", "order_no" ON "work_orders"
WHEN OLD."id" = NEW."id" AND EXISTS (SELECT 1 FROM "work_orders" d WHERE ((d."id" = NEW."id") OR (d."site_id" = NEW."site_id" AND d."order_no" = NEW."order_no")) AND d."id" <> OLD."id") AND (SELECT flag FROM _sync_applying) = 0
BEGIN
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "site_id", "created_at", "mask", "at_ms", "o_order_no", "o_source", "o_material_id", "o_material_code", "o_material_version", "o_definition_id", "o_routing", "o_qty_ordered", "o_uom", "o_priority", "o_due_at", "o_customer_ref", "o_planned_start", "o_planned_end", "o_assigned_line", "o_exec_state", "o_cancel_requested", "o_actual_start", "o_actual_end", "o_notes", "o_customer_comment", "o_changed_by")
  SELECT
    'X',
    d."id",
    d."site_id",
    d."created_at",
    4194303,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER),
    d."order_no",
    d."source",
    d."material_id",
    d."material_code",
    d."material_version",
    d."definition_id",
    d."routing",
    d."qty_ordered",
    d."uom",
    d."priority",
    d."due_at",
    d."customer_ref",
    d."planned_start",
    d."planned_end",
    d."assigned_line",
    d."exec_state",
    d."cancel_requested",
    d."actual_start",
    d."actual_end",
    d."notes",
    d."customer_comment",
    d."changed_by"
  FROM "work_orders" d WHERE ((d."id" = NEW."id") OR (d."site_id" = NEW."site_id" AND d."order_no" = NEW."order_no")) AND d."id" <> OLD."id";
END;

CREATE TRIGGER "_sync_work_orders_log_update" BEFORE UPDATE ON "work_orders"
WHEN (SELECT flag FROM _sync_applying) = 0 AND OLD."id" = NEW."id" AND (
  (OLD."order_no" IS NOT NEW."order_no")
  OR (OLD."source" IS NOT NEW."source")
  OR (OLD."material_id" IS NOT NEW."material_id")
  OR (OLD."material_code" IS NOT NEW."material_code")
  OR (OLD."material_version" IS NOT NEW."material_version")
  OR (OLD."definition_id" IS NOT NEW."definition_id")
  OR (OLD."routing" IS NOT NEW."routing")
  OR (OLD."qty_ordered" IS NOT NEW."qty_ordered")
  OR (OLD."uom" IS NOT NEW."uom")
  OR (OLD."priority" IS NOT NEW."priority")
  OR (OLD."due_at" IS NOT NEW."due_at")
  OR (OLD."customer_ref" IS NOT NEW."customer_ref")
  OR (OLD."planned_start" IS NOT NEW."planned_start")
  OR (OLD."planned_end" IS NOT NEW."planned_end")
  OR (OLD."assigned_line" IS NOT NEW."assigned_line")
  OR (OLD."exec_state" IS NOT NEW."exec_state")
  OR (OLD."cancel_requested" IS NOT NEW."cancel_requested")
  OR (OLD."actual_start" IS NOT NEW."actual_start")
  OR (OLD."actual_end" IS NOT NEW."actual_end")
  OR (OLD."notes" IS NOT NEW."notes")
  OR (OLD."customer_comment" IS NOT NEW."customer_comment")
  OR (OLD."changed_by" IS NOT NEW."changed_by"))
BEGIN
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "mask", "at_ms", "o_order_no", "o_source", "o_material_id", "o_material_code", "o_material_version", "o_definition_id", "o_routing", "o_qty_ordered", "o_uom", "o_priority", "o_due_at", "o_customer_ref", "o_planned_start", "o_planned_end", "o_assigned_line", "o_exec_state", "o_cancel_requested", "o_actual_start", "o_actual_end", "o_notes", "o_customer_comment", "o_changed_by")
  VALUES (
    'U',
    OLD."id",
    ((OLD."order_no" IS NOT NEW."order_no") << 0)
    | ((OLD."source" IS NOT NEW."source") << 1)
    | ((OLD."material_id" IS NOT NEW."material_id") << 2)
    | ((OLD."material_code" IS NOT NEW."material_code") << 3)
    | ((OLD."material_version" IS NOT NEW."material_version") << 4)
    | ((OLD."definition_id" IS NOT NEW."definition_id") << 5)
    | ((OLD."routing" IS NOT NEW."routing") << 6)
    | ((OLD."qty_ordered" IS NOT NEW."qty_ordered") << 7)
    | ((OLD."uom" IS NOT NEW."uom") << 8)
    | ((OLD."priority" IS NOT NEW."priority") << 9)
    | ((OLD."due_at" IS NOT NEW."due_at") << 10)
    | ((OLD."customer_ref" IS NOT NEW."customer_ref") << 11)
    | ((OLD."planned_start" IS NOT NEW."planned_start") << 12)
    | ((OLD."planned_end" IS NOT NEW."planned_end") << 13)
    | ((OLD."assigned_line" IS NOT NEW."assigned_line") << 14)
    | ((OLD."exec_state" IS NOT NEW."exec_state") << 15)
    | ((OLD."cancel_requested" IS NOT NEW."cancel_requested") << 16)
    | ((OLD."actual_start" IS NOT NEW."actual_start") << 17)
    | ((OLD."actual_end" IS NOT NEW."actual_end") << 18)
    | ((OLD."notes" IS NOT NEW."notes") << 19)
    | ((OLD."customer_comment" IS NOT NEW."customer_comment") << 20)
    | ((OLD."changed_by" IS NOT NEW."changed_by") << 21),
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER),
    CASE WHEN (OLD."order_no" IS NOT NEW."order_no") THEN OLD."order_no" END,
    CASE WHEN (OLD."source" IS NOT NEW."source") THEN OLD."source" END,
    CASE WHEN (OLD."material_id" IS NOT NEW."material_id") THEN OLD."material_id" END,
    CASE WHEN (OLD."material_code" IS NOT NEW."material_code") THEN OLD."material_code" END,
    CASE WHEN (OLD."material_version" IS NOT NEW."material_version") THEN OLD."material_version" END,
    CASE WHEN (OLD."definition_id" IS NOT NEW."definition_id") THEN OLD."definition_id" END,
    CASE WHEN (OLD."routing" IS NOT NEW."routing") THEN OLD."routing" END,
    CASE WHEN (OLD."qty_ordered" IS NOT NEW."qty_ordered") THEN OLD."qty_ordered" END,
    CASE WHEN (OLD."uom" IS NOT NEW."uom") THEN OLD."uom" END,
    CASE WHEN (OLD."priority" IS NOT NEW."priority") THEN OLD."priority" END,
    CASE WHEN (OLD."due_at" IS NOT NEW."due_at") THEN OLD."due_at" END,
    CASE WHEN (OLD."customer_ref" IS NOT NEW."customer_ref") THEN OLD."customer_ref" END,
    CASE WHEN (OLD."planned_start" IS NOT NEW."planned_start") THEN OLD."planned_start" END,
    CASE WHEN (OLD."planned_end" IS NOT NEW."planned_end") THEN OLD."planned_end" END,
    CASE WHEN (OLD."assigned_line" IS NOT NEW."assigned_line") THEN OLD."assigned_line" END,
    CASE WHEN (OLD."exec_state" IS NOT NEW."exec_state") THEN OLD."exec_state" END,
    CASE WHEN (OLD."cancel_requested" IS NOT NEW."cancel_requested") THEN OLD."cancel_requested" END,
    CASE WHEN (OLD."actual_start" IS NOT NEW."actual_start") THEN OLD."actual_start" END,
    CASE WHEN (OLD."actual_end" IS NOT NEW."actual_end") THEN OLD."actual_end" END,
    CASE WHEN (OLD."notes" IS NOT NEW."notes") THEN OLD."notes" END,
    CASE WHEN (OLD."customer_comment" IS NOT NEW."customer_comment") THEN OLD."customer_comment" END,
    CASE WHEN (OLD."changed_by" IS NOT NEW."changed_by") THEN OLD."changed_by" END);
END;

CREATE TRIGGER "_sync_work_orders_log_rekey" BEFORE UPDATE OF "id" ON "work_orders"
WHEN (SELECT flag FROM _sync_applying) = 0 AND OLD."id" <> NEW."id"
BEGIN
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "site_id", "created_at", "mask", "at_ms", "o_order_no", "o_source", "o_material_id", "o_material_code", "o_material_version", "o_definition_id", "o_routing", "o_qty_ordered", "o_uom", "o_priority", "o_due_at", "o_customer_ref", "o_planned_start", "o_planned_end", "o_assigned_line", "o_exec_state", "o_cancel_requested", "o_actual_start", "o_actual_end", "o_notes", "o_customer_comment", "o_changed_by")
  SELECT
    'X',
    d."id",
    d."site_id",
    d."created_at",
    4194303,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER),
    d."order_no",
    d."source",
    d."material_id",
    d."material_code",
    d."material_version",
    d."definition_id",
    d."routing",
    d."qty_ordered",
    d."uom",
    d."priority",
    d."due_at",
    d."customer_ref",
    d."planned_start",
    d."planned_end",
    d."assigned_line",
    d."exec_state",
    d."cancel_requested",
    d."actual_start",
    d."actual_end",
    d."notes",
    d."customer_comment",
    d."changed_by"
  FROM "work_orders" d WHERE ((d."id" = NEW."id") OR (d."site_id" = NEW."site_id" AND d."order_no" = NEW."order_no")) AND d."id" <> OLD."id";
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "site_id", "created_at", "mask", "at_ms", "o_order_no", "o_source", "o_material_id", "o_material_code", "o_material_version", "o_definition_id", "o_routing", "o_qty_ordered", "o_uom", "o_priority", "o_due_at", "o_customer_ref", "o_planned_start", "o_planned_end", "o_assigned_line", "o_exec_state", "o_cancel_requested", "o_actual_start", "o_actual_end", "o_notes", "o_customer_comment", "o_changed_by")
  VALUES (
    'D',
    OLD."id",
    OLD."site_id",
    OLD."created_at",
    4194303,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER),
    OLD."order_no",
    OLD."source",
    OLD."material_id",
    OLD."material_code",
    OLD."material_version",
    OLD."definition_id",
    OLD."routing",
    OLD."qty_ordered",
    OLD."uom",
    OLD."priority",
    OLD."due_at",
    OLD."customer_ref",
    OLD."planned_start",
    OLD."planned_end",
    OLD."assigned_line",
    OLD."exec_state",
    OLD."cancel_requested",
    OLD."actual_start",
    OLD."actual_end",
    OLD."notes",
    OLD."customer_comment",
    OLD."changed_by");
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "mask", "at_ms")
  VALUES (
    'I',
    NEW."id",
    0,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER));
END;

CREATE TRIGGER "_sync_work_orders_log_delete" BEFORE DELETE ON "work_orders"
WHEN (SELECT flag FROM _sync_applying) = 0
BEGIN
  INSERT INTO "_sync_log_work_orders"
    ("op", "id", "site_id", "created_at", "mask", "at_ms", "o_order_no", "o_source", "o_material_id", "o_material_code", "o_material_version", "o_definition_id", "o_routing", "o_qty_ordered", "o_uom", "o_priority", "o_due_at", "o_customer_ref", "o_planned_start", "o_planned_end", "o_assigned_line", "o_exec_state", "o_cancel_requested", "o_actual_start", "o_actual_end", "o_notes", "o_customer_comment", "o_changed_by")
  VALUES (
    'D',
    OLD."id",
    OLD."site_id",
    OLD."created_at",
    4194303,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER),
    OLD."order_no",
    OLD."source",
    OLD."material_id",
    OLD."material_code",
    OLD."material_version",
    OLD."definition_id",
    OLD."routing",
    OLD."qty_ordered",
    OLD."uom",
    OLD."priority",
    OLD."due_at",
    OLD."customer_ref",
    OLD."planned_start",
    OLD."planned_end",
    OLD."assigned_line",
    OLD."exec_state",
    OLD."cancel_requested",
    OLD."actual_start",
    OLD."actual_end",
    OLD."notes",
    OLD."customer_comment",
    OLD."changed_by");
END;
