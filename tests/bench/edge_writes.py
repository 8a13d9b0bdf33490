"""What capture costs a program: the same statements on our store and on plain SQLite."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.store import EdgeStore
from shared.catalog_file import load_catalog
from tests.bench import frame
from tests.bench.rows import INSERT_FACT, Facts, Row

ROWS = 20_000
BATCH_ROWS = 100
#: Single commits that wait for the disk.
COMMITS = 400

INSERT_ORDER = (
    "INSERT INTO work_orders (id, site_id, created_at, order_no, source, material_code,"
    " qty_ordered, uom, priority, due_at, assigned_line, notes) VALUES"
    f" ({', '.join('?' * 12)})"
)
UPDATE_ORDER = "UPDATE work_orders SET notes = ?, assigned_line = ? WHERE id = ?"

Statements = tuple[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files with the same tables, keys and rows: our store, and one that is plain SQLite."""

    ours: Path
    plain: Path

    @classmethod
    def made(cls, folder: Path) -> Pair:
        """Make both, empty."""
        pair = cls(folder / "ours.db", folder / "plain.db")
        EdgeStore.open(pair.ours, load_catalog(), site="SITE_001", now_ms=1, host="bench").close()
        with (
            closing(sqlite3.connect(pair.ours)) as ours,
            closing(_open(pair.plain, "OFF")) as plain,
        ):
            for table in ("job_responses", "work_orders"):
                listed = ours.execute(
                    "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type <> 'trigger'"
                    " AND sql IS NOT NULL ORDER BY type DESC",
                    (table,),
                )
                for (made,) in listed.fetchall():
                    statement = made.replace('   "_seq" INTEGER PRIMARY KEY,\n', "")
                    plain.execute(re.sub(r",\n +CONSTRAINT .* CHECK .*", "", statement))
        return pair

    def fill(self, statements: Statements) -> None:
        """Write rows into both, as long known: nothing is left in a log."""
        for path in (self.ours, self.plain):
            run(path, statements, BATCH_ROWS, "OFF")
        store = EdgeStore.open(self.ours, load_catalog(), site="SITE_001", now_ms=1, host="bench")
        store.drain(2)
        store.close()


def _open(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


def run(path: Path, statements: Statements, batch: int, synchronous: str) -> float:
    """Execute in transactions of ``batch`` rows and return the seconds."""
    statement, rows = statements
    with closing(_open(path, synchronous)) as connection:
        started = time.perf_counter()
        for start in range(0, len(rows), batch):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, rows[start : start + batch])
            connection.execute("COMMIT")
        return time.perf_counter() - started


def new_orders(count: int) -> list[Row]:
    """Return orders that no store has."""
    facts = Facts(["-"], 7)
    chance = random.Random(7)
    return [
        (
            facts.uuid(1_700_000_000_000 + k), "SITE_001", "2026-11-01T06:00:00.000Z",
            f"WO-{k:06d}",
            "LOCAL", f"PART-{chance.randrange(500)}", str(chance.randrange(1, 5000)), "pcs",
            chance.randrange(100), "2026-12-01T06:00:00.000Z", f"LINE-{chance.randrange(9)}", None,
        )
        for k in range(count)
    ]  # fmt: skip


def compared(
    name: str, statements: Statements, target: float, *, runs: int, batch: int = BATCH_ROWS,
    synchronous: str = "NORMAL", known: Statements | None = None,
) -> list[frame.Result]:  # fmt: skip
    """Run the statements on fresh copies of both files in turn."""
    with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder:
        pair = Pair.made(Path(folder))
        if known is not None:
            pair.fill(known)
        scratch = Path(folder) / "scratch.db"

        def on(path: Path) -> Callable[[], float]:
            def once() -> float:
                for left in scratch.parent.glob("scratch.db*"):
                    left.unlink()
                shutil.copy(path, scratch)
                return len(statements[1]) / run(scratch, statements, batch, synchronous)

            return once

        return [
            frame.paired(
                name, "rows/s", on(pair.ours), on(pair.plain), reference="plain SQLite",
                target=frame.Target(target), runs=max(runs, 2 * runs + 1),
            )
        ]  # fmt: skip


def edge_facts_insert(runs: int) -> list[frame.Result]:
    """Facts, 100 rows a transaction."""
    rows = Facts([str(k) * 36 for k in range(5)]).rows(ROWS)
    return compared("edge_facts_insert", (INSERT_FACT, rows), 0.85, runs=runs)


def edge_two_way_insert(runs: int) -> list[frame.Result]:
    """Orders inserted, 100 rows a transaction."""
    return compared("edge_two_way_insert", (INSERT_ORDER, new_orders(ROWS)), 0.45, runs=runs)


def edge_two_way_update(runs: int) -> list[frame.Result]:
    """Two columns of orders that the centre knows, 100 rows a transaction."""
    orders = new_orders(ROWS)
    chance = random.Random(8)
    changes: list[tuple[Any, ...]] = [
        (f"note {chance.randrange(1000)}", f"LINE-{chance.randrange(10, 99)}", order[0])
        for order in orders
    ]
    chance.shuffle(changes)
    return compared(
        "edge_two_way_update", (UPDATE_ORDER, changes), 0.55, runs=runs,
        known=(INSERT_ORDER, orders),
    )  # fmt: skip


def edge_one_row_full(runs: int) -> list[frame.Result]:
    """Orders inserted, each its own transaction that waits for the disk."""
    return compared(
        "edge_one_row_full", (INSERT_ORDER, new_orders(COMMITS)), 0.9, runs=runs, batch=1,
        synchronous="FULL",
    )  # fmt: skip
