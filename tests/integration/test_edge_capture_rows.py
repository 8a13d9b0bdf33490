"""Whatever a program does by plain SQL is captured: what changed, what stood before, no more."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time

import pytest

from tests.integration.edge_drain_world import CREATED, SITE, site, uid  # noqa: F401
from tests.integration.edge_world import put

OTHER = "INSERT OR REPLACE INTO work_orders (id, order_no, notes) VALUES"


def wall_ms():
    return time.time_ns() // 1_000_000


# --- the plain operations -----------------------------------------------------------------------


def test_an_insert_travels_whole_with_its_key_and_without_a_base(site):
    site.insert("work_orders", id=uid(1), order_no="WO-1", qty_ordered="12.5", notes=None)
    (row,) = site.sent()
    assert (row.table, row.op, row.id, row.site, row.created) == (
        "work_orders", "I", uid(1), SITE, CREATED,
    )  # fmt: skip
    assert set(row.new) == set(site.store.catalog.table("work_orders").names)
    assert (row.new["qty_ordered"], row.new["exec_state"], row.new["notes"]) == (
        "12.5", "CREATED", None,
    )  # fmt: skip
    assert (row.base, row.after, row.old) == (None, None, {})


def test_a_program_that_names_no_key_gets_one_of_version_7_made_now(site):
    before = wall_ms()
    site.write("INSERT INTO work_orders (order_no) VALUES ('WO-1'), ('WO-2')")
    first, second = site.sent()
    for row in (first, second):
        assert row.id[14] == "7"
        assert row.id[19] in "89ab"
        made = int(row.id[:8] + row.id[9:13], 16)
        assert before - 1 <= made <= wall_ms() + 1
        assert row.created.endswith("Z")
        assert len(row.created) == 24
        assert row.site == SITE
    assert first.id != second.id


def test_an_update_sends_the_touched_columns_and_what_stood_in_them(site):
    row_id = site.order(1, notes="before", priority=10)
    site.update("work_orders", row_id, notes="after", priority=20)
    (row,) = site.sent()
    assert (row.new, row.old) == (
        {"notes": "after", "priority": 20},
        {"notes": "before", "priority": 10},
    )
    assert row.base == site.tx_id(1)
    assert row.after is None


def test_columns_that_are_edited_as_one_thing_travel_as_one(site):
    row_id = site.order(qty_ordered="5", uom="pcs", planned_start=CREATED)
    site.update("work_orders", row_id, qty_ordered="6")
    (row,) = site.sent()
    assert row.what == ("U", "qty_ordered", "uom")
    assert (row.old["uom"], row.new["uom"]) == ("pcs", "pcs")


def test_a_write_on_an_undecided_one_names_it_and_keeps_the_base(site):
    row_id = site.order(1)
    site.update("work_orders", row_id, notes="a")
    site.sent()
    site.update("work_orders", row_id, notes="b")
    (row,) = site.sent()
    assert (row.base, row.after) == (site.tx_id(1), site.tx_id(2))


def test_a_touch_is_dated_when_it_was_made_and_not_when_it_is_drained(site):
    row_id = site.order(1)
    before = wall_ms()
    site.update("work_orders", row_id, notes="a")
    after = wall_ms()
    time.sleep(0.05)
    (row,) = site.sent()
    assert before - 1 <= row.at <= after + 1


def test_several_touches_fold_into_the_first_old_and_the_last_new_values(site):
    row_id = site.order(1, notes="a", priority=1)
    for notes in ("b", "c"):
        site.update("work_orders", row_id, notes=notes)
    site.update("work_orders", row_id, priority=2)
    (row,) = site.sent()
    assert (row.new, row.old) == ({"notes": "c", "priority": 2}, {"notes": "a", "priority": 1})


def test_setting_a_column_to_itself_is_no_change(site):
    row_id = site.order(1, notes="a")
    site.write("UPDATE work_orders SET notes = notes, priority = priority + 0, id = id")
    assert site.sent() == []
    assert site.last_n == 1
    assert site.row("work_orders", row_id)["notes"] == "a"


def test_a_value_set_and_set_back_is_no_change(site):
    row_id = site.order(1, notes="a")
    site.update("work_orders", row_id, notes="b")
    site.update("work_orders", row_id, notes="a")
    assert site.sent() == []


def test_a_change_of_case_is_a_change_and_one_of_type_is_kept(site):
    row_id = site.order(1, notes="a", customer_ref="1")
    site.update("work_orders", row_id, notes="A", customer_ref=1)
    (row,) = site.sent()
    assert row.new == {"notes": "A"}


def test_a_delete_sends_the_whole_key(site):
    row_id = site.order(1)
    site.delete("work_orders", row_id)
    (row,) = site.sent()
    assert (row.what, row.id, row.site, row.created) == (("D",), row_id, SITE, CREATED)
    assert row.base == site.tx_id(1)


def test_a_delete_of_the_whole_table_sends_every_row(site):
    ids = [site.order(number) for number in range(1, 6)]
    site.write("DELETE FROM work_orders")
    assert sorted(row.id for row in site.sent() if row.op == "D") == ids


def test_a_row_that_came_and_went_between_two_drains_sends_nothing(site):
    site.insert("work_orders", id=uid(1), order_no="WO-1")
    site.delete("work_orders", uid(1))
    assert site.sent() == []


def test_a_rollback_is_captured_as_nothing(site):
    row_id = site.order(1)
    site.program.execute("BEGIN")
    site.update("work_orders", row_id, notes="a")
    site.insert("work_orders", id=uid(2), order_no="WO-2")
    site.program.execute("ROLLBACK")
    assert site.sent() == []


def test_nothing_is_drained_of_a_transaction_that_is_still_open(site):
    row_id = site.order(1)
    site.program.execute("BEGIN DEFERRED")
    site.update("work_orders", row_id, notes="a")
    assert site.value("SELECT count(*) FROM _sync_log_work_orders") == 1
    other = sqlite3.connect(site.path)
    assert other.execute("SELECT count(*) FROM _sync_log_work_orders").fetchone() == (0,)
    other.close()
    site.program.execute("COMMIT")
    assert [row.new for row in site.sent()] == [{"notes": "a"}]


def test_who_wrote_goes_along_with_an_update_also_when_it_was_the_same_person(site):
    row_id = site.order(1, changed_by="anna", notes="a")
    site.update("work_orders", row_id, notes="b")
    (row,) = site.sent()
    assert (row.new, row.old) == (
        {"notes": "b", "changed_by": "anna"},
        {"notes": "a", "changed_by": "anna"},
    )


# --- delete and insert again ----------------------------------------------------------------------


def test_a_row_deleted_and_inserted_again_is_an_update_of_what_differs(site):
    row_id = site.order(1, notes="a")
    rows = site.sent_in(
        "DELETE FROM work_orders",
        f"INSERT INTO work_orders (id, order_no, notes) VALUES ('{row_id}', 'WO-1', 'b')",
    )
    assert [(row.what, row.base) for row in rows] == [(("U", "notes"), site.tx_id(1))]


def test_its_created_at_stays_though_the_insert_named_none(site):
    row_id = site.order(1)
    site.sent_in("DELETE FROM work_orders", f"{OTHER} ('{row_id}', 'WO-1', 'b')")
    assert site.row("work_orders", row_id)["created_at"] == CREATED


def test_a_row_inserted_again_after_its_delete_was_sent_is_an_insert_on_the_known_version(site):
    row_id = site.order(1)
    site.delete("work_orders", row_id)
    site.sent()
    site.insert("work_orders", id=row_id, order_no="WO-1", notes="again")
    (row,) = site.sent()
    assert (row.op, row.base, row.after) == ("I", site.tx_id(1), site.tx_id(2))
    assert row.new["notes"] == "again"


def test_delete_insert_update_in_one_transaction_is_one_change(site):
    row_id = site.order(1, notes="a", priority=1)
    (row,) = site.sent_in(
        "DELETE FROM work_orders",
        "INSERT INTO work_orders (id, order_no, notes, priority)"
        f" VALUES ('{row_id}', 'WO-1', 'b', 1)",
        "UPDATE work_orders SET priority = 7",
    )
    assert (row.new, row.old) == ({"notes": "b", "priority": 7}, {"notes": "a", "priority": 1})


# --- keys -----------------------------------------------------------------------------------------


def test_a_changed_primary_key_is_a_delete_of_the_old_and_an_insert_of_the_new(site):
    row_id = site.order(1, notes="a")
    site.update("work_orders", row_id, id=uid(2), notes="b")
    inserted, deleted = site.sent()
    assert (inserted.op, inserted.id, inserted.new["notes"]) == ("I", uid(2), "b")
    assert (deleted.op, deleted.id, deleted.created) == ("D", row_id, CREATED)


def test_a_replace_through_the_id_is_an_update_of_what_differs(site):
    row_id = site.order(1, notes="a", priority=9)
    site.write(f"{OTHER} (?, 'WO-1', 'b')", row_id)
    (row,) = site.sent()
    assert (row.what, row.old) == (("U", "notes", "priority"), {"notes": "a", "priority": 9})
    assert site.row("work_orders", row_id)["created_at"] == CREATED


def test_a_replace_through_a_natural_key_deletes_the_row_it_displaced(site):
    displaced = site.order(1)
    site.write(f"{OTHER} (?, 'WO-1', 'b')", uid(2))
    inserted, deleted = site.sent()
    assert (inserted.op, inserted.id) == ("I", uid(2))
    assert (deleted.op, deleted.id, deleted.created) == ("D", displaced, CREATED)


def test_a_replace_may_displace_two_rows_at_once(site):
    first, second = site.order(1), site.order(2)
    site.write(f"{OTHER} (?, 'WO-2', 'b')", first)
    assert {(row.what, row.id) for row in site.sent()} == {
        (("U", "notes", "order_no"), first),
        (("D",), second),
    }


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
def test_a_replace_is_captured_whatever_the_foreign_connection_sets(site, recursive):
    displaced = site.order(1)
    site.program.execute(f"PRAGMA recursive_triggers = {recursive}")
    site.write(f"{OTHER} (?, 'WO-1', 'b')", uid(2))
    assert [(row.op, row.id) for row in site.sent()] == [("I", uid(2)), ("D", displaced)]


def test_an_update_or_replace_deletes_the_row_it_displaced(site):
    first, second = site.order(1), site.order(2)
    site.write("UPDATE OR REPLACE work_orders SET order_no = 'WO-2' WHERE id = ?", first)
    assert {(row.what, row.id) for row in site.sent()} == {
        (("U", "order_no"), first),
        (("D",), second),
    }


def test_an_update_or_replace_of_the_id_overwrites_the_row_of_that_id(site):
    first, second = site.order(1, notes="mine"), site.order(2, notes="theirs")
    site.write(
        "UPDATE OR REPLACE work_orders SET id = ?, order_no = 'WO-3' WHERE id = ?", second, first
    )
    assert {(row.what, row.id) for row in site.sent()} == {
        (("U", "notes", "order_no"), second),
        (("D",), first),
    }


def test_a_replace_through_a_unique_index_of_the_plants_own_is_captured(site):
    site.write("CREATE UNIQUE INDEX plant_ref ON work_orders (customer_ref)")
    site.close()
    site.open()
    displaced = site.order(1, customer_ref="C-1")
    site.write(
        "INSERT OR REPLACE INTO work_orders (id, order_no, customer_ref) VALUES (?, 'WO-2', 'C-1')",
        uid(2),
    )
    assert [(row.op, row.id) for row in site.sent()] == [("I", uid(2)), ("D", displaced)]


def test_an_insert_or_ignore_that_is_ignored_is_no_change(site):
    row_id = site.order(1, notes="a")
    site.write(
        "INSERT OR IGNORE INTO work_orders (id, order_no, notes) VALUES (?, 'x', 'b')", row_id
    )
    site.write("INSERT OR IGNORE INTO work_orders (order_no, notes) VALUES ('WO-1', 'b')")
    assert site.sent() == []


def test_a_failed_insert_is_no_change(site):
    row_id = site.order(1)
    assert "UNIQUE" in site.refused(
        "INSERT INTO work_orders (id, order_no) VALUES (?, 'x')", row_id
    )
    assert site.sent() == []


def test_an_upsert_is_an_update_of_what_it_changed(site):
    row_id = site.order(1, notes="a", priority=3)
    site.write(
        "INSERT INTO work_orders (id, order_no, notes) VALUES (?, 'WO-1', 'b')"
        " ON CONFLICT (id) DO UPDATE SET notes = excluded.notes",
        row_id,
    )
    (row,) = site.sent()
    assert (row.new, row.old) == ({"notes": "b"}, {"notes": "a"})


# --- what else writes -----------------------------------------------------------------------------


def test_what_triggers_of_the_plants_own_write_is_captured(site):
    site.write(
        "CREATE TRIGGER plant_release AFTER UPDATE OF exec_state ON work_orders"
        " WHEN NEW.exec_state = 'RELEASED' BEGIN"
        " UPDATE work_orders SET notes = 'released' WHERE id = NEW.id;"
        " INSERT INTO job_orders (id, work_order_id, seq, segment_code)"
        f" VALUES ('{uid(9)}', NEW.id, 1, 'CUT'); END"
    )
    row_id = site.order(1, notes="a")
    site.update("work_orders", row_id, exec_state="RELEASED")
    order, step = site.sent()
    assert (order.new, order.old) == (
        {"exec_state": "RELEASED", "notes": "released"},
        {"exec_state": "CREATED", "notes": "a"},
    )
    assert (step.table, step.op, step.new["work_order_id"]) == ("job_orders", "I", row_id)


def test_a_trigger_of_the_plants_that_changes_the_row_it_follows_keeps_the_first_old_value(site):
    site.write(
        "CREATE TRIGGER plant_upper AFTER UPDATE OF notes ON work_orders"
        " WHEN NEW.notes <> upper(NEW.notes) BEGIN"
        " UPDATE work_orders SET notes = upper(NEW.notes) WHERE id = NEW.id; END"
    )
    row_id = site.order(1, notes="FIRST")
    site.update("work_orders", row_id, notes="second")
    (row,) = site.sent()
    assert (row.new, row.old) == ({"notes": "SECOND"}, {"notes": "FIRST"})


def test_a_trigger_of_the_plants_that_completes_a_new_row_leaves_it_one_insert(site):
    site.write(
        "CREATE TRIGGER plant_note AFTER INSERT ON work_orders BEGIN"
        " UPDATE work_orders SET notes = 'made by ' || NEW.order_no WHERE id = NEW.id; END"
    )
    site.insert("work_orders", id=uid(1), order_no="WO-1")
    (row,) = site.sent()
    assert (row.op, row.new["notes"]) == ("I", "made by WO-1")


def test_another_process_that_knows_only_sqlite_is_captured(site):
    row_id = site.order(1)
    script = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.execute('UPDATE work_orders SET notes = ?', ('from elsewhere',))\n"
        "db.execute('INSERT INTO job_responses (report_type, qty_good) VALUES (?, ?)',"
        " ('PRODUCTION', 3))\n"
        "db.commit()\n"
    )
    subprocess.run([sys.executable, "-I", "-c", script, str(site.path)], check=True)
    order, report = site.sent()
    assert (order.id, order.new) == (row_id, {"notes": "from elsewhere"})
    assert (report.table, report.op, report.new["qty_good"]) == ("job_responses", "I", "3")


def test_what_the_agent_applies_is_not_captured(site):
    row = {"id": uid(1), "order_no": "WO-1", "notes": "from the centre"}
    site.take(put("work_orders", row, order=1))
    assert site.row("work_orders", uid(1))["notes"] == "from the centre"
    assert site.sent() == []


def test_parents_go_before_their_children_and_children_are_deleted_first(site):
    step = (
        "INSERT INTO job_orders (id, work_order_id, seq, segment_code)"
        f" VALUES ('{uid(9)}', '{uid(1)}', 1, 'CUT')"
    )
    report = f"INSERT INTO job_responses (work_order_id, report_type) VALUES ('{uid(1)}', 'SETUP')"
    order = f"INSERT INTO work_orders (id, order_no) VALUES ('{uid(1)}', 'WO-1')"
    tables = [row.table for row in site.sent_in(report, step, order)]
    assert tables.index("work_orders") < min(map(tables.index, ("job_orders", "job_responses")))
    deleted = site.sent_in("DELETE FROM work_orders", "DELETE FROM job_orders")
    assert [row.table for row in deleted] == ["job_orders", "work_orders"]
