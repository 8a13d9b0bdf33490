"""Reports over HTTP: kept, read anew, against the facts themselves, with ten times the facts."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
from pyarrow import parquet

from tests.bench import frame
from tests.bench.latency import COMMITS, p99
from tests.bench.rows import INSERT_FACT, Facts, make_orders, plant
from tests.bench.served import Served, served, with_api
from tests.bench.system import SITE, system, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

FEW, MANY = 1_000_000, 10_000_000
FRESH_CONNECTIONS = 16
#: A month by days of all sites: 31 rows, 5 KB.
_OF_MONTH = "bucket=day&from=2026-09-01&to=2026-10-02"
MONTH = f"/v1/reports/output?{_OF_MONTH}&measures=qty_good,qty_scrap"

_OF_FACTS = b"""
SELECT business_date, sum(qty_good), sum(qty_scrap) FROM mes.job_responses
WHERE site_id = ANY(%s) AND business_date >= '2026-09-01' AND business_date < '2026-10-02'
GROUP BY business_date ORDER BY business_date"""


def _warm(on: Served) -> None:
    """Ask until an answer is given again: the key is remembered, and the look is fresh."""
    wait_until(lambda: "etag" in on.ask(MONTH).headers)


def reports_kept(runs: int = frame.RUNS) -> list[frame.Result]:
    """Give the same answer again and again, and tell browsers that they have it."""
    with served() as on:
        on.fill(100_000)
        _warm(on)
        tag = on.ask(MONTH).headers["etag"]
        size = len(on.ask(MONTH).content)
        kept = [on.loaded([MONTH]) for _ in range(runs + 1)][1:]
        same = [on.loaded([MONTH], more={"If-None-Match": tag}) for _ in range(runs)]
    return [
        frame.single(
            "reports_kept", "requests/s", [each.per_s for each in kept],
            target=frame.Target(15_000), note=f"{size:,} bytes of JSON",
        ),
        frame.single(
            "reports_kept_p99", "ms", [each.p99_ms for each in kept],
            target=frame.Target(20, at_least=False),
        ),
        frame.single("reports_not_modified", "requests/s", [each.per_s for each in same]),
    ]  # fmt: skip


def reports_read(runs: int = frame.RUNS) -> list[frame.Result]:
    """Read each answer anew, from few facts and from many, and once from the facts themselves."""
    with served() as on:
        on.fill(FEW)
        few, few_oee = _took_ms(on, runs)
        on.fill(MANY)
        many, many_oee = _took_ms(on, runs)
        read = [
            on.loaded([_fresh() for _ in range(20_000)], FRESH_CONNECTIONS) for _ in range(runs)
        ]
        raw = [_raw_ms(on) for _ in range(runs)]
    upto = frame.Target(1.2, at_least=False)
    return [
        frame.single(
            "reports_read", "requests/s", [each.per_s for each in read],
            target=frame.Target(1_500), note=f"{MANY:,} facts, 30 sites, row security",
        ),
        frame.single(
            "reports_read_p95", "ms", [each.p95_ms for each in read],
            target=frame.Target(25, at_least=False),
        ),
        frame.single(
            "reports_from_rollups_vs_facts", "x", [each / statistics.median(many) for each in raw],
            target=frame.Target(100),
        ),
        frame.single("reports_ten_times_the_facts", "x", _growth(few, many), target=upto),
        frame.single("oee_of_a_month_of_30_sites", "ms", many_oee),
        frame.single("oee_ten_times_the_facts", "x", _growth(few_oee, many_oee), target=upto),
    ]  # fmt: skip


def _took_ms(on: Served, runs: int) -> tuple[list[float], list[float]]:
    """Return how long answers take that are read anew: sums, and OEE."""
    _warm(on)
    on.ask(_fresh_oee())
    return (
        [_ms(lambda: on.ask(_fresh())) for _ in range(20 * runs)],
        [_ms(lambda: on.ask(_fresh_oee())) for _ in range(2 * runs)],
    )


def _growth(few: list[float], many: list[float]) -> list[float]:
    return [b / a for a, b in zip(sorted(few), sorted(many), strict=True)]


_asked = iter(range(1, 1 << 40))


def _fresh() -> str:
    """Return a question that was never asked: the same month, with another limit."""
    number = next(_asked)
    return f"{MONTH}&limit={40 + number % 900}&nonzero=qty_good&sort={'-' * (number % 2)}qty_good"


def _fresh_oee() -> str:
    return f"/v1/reports/oee?{_OF_MONTH}&limit={40 + next(_asked) % 900}"


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _raw_ms(on: Served) -> float:
    with psycopg.connect(on.world.url()) as connection:
        return _ms(lambda: connection.execute(_OF_FACTS, [on.world.sites]).fetchall())


def reports_whole(runs: int = frame.RUNS) -> list[frame.Result]:
    """Read all reports of production as one stream: of CSV, and of Parquet."""
    with served() as on:
        on.fill(FEW)
        _warm(on)
        csv = [_csv_rows_per_s(on, "&sort=none") for _ in range(runs + 1)][1:]
        in_order = [_csv_rows_per_s(on) for _ in range(runs)]
        parquet = [_parquet_rows_per_s(on) for _ in range(runs)]
        bare = [_bare_rows_per_s(on) for _ in range(runs + 1)][1:]
    return [
        frame.single(
            "reports_whole_csv", "rows/s", csv, target=frame.Target(400_000),
            note=f"{FEW:,} reports with the names of what they are about, 24 columns",
        ),
        frame.single("reports_whole_csv_in_order", "rows/s", in_order),
        frame.single("reports_whole_parquet", "rows/s", parquet),
        frame.single(
            "reports_whole_bare_copy", "rows/s", bare,
            note="COPY of the table itself: all its columns, in no order, without row security",
        ),
    ]  # fmt: skip


def _csv_rows_per_s(on: Served, more: str = "") -> float:
    lines, began = 0, time.perf_counter()
    for block in on.streamed(f"/v1/reports/log?whole=true&format=csv{more}"):
        lines += bytes(block).count(b"\n")
    took = time.perf_counter() - began
    if lines != on.rows + 1:
        raise AssertionError(f"{lines} lines are not {on.rows} rows")
    return on.rows / took


def _parquet_rows_per_s(on: Served) -> float:
    began = time.perf_counter()
    path = "/v1/reports/log?whole=true&format=parquet&sort=none"
    file = b"".join(bytes(block) for block in on.streamed(path))
    took = time.perf_counter() - began
    if (rows := parquet.read_metadata(pa.BufferReader(file)).num_rows) != on.rows:
        raise AssertionError(f"{rows} rows are not {on.rows}")
    return on.rows / took


def _bare_rows_per_s(on: Served) -> float:
    size, began = 0, time.perf_counter()
    with (
        psycopg.connect(on.world.url()) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY (SELECT * FROM mes.job_responses) TO STDOUT (FORMAT csv)") as copy,
    ):
        for row in copy:
            size += len(row)
    if size < on.rows:
        raise AssertionError(f"{size} bytes cannot be {on.rows} rows")
    return on.rows / (time.perf_counter() - began)


def reports_fresh(runs: int = frame.RUNS) -> list[frame.Result]:
    """From a program's COMMIT at a plant to the report that has it in its number."""
    chance = random.Random(5)
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world") as world,
    ):
        on = with_api(world)
        orders = make_orders(world.store(SITE), 20)
        rows = iter(Facts(orders).rows((runs + 1) * COMMITS))
        path = "/v1/reports/output?measures=reports"
        all_ms = []
        for _ in range(runs + 1):
            ms = []
            with closing(plant(world.store(SITE))) as program:
                for _ in range(COMMITS):
                    time.sleep(chance.uniform(0.15, 0.35))
                    before = _counted(on, path)
                    program.execute(INSERT_FACT, next(rows))
                    committed = time.perf_counter()
                    wait_until(lambda n=before: _counted(on, path) > n)  # type: ignore[misc]
                    ms.append((time.perf_counter() - committed) * 1000)
            all_ms.append(ms)
    return [
        frame.single(
            "reports_fresh_p99", "ms", [p99(ms) for ms in all_ms[1:]],
            target=frame.Target(1_000, at_least=False),
            note="one site; the report is asked for again as soon as it is answered",
        )
    ]  # fmt: skip


def _counted(on: Served, path: str) -> int:
    rows = on.ask(path).json()["rows"]
    return int(rows[0]["reports"] or 0) if rows else 0
