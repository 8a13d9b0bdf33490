"""What clients of the centre can't do, who is told to have written, and a person's own write."""

from __future__ import annotations

import threading
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import (
    CheckViolation,
    InsufficientPrivilege,
    RestrictViolation,
    SerializationFailure,
    UniqueViolation,
)

from central.roles import READER
from central.schema import natural_key
from shared.values import canonical
from tests.integration.centre import (  # noqa: F401, the fixtures among them
    CATALOG,
    client,
    head,
    insert,
    name_site,
    north,
    order,
    queue,
    rows,
    until_somebody_waits,
    versions,
)

# --- who wrote -------------------------------------------------------------------------------


def test_the_writer_is_whom_the_row_names_where_this_write_named_one(centre, north):
    row_id = order(north, changed_by="anna")
    north.execute("UPDATE mes.work_orders SET notes = 'b', changed_by = 'ben'")
    north.execute("UPDATE mes.work_orders SET notes = 'c'")
    (login,) = rows(centre, "SELECT session_user AS name")
    assert [v["writer"] for v in versions(centre, row_id)] == ["anna", "ben", login["name"]]


def test_the_writer_is_the_person_that_the_program_names_for_the_transaction(centre, north):
    row_id = order(north, changed_by="anna")
    with north.transaction():
        north.execute("SELECT set_config('app.person', 'cleo', true)")
        north.execute("UPDATE mes.work_orders SET notes = 'c'")
        north.execute("DELETE FROM mes.work_orders")
    assert [v["writer"] for v in versions(centre, row_id)] == ["anna", "cleo", "cleo"]


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    ["id = uuidv7()", "site_id = 'SITE_002'", "created_at = created_at - interval '1 day'"],
)
def test_the_key_of_a_row_can_not_be_changed(centre, north, change):
    order(north)
    with pytest.raises(RestrictViolation, match="id, site_id and created_at of a row never change"):
        north.execute(f"UPDATE mes.work_orders SET {change}")


def test_writing_the_same_key_again_is_no_change(centre, north):
    row_id = order(north)
    north.execute("UPDATE mes.work_orders SET id = id, site_id = site_id, notes = 'x'")
    assert versions(centre, row_id)[-1]["touched"] == ("notes",)


@pytest.mark.parametrize("table", ["work_orders", "persons", "job_responses", "bom_items"])
def test_truncate_is_refused_to_everybody(centre, table):
    for role in (None, "mes_owner"):
        with client(centre, role=role) as connection, pytest.raises(RestrictViolation, match="no"):
            connection.execute(f"TRUNCATE mes.{table}")


def test_facts_can_not_be_written_at_the_centre(centre):
    with client(centre, role=None) as owner:
        for statement in (
            "INSERT INTO mes.job_responses (report_type) VALUES ('SETUP')",
            "UPDATE mes.job_responses SET qty_good = 1",
            "DELETE FROM mes.job_responses",
        ):
            with pytest.raises(RestrictViolation, match="made at their site and never change"):
                owner.execute(statement)


def test_rows_that_are_only_added_can_be_added_but_not_corrected(centre):
    with client(centre, "*", role=None) as planner:
        item = insert(
            planner, "bom_items", parent_material_id=uuid4(), parent_version="1", seq=1,
            component_id=uuid4(), qty_per="1.5", uom="kg",
        )  # fmt: skip
        assert [v["op"] for v in versions(centre, item)] == ["I"]
        for statement in ("UPDATE mes.bom_items SET seq = 2", "DELETE FROM mes.bom_items"):
            with pytest.raises(RestrictViolation, match="only ever added"):
                planner.execute(statement)


def test_an_id_that_stands_under_another_created_at_is_refused(centre, north):
    row_id = order(north, "WO-1")
    with pytest.raises(UniqueViolation, match=f"id {row_id} of site SITE_001 exists already"):
        order(north, "WO-2", id=row_id, created_at="2026-11-01T00:00:00Z")


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("exec_state", "BROKEN", "exec_state_is_allowed"),
        ("priority", 101, "priority_at_most_100"),
        ("qty_ordered", "NaN", "qty_ordered_is_a_number"),
        ("due_at", "infinity", "due_at_has_a_4_digit_year"),
    ],
)
def test_a_value_that_breaks_the_catalogue_is_refused_by_the_name_of_its_rule(
    north, column, value, rule
):
    with pytest.raises(CheckViolation, match=rule):
        order(north, **{column: value})


