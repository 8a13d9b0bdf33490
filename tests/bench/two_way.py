"""Updates of orders on their whole way: base check, versions and marks at the centre included."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import frame
from tests.bench.replication import replicated, timed
from tests.bench.rows import make_orders, plant
from tests.bench.system import SITE, Eye, system, wait_until

if TYPE_CHECKING:
    from tests.bench.system import System

ORDERS = 20_000
BATCH_ROWS = 1_000
COLUMNS = ("site_id", "created_at", "id", "notes", "assigned_line")


class Orders:
    """Orders that both ends know, each of which is updated once a run."""

    def __init__(self, world: System, eye: Eye) -> None:
        self._world = world
        self._eye = eye
        self._runs = 0
        self._store = world.store(SITE)
        made = make_orders(self._store, ORDERS)
        wait_until(lambda: eye.count("work_orders") == len(made))
        wait_until(self._is_decided)
        with closing(plant(self._store)) as connection:
            self.keys: list[tuple[str, str, str]] = connection.execute(
                "SELECT site_id, created_at, id FROM work_orders ORDER BY id"
            ).fetchall()

    def changes(self) -> list[tuple[str, ...]]:
        """Return the next change of each order: keys, and values that no earlier run has set."""
        self._runs += 1
        return [(*key, f"run {self._runs}", f"LINE-{self._runs}") for key in self.keys]

    def wait(self, change: tuple[str, ...]) -> None:
        """Wait until a change is at the centre."""
        site, created, row_id, notes, _ = change
        query = (
            "SELECT notes FROM mes.work_orders WHERE site_id = %s AND created_at = %s AND id = %s"
        )
        wait_until(lambda: self._eye.one(query, (site, created, row_id)) == notes)

    def check(self, change: tuple[str, ...]) -> None:
        """Raise where not all orders have the values of this run."""
        there = self._eye.one("SELECT count(*) FROM mes.work_orders WHERE notes = %s", change[3:4])
        conflicts = self._eye.count("sync_conflicts")
        if there != ORDERS or conflicts or self._eye.parked():
            raise AssertionError(f"{there} of {ORDERS} updated, {conflicts} conflicts")

    def whole_path(self) -> float:
        """Update all orders at full speed; return the rows a second until all have arrived."""
        changes = self.changes()
        wait_until(self._is_decided)
        command = [sys.executable, "-m", "tests.bench.two_way", str(self._store), *changes[0][3:]]
        writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdin is not None
        writer.stdout.readline()
        started = time.perf_counter()
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        self.wait(changes[-1])
        took = time.perf_counter() - started
        writer.communicate(timeout=60)
        self.check(changes[-1])
        return ORDERS / took

    def _is_decided(self) -> bool:
        """Whether the centre has decided on all that the site wrote, and the site knows."""
        with closing(plant(self._store)) as connection:
            waiting = connection.execute("SELECT count(*) FROM _sync_pending").fetchone()
            logged = connection.execute("SELECT count(*) FROM _sync_log_work_orders").fetchone()
        time.sleep(0.05)
        return not waiting[0] and not logged[0]


def two_way_updates_vs_logical_replication(runs: int = frame.RUNS) -> list[frame.Result]:
    """Whole path of updates against PostgreSQL's own logical replication of the same updates."""
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world") as world,
        Eye.on(world.url()) as eye,
        replicated(Path(folder) / "rival", world.url(), "work_orders") as rival,
    ):
        orders = Orders(world, eye)
        rival.copy_rows()

        def theirs() -> float:
            changes = orders.changes()
            rival.lay_ready(COLUMNS, changes)
            update = (
                "UPDATE mes.work_orders w SET notes = r.notes, assigned_line = r.assigned_line"
                " FROM ready r WHERE w.site_id = r.site_id AND w.created_at = r.created_at"
                " AND w.id = r.id AND"
            )
            took = timed(rival, update, ORDERS, BATCH_ROWS, lambda: orders.wait(changes[-1]))
            orders.check(changes[-1])
            return ORDERS / took

        return [
            frame.paired(
                "two_way_updates_vs_logical_replication", "rows/s", orders.whole_path, theirs,
                reference="PostgreSQL logical replication, same table",
                target=frame.Target(1.0), runs=runs,
            )
        ]  # fmt: skip


def main(store: str, notes: str, line: str) -> None:
    """Update all orders in the order of their ids when told to: the plant's program."""
    with closing(plant(Path(store))) as connection:
        ids = connection.execute("SELECT id FROM work_orders ORDER BY id").fetchall()
        print("ready", flush=True)
        sys.stdin.readline()
        for start in range(0, len(ids), BATCH_ROWS):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE work_orders SET notes = ?, assigned_line = ? WHERE id = ?",
                [(notes, line, row_id) for (row_id,) in ids[start : start + BATCH_ROWS]],
            )
            connection.execute("COMMIT")


if __name__ == "__main__":
    main(*sys.argv[1:])
