from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.migrate import migrate
from central.roles import as_role
from deploy.local.contents import central_rows, compare, edge_rows
from deploy.local.plainsql import PlainStore
from edge.store import EdgeStore
from shared.catalog_file import load_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploy.local.contents import Comparison

CATALOG = load_catalog()
ORDERS = CATALOG.table("work_orders")
SITE, OTHER = "SITE_001", "SITE_002"
AT = "2026-11-02T06:10:00.250Z"
IDS = [f"019ac000-0000-7000-8000-00000000000{number}" for number in range(3)]


@pytest.fixture
async def both(tmp_path: Path, database: str) -> tuple[Path, str]:
    """A store and a centre that hold the same three orders; the centre has one of another site."""
    path = tmp_path / "site.db"
    EdgeStore.open(path, CATALOG, site=SITE, now_ms=1_795_000_000_000, host="here").close()
    await migrate(database, CATALOG, (SITE, OTHER))
    with closing(PlainStore(path, random.Random(1))) as store, store.transaction():
        for number, key in enumerate(IDS):
            store.insert(
                "work_orders", id=key, created_at=AT, order_no=f"A-{number}", qty_ordered="12.50",
                due_at="2026-12-24T12:00:00+00:00",
            )  # fmt: skip
    with psycopg.connect(as_role(database, "mes_ingest")) as centre:
        for site in (SITE, OTHER):
            centre.execute("SELECT sync.make_partition('work_orders', %s, '2026-11-01')", [site])
        for number, key in enumerate([*IDS, "019ac000-0000-7000-8000-000000000009"]):
            centre.execute(
                "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, qty_ordered,"
                " due_at) VALUES (%s, %s, %s, %s, 12.5, '2026-12-24T12:00Z')",
                [key, SITE if key in IDS else OTHER, AT, f"A-{number}"],
            )
    return path, database


def compared(path: Path, url: str) -> Comparison:
    with closing(sqlite3.connect(path)) as store, psycopg.connect(url) as centre:
        return compare(
            "work_orders", SITE, edge_rows(store, ORDERS), central_rows(centre, ORDERS, SITE)
        )


@pytest.fixture
def change(both: tuple[Path, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(as_role(both[1], "mes_ingest"), autocommit=True) as centre:
        yield centre


def test_the_same_rows_are_equal_in_whatever_form_each_end_keeps_them(both):
    found = compared(*both)
    assert found.equal
    assert found.edge.rows == 3


@pytest.mark.parametrize("changed", ["qty_ordered = 12.51", "notes = ''", "due_at = NULL"])
def test_one_other_value_is_found_and_its_row_named(both, change, changed):
    change.execute(f"UPDATE mes.work_orders SET {changed} WHERE id = '{IDS[1]}'")
    found = compared(*both)
    assert not found.equal
    assert found.differing == (IDS[1],)


def test_a_row_that_one_end_lacks_is_found_and_named(both, change):
    change.execute("DELETE FROM mes.work_orders WHERE id = %s", [IDS[2]])
    found = compared(*both)
    assert (found.edge.rows, found.centre.rows, found.differing) == (3, 2, (IDS[2],))
