"""Commit to visible: from a program's COMMIT to the moment that its row is read at the centre."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import frame
from tests.bench.rows import INSERT_FACT, Facts, make_orders, plant
from tests.bench.system import SITE, Eye, cpu_s, system, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.system import System

SITES = 30
ROWS_PER_S = 50
#: Seconds in one run with 30 sites, and single commits in one idle run.
SECONDS = 8.0
COMMITS = 40
#: One row in so many is looked for at the centre.
PROBED = 10
_LOOK_S = 0.005


def p99(values: Sequence[float]) -> float:
    """Return the value that 99 in 100 do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]


def latency_idle(runs: int = frame.RUNS) -> list[frame.Result]:
    """One site writes a row now and then."""
    chance = random.Random(3)
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world") as world,
        Eye.on(world.url()) as eye,
    ):
        orders = make_orders(world.store(SITE), 20)
        wait_until(lambda: eye.count("work_orders") == len(orders))
        rows = iter(Facts(orders).rows((runs + 1) * COMMITS))
        all_ms = []
        for _ in range(runs + 1):
            with closing(plant(world.store(SITE))) as program:
                ms = []
                for _ in range(COMMITS):
                    time.sleep(chance.uniform(0.15, 0.35))
                    row = next(rows)
                    program.execute(INSERT_FACT, row)
                    committed = time.perf_counter()
                    wait_until(lambda row=row: eye.fact_is_there(row), every_s=0.001)  # type: ignore[misc]
                    ms.append((time.perf_counter() - committed) * 1000)
            all_ms.append(ms)
    return [
        frame.single(
            "latency_idle_p99", "ms", [p99(ms) for ms in all_ms[1:]],
            target=frame.Target(150, at_least=False),
        ),
        frame.single("latency_idle_p50", "ms", [sorted(ms)[len(ms) // 2] for ms in all_ms[1:]]),
    ]  # fmt: skip


# --- thirty sites ---------------------------------------------------------------------------------


class Probes:
    """Looks for rows at the centre and notes when each is there."""

    def __init__(self, eye: Eye) -> None:
        self._eye = eye
        self._open: dict[str, tuple[float, tuple[str, ...]]] = {}
        self.ms: list[float] = []

    def add(self, line: str) -> None:
        """Take a line of the writer: when it was committed, and the row's key."""
        at, *key = line.split()
        self._open[key[2]] = (float(at), tuple(key))

    def look(self) -> None:
        """Look once for all that are not there yet."""
        waiting = list(self._open.values())
        if not waiting:
            return
        columns = [list(column) for column in zip(*(key for _, key in waiting), strict=True)]
        found = self._eye.connection.execute(
            "SELECT j.id::text FROM unnest(%s::text[], %s::timestamptz[], %s::uuid[])"
            " AS k (site, created, id) CROSS JOIN LATERAL (SELECT id FROM mes.job_responses r"
            " WHERE r.site_id = k.site AND r.created_at = k.created AND r.id = k.id) j",
            columns,
        )
        now = time.time()
        for (row_id,) in found.fetchall():
            at, _ = self._open.pop(row_id)
            self.ms.append((now - at) * 1000)

    @property
    def waiting(self) -> int:
        """Return how many are not there yet."""
        return len(self._open)


def latency_30_sites(runs: int = frame.RUNS) -> list[frame.Result]:
    """Thirty sites, each writing fifty rows a second in commits of one row."""
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world", sites=SITES) as world,
        Eye.on(world.url()) as eye,
    ):
        found = [_run_sites(world, eye) for _ in range(runs + 1)][1:]
    return [
        frame.single(
            "latency_30_sites_p99", "ms", [p99(ms) for ms, _ in found],
            target=frame.Target(500, at_least=False),
            note=f"{SITES} sites, {ROWS_PER_S} commits of one row a second each",
        ),
        frame.single("latency_30_sites_p50", "ms", [sorted(m)[len(m) // 2] for m, _ in found]),
        frame.single(
            "latency_30_sites_agents_cpu", "% of a core", [cpu for _, cpu in found],
            note="all thirty agents together meanwhile",
        ),
    ]  # fmt: skip


def _run_sites(world: System, eye: Eye) -> tuple[list[float], float]:
    command = [sys.executable, "-m", "tests.bench.latency", str(SECONDS)]
    command += [str(world.store(site)) for site in world.sites]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    probes, lines = Probes(eye), list[str]()
    stdout = writer.stdout
    assert stdout is not None
    reader = threading.Thread(target=lambda: lines.extend(iter(stdout.readline, "")))
    before = sum(cpu_s(agent.pid) for agent in world.agents.values())
    reader.start()
    until = time.monotonic() + SECONDS + 30
    while reader.is_alive() or lines or probes.waiting:
        while lines:
            probes.add(lines.pop(0))
        probes.look()
        if time.monotonic() > until:
            raise TimeoutError(f"{probes.waiting} rows have not arrived")
        time.sleep(_LOOK_S)
    used = sum(cpu_s(agent.pid) for agent in world.agents.values()) - before
    writer.wait()
    return probes.ms, used / SECONDS * 100


def main(seconds: float, *stores: str) -> None:
    """Write to all stores in turn, at an even pace; print every tenth row with its time."""
    programs = [plant(Path(store)) for store in stores]
    makers = [
        Facts([None], k, Path(store).parent.name)  # type: ignore[list-item]
        for k, store in enumerate(stores, time.time_ns())
    ]
    started, count = time.time(), 0
    while (due := started + count / (ROWS_PER_S * len(programs))) < started + seconds:
        time.sleep(max(0.0, due - time.time()))
        k = count % len(programs)
        (row,) = makers[k].rows(1)
        programs[k].execute(INSERT_FACT, row)
        if count // len(programs) % PROBED == 0:
            print(time.time(), row[1], row[2], row[0], flush=True)
        count += 1


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