@pytest.mark.parametrize("value", ['["b","a"]', '["a", "b"]', '["a","a"]', '{"a":1}', "a"])
def test_a_set_that_is_not_in_its_one_form_is_refused(north, value):
    with pytest.raises(CheckViolation, match="tags_is_a_sorted_set"):
        insert(north, "equipment", equipment_code="E", tags=value)


@given(st.sets(st.text(st.characters(exclude_characters="\0", codec="utf-8"))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_set_in_canonical_form_is_taken_whatever_its_members(north, members):
    form = canonical(CATALOG.table("equipment").column("tags").type, sorted(members))
    insert(north, "equipment", equipment_code=str(uuid4()), tags=form)


# --- natural keys ----------------------------------------------------------------------------


def keys(centre, site="SITE_001") -> dict[str, UUID]:
    found = rows(centre, "SELECT key, id FROM sync.row_key WHERE site_id = %s", site)
    return {row["key"]: row["id"] for row in found}


def test_a_natural_key_is_held_by_one_row_of_a_site(centre, north):
    row_id = order(north, "WO-1")
    with pytest.raises(UniqueViolation, match='order_no = "WO-1" of site SITE_001 is another row'):
        order(north, "WO-1")
    with client(centre, "SITE_002") as south:
        assert order(south, "WO-1") == keys(centre, "SITE_002")['[0,"WO-1"]']
    assert keys(centre) == {'[0,"WO-1"]': row_id}


def test_a_natural_key_is_refused_across_months(centre, north):
    order(north, "WO-1")
    with pytest.raises(UniqueViolation):
        order(north, "WO-1", created_at="2027-01-05T00:00:00Z")


def test_one_statement_can_not_give_two_rows_the_same_natural_key(north):
    with pytest.raises(UniqueViolation, match="is another row"):
        north.execute("INSERT INTO mes.work_orders (order_no) VALUES ('WO-1'), ('WO-1')")


def test_a_natural_key_moves_with_its_row_and_is_free_after_a_delete(centre, north):
    first = order(north, "WO-1")
    north.execute("UPDATE mes.work_orders SET order_no = 'WO-2'")
    second = order(north, "WO-1")
    assert keys(centre) == {'[0,"WO-1"]': second, '[0,"WO-2"]': first}
    north.execute("DELETE FROM mes.work_orders WHERE id = %s", [first])
    assert keys(centre) == {'[0,"WO-1"]': second}


def test_two_rows_can_swap_their_natural_keys_in_one_statement(centre, north):
    first, second = order(north, "WO-1"), order(north, "WO-2")
    north.execute(
        """UPDATE mes.work_orders
           SET order_no = CASE order_no WHEN 'WO-1' THEN 'WO-2' ELSE 'WO-1' END"""
    )
    assert keys(centre) == {'[0,"WO-1"]': second, '[0,"WO-2"]': first}


def test_of_two_clients_that_take_one_key_at_once_the_second_is_refused(centre):
    outcomes = []

    def take(number: int) -> None:
        with client(centre) as connection:
            try:
                with connection.transaction():
                    order(connection, "WO-1")
                    until_somebody_waits(centre)
                outcomes.append("taken")
            except UniqueViolation:
                outcomes.append("refused")

    threads = [threading.Thread(target=take, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "taken"]


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_triggers_and_ingest_write_the_same_text_for_a_natural_key(centre, north, code):
    with north.transaction(force_rollback=True):
        row_id = insert(north, "reason_codes", kind="HOLD", code=code)
        north.execute("SET ROLE NONE")
        found = north.execute("SELECT key FROM sync.row_key WHERE id = %s", [row_id]).fetchone()
    north.execute("SET ROLE mes_app")
    assert found == {"key": natural_key(0, ["HOLD", code])}


# --- who is captured -------------------------------------------------------------------------


def test_writes_of_the_ingest_are_not_captured(centre):
    with client(centre, role="mes_ingest") as ingest:
        order(ingest)
        ingest.execute("UPDATE mes.work_orders SET notes = 'x'")
        insert(ingest, "job_responses", report_type="SETUP")
        ingest.execute("DELETE FROM mes.work_orders")
    assert queue(centre) == []
    assert rows(centre, "SELECT * FROM sync.version") == []


def test_a_client_can_not_silence_the_capture(centre, north):
    for statement in (
        "SET session_replication_role = 'replica'",
        "ALTER TABLE mes.work_orders DISABLE TRIGGER ALL",
        "DROP TRIGGER capture_update ON mes.work_orders",
    ):
        with pytest.raises(InsufficientPrivilege):
            north.execute(statement)
    with client(centre, role=None) as other:
        other.execute("SET SESSION AUTHORIZATION mes_app")
        with pytest.raises(InsufficientPrivilege):
            other.execute("SET ROLE mes_ingest")


def test_a_client_can_not_reach_the_bookkeeping(centre, north):
    for table in ("head", "version", "touched", "row_key", "feed", "site"):
        for statement in (f"SELECT * FROM sync.{table}", f"DELETE FROM sync.{table}"):
            with pytest.raises(InsufficientPrivilege):
                north.execute(statement)
    with pytest.raises(InsufficientPrivilege):
        north.execute("SELECT sync.make_partition('work_orders', 'SITE_001', '2030-01-01')")


# --- a person's write ------------------------------------------------------------------------


def test_a_person_writes_what_nobody_has_written_since_it_was_shown(centre, north):
    row_id = order(north)
    shown = north.execute("SELECT * FROM mes.row_versions WHERE id = %s", [row_id]).fetchone()
    assert shown is not None
    with north.transaction():
        north.execute(
            "SELECT mes.seen('work_orders', 'SITE_001', %s, %s)", [row_id, shown["version"]]
        )
        north.execute("UPDATE mes.work_orders SET notes = 'mine' WHERE id = %s", [row_id])
    assert versions(centre, row_id)[-1]["touched"] == ("notes",)


def test_a_person_is_told_that_somebody_wrote_the_row_since(centre, north):
    row_id = order(north)
    stale = head(centre, row_id)["version"]
    north.execute("UPDATE mes.work_orders SET notes = 'theirs'")
    seen = "SELECT mes.seen('work_orders', 'SITE_001', %s, %s)"
    with pytest.raises(SerializationFailure, match="was written since it was read"):
        north.execute(seen, [row_id, stale])
    north.execute("DELETE FROM mes.work_orders")
    with pytest.raises(SerializationFailure, match="was deleted since it was read"):
        north.execute(seen, [row_id, head(centre, row_id)["version"]])
    with pytest.raises(SerializationFailure):
        north.execute(seen, [uuid4(), stale])


def test_between_the_check_and_the_write_nobody_else_gets_in(centre, north):
    row_id = order(north)
    version = head(centre, row_id)["version"]
    seen = "SELECT mes.seen('work_orders', 'SITE_001', %s, %s)"
    told = []

    def also() -> None:
        with client(centre) as other:
            try:
                other.execute(seen, [row_id, version])
            except SerializationFailure:
                told.append(True)

    rival = threading.Thread(target=also)
    with north.transaction():
        north.execute(seen, [row_id, version])
        rival.start()
        until_somebody_waits(centre)
        north.execute("UPDATE mes.work_orders SET notes = 'mine'")
    rival.join()
    assert told == [True]


def test_versions_of_another_sites_rows_are_not_to_be_seen(centre, north):
    with client(centre, "SITE_002") as south:
        row_id = order(south)
    assert north.execute("SELECT * FROM mes.row_versions").fetchall() == []
    with pytest.raises(InsufficientPrivilege, match="works for another site"):
        north.execute(
            "SELECT mes.seen('work_orders', 'SITE_002', %s, %s)",
            [row_id, head(centre, row_id)["version"]],
        )


def test_a_site_named_for_one_transaction_is_forgotten_after_it(centre):
    with client(centre, site=None) as connection:
        with connection.transaction():
            name_site(connection, "SITE_001")
            order(connection)
            assert len(connection.execute("SELECT * FROM mes.work_orders").fetchall()) == 1
        assert connection.execute("SELECT * FROM mes.work_orders").fetchall() == []
        assert connection.execute("SELECT * FROM mes.row_versions").fetchall() == []


def test_a_reader_can_not_write(centre, north):
    order(north)
    with client(centre, role=READER) as reader:
        assert len(reader.execute("SELECT * FROM mes.work_orders").fetchall()) == 1
        with pytest.raises(InsufficientPrivilege):
            reader.execute("UPDATE mes.work_orders SET notes = 'x'")
