"""What a write may not do is refused at the write, with a message that names the way to do it."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from edge.store import apply
from tests.integration.edge_drain_world import CREATED, site, uid  # noqa: F401
from tests.integration.edge_world import put

REPORT = "INTO job_responses (id, report_type, created_at, qty_good) VALUES"


def report(site, number=1, qty="5"):
    site.write(f"INSERT {REPORT} (?, 'PRODUCTION', ?, ?)", uid(number), CREATED, qty)
    return uid(number)


# --- facts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement", ["UPDATE job_responses SET qty_good = '6'", "DELETE FROM job_responses"]
)
def test_a_fact_is_neither_changed_nor_deleted(site, statement):
    report(site)
    assert site.refused(statement) == (
        "job_responses is append-only: insert a correction row with corrects_id instead"
    )


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
def test_a_replace_does_not_get_past_the_guard_of_facts(site, recursive):
    site.program.execute(f"PRAGMA recursive_triggers = {recursive}")
    row_id = report(site)
    message = site.refused(f"INSERT OR REPLACE {REPORT} (?, 'PRODUCTION', ?, 6)", row_id, CREATED)
    assert message.startswith("a row with this id exists and says something else")
    assert [row.new["qty_good"] for row in site.sent()] == ["5"]


def test_a_replace_through_the_journal_number_is_refused(site):
    report(site)
    message = site.refused(
        "INSERT OR REPLACE INTO job_responses (_seq, report_type) VALUES (1, 'SETUP')"
    )
    assert message == "job_responses._seq numbers the rows by itself: leave it out"


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE"])
def test_a_journal_number_of_minus_one_is_refused_and_no_fact_is_lost(site, verb):
    message = site.refused(f"{verb} INTO job_responses (_seq, report_type) VALUES (-1, 'SETUP')")
    assert message == "CHECK constraint failed: _seq numbers the rows by itself: leave it out"
    report(site)
    assert site.value("SELECT _seq FROM job_responses") == 1
    assert len(site.sent()) == 1


def test_the_very_same_fact_again_is_ignored_where_the_program_says_so(site):
    row_id = report(site)
    site.write(f"INSERT OR IGNORE {REPORT} (?, 'PRODUCTION', ?, '5')", row_id, CREATED)
    site.write(
        f"INSERT {REPORT} (?, 'PRODUCTION', ?, '5') ON CONFLICT (id) DO NOTHING", row_id, CREATED
    )
    assert "UNIQUE" in site.refused(f"INSERT {REPORT} (?, 'PRODUCTION', ?, '5')", row_id, CREATED)
    assert len(site.sent()) == 1


def test_a_correction_is_a_row_of_its_own(site):
    wrong = report(site)
    site.write(
        "INSERT INTO job_responses (report_type, qty_good, corrects_id)"
        " VALUES ('CORRECTION', '-1', ?)",
        wrong,
    )
    assert [row.new["corrects_id"] for row in site.sent()] == [None, wrong]


def test_a_fact_without_what_is_required_is_refused_naming_the_column(site):
    assert "job_responses.report_type" in site.refused("INSERT INTO job_responses DEFAULT VALUES")


# --- the row number ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rowid", "_rowid_", "oid"])
@pytest.mark.parametrize("number", [1, 7, 0, -1, -2])
def test_a_row_number_chosen_by_a_program_is_refused_by_insert_and_update(site, name, number):
    site.order(1)
    site.order(2)
    leave_out = "work_orders: SQLite numbers the rows by itself: leave the rowid out"
    insert = f"INSERT OR REPLACE INTO work_orders ({name}, order_no) VALUES (?, 'C')"
    update = f"UPDATE OR REPLACE work_orders SET {name} = ? WHERE order_no = 'WO-2'"
    for statement in (insert, update):
        assert site.refused(statement, number) == leave_out
    assert site.sent() == []


def test_an_update_that_leaves_the_row_number_as_it_is_passes(site):
    site.order(1)
    site.write("UPDATE work_orders SET rowid = rowid, notes = 'x'")
    assert [row.new for row in site.sent()] == [{"notes": "x"}]


# --- whose row it is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table", ["work_orders (site_id, order_no)", "materials (site_id, material_code)"]
)
@pytest.mark.parametrize("other", ["SITE_002", "*"])
def test_a_row_of_another_site_or_of_all_is_refused(site, table, other):
    message = site.refused(f"INSERT INTO {table} VALUES (?, 'X')", other)
    assert "site_id must be SITE_001, this store's own site; leave it out" in message


def test_a_fact_of_another_site_is_refused(site):
    message = site.refused(
        "INSERT INTO job_responses (site_id, report_type) VALUES ('SITE_002', 'SETUP')"
    )
    assert "site_id must be SITE_001" in message


@pytest.mark.parametrize(
    "statement", ["UPDATE reason_codes SET label = 'mine'", "DELETE FROM reason_codes"]
)
def test_a_row_that_the_centre_shares_with_all_sites_is_changed_there_only(site, statement):
    shared = {"id": uid(1), "kind": "SCRAP", "code": "S1", "label": "scratch"}
    site.take(put("reason_codes", shared, order=1, site="*"))
    assert site.refused(statement) == (
        "reason_codes: the row belongs to the centre or another site: change it there"
    )
    site.write("INSERT INTO reason_codes (kind, code, parent_code) VALUES ('SCRAP', 'S1-A', 'S1')")
    assert [row.new["code"] for row in site.sent()] == ["S1-A"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO material_definitions (material_code) VALUES ('M1')",
        "UPDATE material_definitions SET description = 'x'",
        "DELETE FROM material_definitions",
    ],
)
def test_a_table_that_comes_from_the_centre_is_not_written_here(site, statement):
    site.take(put("material_definitions", {"id": uid(1), "material_code": "M0"}, order=1, site="*"))
    assert site.refused(statement) == (
        "material_definitions comes from the centre: change it there"
    )


@pytest.mark.parametrize(
    ("column", "value"), [("created_at", "2020-01-01T00:00:00.000Z"), ("site_id", "SITE_002")]
)
def test_a_row_never_moves_to_another_month_or_site(site, column, value):
    site.order(1)
    message = site.refused(f"UPDATE work_orders SET {column} = ?", value)
    assert message == f"work_orders.{column} is set once, when the row is made"


# --- states that never move back --------------------------------------------------------------


def test_a_state_moves_on_but_never_back(site):
    row_id = site.order(1)
    site.update("work_orders", row_id, exec_state="IN_PROGRESS")
    message = site.refused("UPDATE work_orders SET exec_state = 'RELEASED'")
    assert message.startswith("work_orders.exec_state never goes back (CREATED < RELEASED < ")
    site.update("work_orders", row_id, exec_state="COMPLETED")
    assert [row.new["exec_state"] for row in site.sent()] == ["COMPLETED"]


def test_a_cancel_request_is_not_taken_back(site):
    row_id = site.order(1)
    site.update("work_orders", row_id, cancel_requested=1)
    message = site.refused("UPDATE work_orders SET cancel_requested = 0")
    assert "cancel_requested never goes back (0 < 1)" in message


@pytest.mark.parametrize("drained", [True, False])
@pytest.mark.parametrize("recursive", ["OFF", "ON"])
def test_a_replace_by_id_does_not_move_a_state_back(site, drained, recursive):
    site.program.execute(f"PRAGMA recursive_triggers = {recursive}")
    row_id = site.order(1)
    site.order(2)
    site.update("work_orders", row_id, exec_state="COMPLETED")
    if drained:
        site.decided()
    replace = "INSERT OR REPLACE INTO work_orders (id, order_no, exec_state) VALUES (?, ?, ?)"
    for order_no in ("WO-1", "WO-2", "WO-3"):  # it may displace a row by its natural key besides
        message = site.refused(replace, row_id, order_no, "CREATED")
        assert message.startswith("work_orders.exec_state never goes back")
    site.write(replace, row_id, "WO-1", "CLOSED")
    assert site.sent()[-1].new["exec_state"] == "CLOSED"


def test_an_upsert_or_ignore_whose_default_state_lies_behind_passes(site):
    row_id = site.order(1)
    site.update("work_orders", row_id, exec_state="COMPLETED")
    site.decided()
    insert = "INTO work_orders (id, order_no) VALUES (?, 'WO-1')"
    site.write(f"INSERT OR IGNORE {insert}", row_id)
    site.write(f"INSERT {insert} ON CONFLICT (id) DO UPDATE SET notes = 'seen'", row_id)
    site.order(2)
    assert site.row("work_orders", row_id)["exec_state"] == "COMPLETED"
    assert site.row("work_orders", row_id)["notes"] == "seen"


def test_a_signed_row_lets_a_replace_go_back_too(site):
    lot = "INTO material_lots (id, lot_no, quality_status) VALUES (?, 'L1', ?)"
    site.write(f"INSERT {lot}", uid(1), "QUARANTINED")
    back = f"INSERT OR REPLACE {lot}"
    assert "only after a signed row in lot_releases" in site.refused(back, uid(1), "RELEASED")
    site.write(
        "INSERT INTO lot_releases (lot_id, from_state, to_state, reason, signed_by, signed_at)"
        " VALUES (?, 'QUARANTINED', 'RELEASED', 'inspected', 'q-lead', ?)",
        uid(1),
        CREATED,
    )
    site.write(back, uid(1), "RELEASED")
    assert site.value("SELECT quality_status FROM material_lots") == "RELEASED"


def test_a_signed_row_lets_a_lot_go_back_just_that_step(site):
    site.write(
        "INSERT INTO material_lots (id, lot_no, quality_status) VALUES (?, 'L1', 'QUARANTINED')",
        uid(1),
    )
    release = "UPDATE material_lots SET quality_status = 'RELEASED'"
    assert "only after a signed row in lot_releases" in site.refused(release)
    site.write(
        "INSERT INTO lot_releases (lot_id, from_state, to_state, reason, signed_by, signed_at)"
        " VALUES (?, 'QUARANTINED', 'RELEASED', 'inspected', 'q-lead', ?)",
        uid(1),
        CREATED,
    )
    assert "only after a signed row" in site.refused(
        "UPDATE material_lots SET quality_status = 'PENDING'"
    )
    site.write(release)
    assert [row.new["quality_status"] for row in site.sent() if row.table == "material_lots"] == [
        "RELEASED"
    ]


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("order_no", None, "order_no is required"),
        ("order_no", "x" * 61, "order_no: at most 60 characters are allowed"),
        ("source", "SAP", "source: one of ERP, LOCAL, REWORK is expected"),
        ("exec_state", "DONE", "exec_state: one of CREATED, RELEASED, "),
        ("material_id", "M-1", "material_id: a uuid in groups of 8-4-4-4-12 is expected"),
        ("qty_ordered", "many", "qty_ordered: a decimal number such as 12.5 is expected"),
        ("qty_ordered", "", "qty_ordered: a decimal number such as 12.5 is expected"),
        ("qty_ordered", "1.1234567", "qty_ordered: at most 6 digits may stand after the point"),
        ("qty_ordered", "-1", "qty_ordered: the least value allowed is 0"),
        ("priority", 101, "priority: the largest value allowed is 100"),
        ("cancel_requested", 2, "cancel_requested: 0 or 1 is expected"),
        ("due_at", "2012-01-02 03:04:05", "due_at: a timestamp such as 2012-01-02T03:04:05.678Z"),
        ("due_at", "tomorrow", "due_at: a timestamp such as 2012-01-02T03:04:05.678Z"),
        ("routing", "{", "routing: JSON is expected"),
        ("routing", f'"{"x" * 4_000_000}"', "routing: at most 4000000 characters"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_by_insert_and_update(site, column, value, rule):
    site.order(1)
    assert rule in site.refused(f"UPDATE work_orders SET {column} = ?", value)
    row = {"order_no": "WO-2", column: value}
    marks = ", ".join("?" * len(row))
    insert = f"INSERT INTO work_orders ({', '.join(row)}) VALUES ({marks})"
    assert rule in site.refused(insert, *row.values())
    assert site.sent() == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("notes", b"\x00\x01"), ("priority", "high"), ("priority", 1.5), ("notes", memoryview(b""))],
)
def test_a_value_of_another_type_is_refused_by_the_table_itself(site, column, value):
    site.order(1)
    assert f"work_orders.{column}" in site.refused(f"UPDATE work_orders SET {column} = ?", value)


@pytest.mark.parametrize(
    "row_id", ["7", "0" * 36 + "x", "Z" * 36, "A1B2C3D4-0000-7000-8000-00000000000A"]
)
def test_an_id_that_is_no_lower_case_uuid_is_refused(site, row_id):
    message = site.refused("INSERT INTO work_orders (id, order_no) VALUES (?, 'x')", row_id)
    assert "work_orders.id" in message


def test_a_form_that_means_the_same_is_taken_and_put_right_in_the_row(site):
    row_id = site.order(1)
    site.update("work_orders", row_id, qty_ordered="12.500", due_at="2012-01-02T05:04:05+02:00")
    (row,) = site.sent()
    canonical = {"qty_ordered": "12.5", "due_at": "2012-01-02T03:04:05.000Z"}
    assert row.new == canonical | {"uom": "pcs"}  # edited as one thing with the quantity
    assert {name: site.row("work_orders", row_id)[name] for name in canonical} == canonical
    site.update("work_orders", row_id, qty_ordered="12.50")
    assert site.sent() == []


def test_the_agent_may_write_what_programs_may_not(site):
    site.order(1)
    back = {"id": uid(1), "order_no": "WO-1", "exec_state": "CREATED", "notes": "x" * 5_000}
    site.take(put("work_orders", back, order=5))
    assert len(site.row("work_orders", uid(1))["notes"]) == 5_000


def test_the_flag_that_silences_the_triggers_is_never_seen_by_others(site, monkeypatch):
    read, real, flags = "SELECT flag FROM _sync_applying", apply.land, []

    def land(applying, block, schema):
        with contextlib.closing(sqlite3.connect(site.path)) as other:
            flags.append(
                (applying.connection.execute(read).fetchone(), other.execute(read).fetchone())
            )
        real(applying, block, schema)

    monkeypatch.setattr(apply, "land", land)
    site.take(put("work_orders", {"id": uid(1), "order_no": "WO-1"}, order=1))
    assert flags == [((1,), (0,))]  # while it is set, and afterwards
    with contextlib.closing(sqlite3.connect(site.path)) as other:
        assert other.execute(read).fetchone() == (0,)
