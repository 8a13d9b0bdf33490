"""The statements that move many rows at once, as they are sent to PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from central.store.fixed import FOLDER, fixed
from central.store.statements import (
    delete_statement,
    insert_statement,
    looked_at,
    target,
    update_statement,
)
from shared.catalog_file import load_catalog

CATALOG = load_catalog()
GOLDEN = Path(__file__).parent.parent / "golden"
ORDERS, PERSONS = CATALOG.table("work_orders"), CATALOG.table("persons")


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.sql").read_text()


def test_the_statements_of_orders_are_those_that_were_read() -> None:
    columns = [ORDERS.column(name) for name in ("notes", "exec_state", "changed_by")]
    into = target(ORDERS, "SITE_001", ["2026-11"])
    made = "\n;\n".join(
        [
            insert_statement(ORDERS, columns, into),
            update_statement(ORDERS, columns, into),
            delete_statement(ORDERS, into),
        ]
    )
    assert f"{made}\n" == golden("central_apply_work_orders")


def test_rows_without_times_of_their_columns_are_not_asked_for_any() -> None:
    columns, into = [ORDERS.column("notes")], target(ORDERS, "SITE_001", ["2026-11"])
    for make in (insert_statement, update_statement):
        assert "%(times)s" not in make(ORDERS, columns, into)
        assert "m.times::jsonb" in make(ORDERS, columns, into, timed=True)


def test_rows_that_other_sites_share_are_told_to_them_by_the_same_statement() -> None:
    columns = [PERSONS.column("assigned_sites")]
    made = update_statement(PERSONS, columns, target(PERSONS, "SITE_001", ["2026-11"]))
    assert f"{made}\n" == golden("central_apply_persons")


@pytest.mark.parametrize(
    ("months", "into"),
    [
        (["2026-11"], 'mes."work_orders__site-1__2026_11"'),
        (["2026-11", "2026-12"], 'mes."work_orders__site-1"'),
    ],
)
def test_rows_go_into_the_smallest_partition_that_holds_them(months: list[str], into: str) -> None:
    assert target(ORDERS, "SITE-1", months) == into
    assert target(PERSONS, "SITE-1", months) == "mes.persons"


def test_only_what_a_policy_has_to_look_at_is_compared_with_what_the_writer_saw() -> None:
    assert [c.name for c in looked_at(ORDERS, ORDERS.columns)] == [
        "exec_state",
        "cancel_requested",
    ]
    equipment = CATALOG.table("equipment")
    assert [c.name for c in looked_at(equipment, equipment.columns)] == ["cycle_count", "tags"]


def test_each_fixed_statement_opens_with_the_reason_for_it_and_is_used() -> None:
    used = "".join(path.read_text() for path in FOLDER.parent.rglob("*.py"))
    names = {path.stem for path in FOLDER.glob("*.sql")}
    assert len(names) > 20
    assert [name for name in names if not fixed(name).startswith(b"--")] == []
    assert [name for name in names if f'"{name}"' not in used] == []
