"""A million rows compared while both ends run: how long it takes, and what goes over the line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.local.fleet import CODE
from tests.bench import frame
from tests.bench.rows import Facts, make_orders, write
from tests.bench.system import SITE, Eye, system, wait_until

if TYPE_CHECKING:
    from tests.bench.system import System

REPORTS, ORDERS = 800_000, 200_000
DAYS = 30
SECONDS_MAX = 20.0
BYTES_MAX = 1_000_000
_BATCH = 20_000


def fill(world: System) -> None:
    """Write the rows at the site, and wait until the centre has them all."""
    store = world.store(SITE)
    orders = make_orders(store, ORDERS)
    facts = Facts(orders[:500], seed=9)
    facts.now -= timedelta(days=DAYS)
    for _ in range(REPORTS // _BATCH):
        write(store, facts.rows(_BATCH))
        facts.at(milliseconds=DAYS * 86_400_000 * _BATCH // REPORTS - 7 * _BATCH)
    with Eye.on(world.url("mes_analyst")) as eye:
        wait_until(lambda: eye.count("work_orders") == ORDERS, 300, 0.3)
        wait_until(lambda: eye.count("job_responses") == REPORTS, 300, 0.3)


@dataclass(frozen=True, slots=True)
class Run:
    """One comparison."""

    took_s: float
    #: Of the command's process.
    cpu_s: float
    bytes: int


def verify(world: System) -> Run:
    """Run the command as an operator does; every row must be the same."""
    settings = world.edge_settings(SITE)
    named = {f"MES_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "edge.cli.sync_command", "verify", "--json"]
    environment = {**os.environ, **named}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=CODE, env=environment, capture_output=True, check=False)
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise AssertionError(f"verify ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    rows = sum(table["rows"] for table in report["tables"])
    if report["found"] or not report["whole"] or rows < REPORTS + ORDERS:
        raise AssertionError(f"{report['found']} of {rows} rows differ")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(took, cpu, report["sent_bytes"] + report["received_bytes"])


def compare(runs: int = frame.RUNS) -> list[frame.Result]:
    """Compare stores that are equal; from the start of the command to its end."""
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world") as world,
    ):
        fill(world)
        verify(world)
        found = [verify(world) for _ in range(runs)]
    return [
        frame.single(
            "compare_a_million_rows", "s", [each.took_s for each in found],
            target=frame.Target(SECONDS_MAX, at_least=False),
            note=f"{REPORTS} reports of {DAYS} days and {ORDERS} orders, all the same",
        ),
        frame.single(
            "compare_traffic_when_equal", "bytes",
            [each.bytes for each in found], target=frame.Target(BYTES_MAX, at_least=False),
        ),
        frame.single(
            "compare_command_cpu", "s", [each.cpu_s for each in found],
            note="CPU time of the site's end, whatever else the machine does",
        ),
    ]  # fmt: skip
