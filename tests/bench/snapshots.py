"""The first snapshot to a new edge: a million measured values, one a row."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.bench import frame
from tests.bench.rows import Facts, plant, stamp
from tests.bench.system import SITE, loaded, memory_mb, system, wait_until

if TYPE_CHECKING:
    from tests.bench.system import System

ROWS = 1_000_000
MEMORY_MB_MAX = 150.0


def fill(url: str) -> None:
    """Put the measured values into the centre's table."""
    facts, chance = Facts(["-"], 5), random.Random(5)
    results = [facts.uuid(0) for _ in range(ROWS // 50)]
    names = "site_id, created_at, id, result_id, characteristic, piece_no, value, uom, passed"
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(f"COPY mes.measurements ({names}) FROM STDIN") as into:
            for k in range(ROWS):
                facts.at(milliseconds=5)
                value = f"{chance.uniform(1, 20):.3f}"
                into.write_row((
                    SITE, stamp(facts.now), facts.uuid(int(facts.now.timestamp() * 1000)),
                    results[k // 50], f"DIM-{k % 10}", k // 10 % 5, value, "mm", "t",
                ))  # fmt: skip
        connection.commit()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) mes.measurements")


def load(world: System) -> tuple[float, float]:
    """Start a new edge; return the rows a second until it is loaded, and its peak memory in MB."""
    store = world.store(SITE)
    for left in store.parent.glob("*"):
        left.unlink()
    started = time.perf_counter()
    world.start_site(SITE)
    wait_until(lambda: loaded(store), every_s=0.05)
    took = time.perf_counter() - started
    peak = memory_mb(world.agents[SITE].pid)
    world.fleet.stop(f"{SITE}-agent")
    with closing(plant(store)) as connection:
        (there,) = connection.execute("SELECT count(*) FROM measurements").fetchone()
    if there != ROWS:
        raise AssertionError(f"{there} rows of {ROWS} were loaded")
    return ROWS / took, peak


def snapshot_rows_per_s(runs: int = frame.RUNS) -> list[frame.Result]:
    """From the start of the agent on an empty folder to the end of its first snapshot."""
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world", agents=False) as world,
    ):
        world.store(SITE).parent.mkdir(parents=True)
        fill(world.url("mes_ingest"))
        loads = [load(world) for _ in range(runs)]
    return [
        frame.single(
            "snapshot_rows_per_s", "rows/s", [rate for rate, _ in loads],
            target=frame.Target(60_000), reference="20,000 rows/s: a rival's best published",
        ),
        frame.single(
            "snapshot_agent_memory", "MB", [peak for _, peak in loads],
            target=frame.Target(MEMORY_MB_MAX, at_least=False),
            note="largest resident memory of the agent while a million rows load",
        ),
    ]  # fmt: skip
