"""What the tests of imports share: stores, small files, and the real log where there is one."""

from __future__ import annotations

import csv
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from edge.csv_import import Order, Outcome, Part, read_map, run_import
from edge.store import setup
from shared.catalog_file import load_catalog

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
LOG_MAP = ROOT / "docs" / "maps" / "production_log.toml"
LOG_FOLDER = ROOT.parent / "shared" / "data" / "production"
CATALOG = load_catalog()
NOW_MS = 1_700_000_000_000


SMALL_MAP = """
version = 1
split_by = "Order"
[csv]
format = "%Y-%m-%d %H:%M"

[[rows]]
name = "order"
table = "work_orders"
key = ["order_no"]
columns.order_no = "Order"
columns.created_at = "Start"
columns.qty_ordered = "Ordered"
columns.actual_start = { column = "Start", keep = "min" }
columns.actual_end = { column = "End", keep = "max" }
columns.notes = { column = "Note", keep = "last" }

[[rows]]
name = "worker"
table = "persons"
key = ["person_no"]
optional = true
columns.person_no = "Worker"
columns.home_site_id = { site = true }

[[rows]]
name = "report"
table = "job_responses"
columns.created_at = "End"
columns.work_order_id = { row = "order" }
columns.person_id = { row = "worker" }
columns.report_type = { column = "Type", codes = { D = "PRODUCTION", S = "SETUP" } }
columns.qty_good = "Good"
columns.source_row = { number = "row" }

[[rows]]
name = "stop"
table = "user_sessions"
when = { column = "Type", is = "S" }
columns.created_at = "Start"
columns.session_id = { constant = "00000000-0000-7000-8000-000000000001" }
columns.event = { constant = "LOGIN" }
"""
HEADER = "Order,Ordered,Start,End,Worker,Type,Good,Note"
LINE = "A-1,10,2012-01-02 06:00,2012-01-02 07:00,W1,D,4,"


def real_log() -> Path:
    """Return the real production log; fail where it is not beside the checkout."""
    path = LOG_FOLDER / "Production_Data.csv"
    if not path.is_file():
        pytest.fail(f"{path} is missing: the real log must stand beside the checkout")
    return path


@cache
def _empty_store(name: str) -> bytes:
    """Return the file of a new store; made once, since it takes longer than most tests."""
    with TemporaryDirectory() as folder:
        store = Path(folder) / "new.db"
        opened = setup.open_for_agent(store, CATALOG, site=name, now_ms=NOW_MS, host="test")
        setup.close(opened)
        return store.read_bytes()


@dataclass(frozen=True)
class Site:
    """A site with a store of its own."""

    name: str
    store: Path

    @classmethod
    def new(cls, folder: Path, name: str = "F07") -> Site:
        """Make the store."""
        store = folder / f"{name}.db"
        store.write_bytes(_empty_store(name))
        return cls(name, store)

    def load(
        self,
        file: Path,
        map_file: Path,
        watch: Callable[[Outcome], None] = lambda _: None,
        busy_ms: int | None = None,
        **order: Any,
    ) -> Outcome:
        """Import a file."""
        opened = setup.open_to_look(self.store)
        with closing(opened.connection):
            if busy_ms is not None:
                opened.connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
            plan = read_map(map_file, opened.catalog, site=self.name)
            order.setdefault("rejects", self.store.with_suffix(".rejects.csv"))
            return run_import(
                opened.connection,
                Order(file=file, plan=plan, site=self.name, **order),
                now_ms=NOW_MS,
                watch=watch,
            )

    def load_part(self, file: Path, map_file: Path, part: int, parts: int) -> Outcome:
        """Import the lines of one part of the real log."""
        return self.load(file, map_file, part=Part("Case ID", parts, part))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with closing(sqlite3.connect(self.store)) as connection:
            return connection.execute(query, values).fetchall()

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all business rows but for their journal numbers."""
        found = {}
        for table in CATALOG.tables:
            names = ", ".join(["id", "site_id", "created_at", *table.names])
            rows = self.rows(f"SELECT {names} FROM {table.name} ORDER BY id")
            if rows:
                found[table.name] = rows
        return found

    def command(self, *arguments: object) -> list[str]:
        """Return the command line of ``mes-edge`` on this store."""
        return [sys.executable, "-m", "edge", *map(str, arguments), "--store", str(self.store)]

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run ``mes-edge`` on this store."""
        return subprocess.run(
            self.command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A new site with ``SMALL_MAP`` beside its store."""
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    return Site.new(tmp_path)


@pytest.fixture
def plan(site: Site) -> Path:
    """The path of the map beside the site's store."""
    return site.store.with_name("map.toml")


def file_of(site: Site, *lines: str, name: str = "log.csv") -> Path:
    """Write a small CSV file for ``SMALL_MAP`` beside the store."""
    path = site.store.with_name(name)
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def rejects(site: Site) -> list[list[str]]:
    """Return the lines of the rejects file, its header first."""
    with site.store.with_suffix(".rejects.csv").open(newline="") as file:
        return list(csv.reader(file))
