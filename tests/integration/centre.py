"""Programs of the centre that speak plain SQL, and what a superuser finds after them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from central.roles import APP, as_role
from tests.integration.central_world import CATALOG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

Client = psycopg.Connection[dict[str, Any]]


@contextmanager
def client(url: str, site: str | None = "SITE_001", role: str | None = APP) -> Iterator[Client]:
    """A program of the centre that works for one site; each statement is its own transaction."""
    address = as_role(url, role) if role else url
    with psycopg.connect(address, autocommit=True, row_factory=dict_row) as connection:
        if site:
            name_site(connection, site, local=False)
        yield connection


def name_site(connection: Client, site: str, *, local: bool = True) -> None:
    connection.execute("SELECT set_config('app.current_site_id', %s, %s)", [site, local])


def rows(url: str, statement: str, *parameters: object) -> list[dict[str, Any]]:
    """What a superuser sees."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        return connection.execute(statement, parameters or None).fetchall()


def until_somebody_waits(url: str) -> None:
    """Return when a session of the database waits for a lock."""
    waiting = """SELECT 1 FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    for _ in range(500):
        if rows(url, waiting):
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


def queue(url: str, row_id: UUID | None = None) -> list[dict[str, Any]]:
    """The queue to the feed with table names, oldest first."""
    return rows(
        url,
        """SELECT t.name AS table_name, q.site_id, q.row_id, q.created_at, q.scopes
           FROM sync.touched q JOIN sync.table_no t ON t.no = q.table_no
           WHERE %s::uuid IS NULL OR q.row_id = %s ORDER BY q.id""",
        row_id,
        row_id,
    )


def versions(url: str, row_id: UUID) -> list[dict[str, Any]]:
    """All versions of a row, oldest first, with the columns that their masks name."""
    found = rows(
        url,
        """SELECT t.name AS table_name, v.* FROM sync.version v
           JOIN sync.table_no t ON t.no = v.table_no WHERE v.id = %s ORDER BY v.ord""",
        row_id,
    )
    return [
        version | {"touched": CATALOG.table(version["table_name"]).names_of(version["mask"])}
        for version in found
    ]


def head(url: str, row_id: UUID) -> dict[str, Any]:
    (found,) = rows(url, "SELECT * FROM sync.head WHERE id = %s", row_id)
    return found


def insert(connection: Client, table: str, **values: object) -> UUID:
    """Insert a row by plain SQL and return its id."""
    names = ", ".join(values)
    holes = ", ".join(["%s"] * len(values))
    row = connection.execute(
        f"INSERT INTO mes.{table} ({names}) VALUES ({holes}) RETURNING id", [*values.values()]
    ).fetchone()
    assert row is not None
    return row["id"]


@pytest.fixture
def north(centre: str) -> Iterator[Client]:
    """A program of the centre that works for the first site."""
    with client(centre) as connection:
        yield connection


def order(connection: Client, number: str = "WO-1", **more: object) -> UUID:
    """Insert a work order by plain SQL and return its id."""
    return insert(connection, "work_orders", **{"order_no": number, "qty_ordered": 5} | more)
