"""Reports over HTTP: kept, read anew, against the facts themselves, and with ten times the facts.

The facts are put straight into PostgreSQL, by statements of a month each: how they come there is
measured elsewhere. Server and load have a core each; PostgreSQL shares that of the load.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg

from central import api_keys
from central.rolled import fold
from deploy.local.fleet import CENTRAL
from tests.bench import frame
from tests.bench.latency import COMMITS, p99
from tests.bench.load import Load, load, request
from tests.bench.rows import INSERT_FACT, Facts, make_orders, plant
from tests.bench.system import SITE, System, plans, system, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_NONE: Mapping[str, str] = {}
SITES = 30
MONTHS = [f"2026-{month:02d}" for month in range(1, 11)]
FEW, MANY = 1_000_000, 10_000_000
SECONDS = 4.0
CONNECTIONS = 64
FRESH_CONNECTIONS = 16
#: A month by days of all sites: 31 rows, 5 KB.
MONTH = "/v1/reports/output?bucket=day&from=2026-09-01&to=2026-10-02&measures=qty_good,qty_scrap"

# Facts of a month of one site, at 20 machines and in two shifts; all numbers follow from the row's.
_FILL = """
INSERT INTO mes.job_responses (
    id, site_id, created_at, work_order_id, equipment_id, person_id, report_type, segment_code,
    started_at, ended_at, duration_s, duration_known, qty_good, qty_scrap, qty_rework, qty_mrb,
    shift_code, business_date, is_rework)
SELECT gen_random_uuid(), %(site)s, at, lpad((n %% 500)::text, 32, '0')::uuid,
       lpad((n %% 20)::text, 32, '1')::uuid, lpad((n %% 50)::text, 32, '2')::uuid,
       CASE WHEN n %% 5 = 0 THEN 'SETUP' ELSE 'PRODUCTION' END, 'SEGMENT-' || n %% 8,
       at - interval '60 s', at, 60, true, n %% 9, n %% 2, 0, 0, 'S' || n %% 2, at::date, false
FROM (SELECT n, %(month)s::timestamptz + n * (interval '28 days' / %(rows)s) AS at
      FROM generate_series(0, %(count)s::bigint - 1) AS n) AS g"""

_OF_FACTS = b"""
SELECT business_date, sum(qty_good), sum(qty_scrap) FROM mes.job_responses
WHERE site_id = ANY(%s) AND business_date >= '2026-09-01' AND business_date < '2026-10-02'
GROUP BY business_date ORDER BY business_date"""


@dataclass(slots=True)
class Served:
    """A centre with an API of its own process on one core."""

    world: System
    pid: int
    port: int
    key: str
    rows: int = 0
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    @property
    def headers(self) -> dict[str, str]:
        """Return what a program shows."""
        return {"Authorization": f"Bearer {self.key}"}

    def fill(self, rows: int) -> None:
        """Have so many facts in all, spread evenly over sites and months."""
        each, before = rows // SITES // len(MONTHS), self.rows // SITES // len(MONTHS)
        url = self.world.url("mes_ingest")
        with psycopg.connect(url, autocommit=True) as connection:
            for site in self.world.sites:
                for month in MONTHS:
                    connection.execute(
                        "SELECT sync.make_partition('job_responses', %s, %s::date)",
                        [site, f"{month}-01"],
                    )
                    given = {"site": site, "month": f"{month}-01T00:00:00Z", "rows": each}
                    connection.execute(_FILL, given | {"count": each - before})
                asyncio.run(_folded(url))  # as the feed does meanwhile
        with psycopg.connect(self.world.url(), autocommit=True) as connection:
            connection.execute("ANALYZE")
        self.rows = rows

    def ask(self, path: str = MONTH) -> httpx.Response:
        """Ask once, and see that it was answered."""
        answer = self.client.get(f"http://127.0.0.1:{self.port}{path}", headers=self.headers)
        answer.raise_for_status()
        return answer

    def loaded(
        self, paths: list[str], connections: int = CONNECTIONS, more: Mapping[str, str] = _NONE
    ) -> Load:
        """Put load on it for some seconds."""
        requests = [request(path, self.headers | dict(more)) for path in paths]
        return load(self.port, requests, seconds=SECONDS, connections=connections, cpu=1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def _key(url: str) -> str:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await api_keys.add(connection, "bench", ["corporate"])


async def _folded(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await fold(connection)
        await connection.execute("VACUUM mes.job_responses_deltas")


@contextmanager
def served() -> Iterator[Served]:
    """Run a centre of thirty sites without agents, and its API on core 0."""
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        System(Path(folder) / "world", plans(SITES)) as world,
    ):
        world.start_database("")
        world.start_broker("")
        world.migrate()
        on = _with_api(world)
        os.sched_setaffinity(on.pid, {0})
        yield on


def _with_api(world: System) -> Served:
    """Start the API in a process of its own."""
    port = _free_port()
    settings = world.central_settings() | {
        "api_port": port, "api_host": "127.0.0.1", "api_rate": 0,
    }  # fmt: skip
    running = world.fleet.start("api", CENTRAL, "api", **settings)
    wait_until(lambda: _answers(port))
    return Served(world, running.pid, port, asyncio.run(_key(world.url("mes_ingest"))))


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def _warm(on: Served) -> None:
    """Ask until an answer is given again: the key is remembered, and the look is fresh."""
    wait_until(lambda: "etag" in on.ask().headers)


def reports_kept(runs: int = frame.RUNS) -> list[frame.Result]:
    """Give the same answer again and again, and tell browsers that they have it."""
    with served() as on:
        on.fill(100_000)
        _warm(on)
        tag = on.ask().headers["etag"]
        size = len(on.ask().content)
        kept = [_sound(on.loaded([MONTH])) for _ in range(runs + 1)][1:]
        same = [_sound(on.loaded([MONTH], more={"If-None-Match": tag})) for _ in range(runs)]
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


def _sound(found: Load) -> Load:
    if found.errors:
        raise AssertionError(f"{found.errors} of {found.answers} went wrong")
    return found


def reports_read(runs: int = frame.RUNS) -> list[frame.Result]:
    """Read each answer anew, from few facts and from many, and once from the facts themselves."""
    with served() as on:
        on.fill(FEW)
        _warm(on)
        few = [_in_database_ms(on, lambda: on.ask(_fresh())) for _ in range(20 * runs)]
        on.fill(MANY)
        _warm(on)
        many = [_in_database_ms(on, lambda: on.ask(_fresh())) for _ in range(20 * runs)]
        read = [
            _sound(on.loaded([_fresh() for _ in range(20_000)], FRESH_CONNECTIONS))
            for _ in range(runs)
        ]
        raw = [_raw_ms(on) for _ in range(runs)]
    ratios = [each / statistics.median(many) for each in raw]
    growth = [b / a for a, b in zip(sorted(few), sorted(many), strict=True)]
    return [
        frame.single(
            "reports_read", "requests/s", [each.per_s for each in read],
            target=frame.Target(1_500), note=f"{MANY:,} facts, 30 sites, row security",
        ),
        frame.single("reports_read_p95", "ms", [each.p95_ms for each in read]),
        frame.single("reports_from_rollups_vs_facts", "x", ratios, target=frame.Target(100)),
        frame.single(
            "reports_ten_times_the_facts", "x", growth, target=frame.Target(1.2, at_least=False)
        ),
    ]  # fmt: skip


_asked = iter(range(1, 1 << 40))


def _fresh() -> str:
    """Return a question that was never asked: the same month, with another limit."""
    number = next(_asked)
    return f"{MONTH}&limit={40 + number % 900}&nonzero=qty_good&sort={'-' * (number % 2)}qty_good"


def _in_database_ms(on: Served, ask: Callable[[], Any]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def _raw_ms(on: Served) -> float:
    with psycopg.connect(on.world.url()) as connection:
        began = time.perf_counter()
        connection.execute(_OF_FACTS, [on.world.sites]).fetchall()
        return (time.perf_counter() - began) * 1000


def reports_whole(runs: int = frame.RUNS) -> list[frame.Result]:
    """Read all reports of production as one stream: of CSV, and of Parquet."""
    with served() as on:
        on.fill(FEW)
        _warm(on)
        csv = [_rows_per_s(on, "csv&sort=none") for _ in range(runs + 1)][1:]
        in_order = [_rows_per_s(on, "csv") for _ in range(runs)]
        parquet = [_rows_per_s(on, "parquet&sort=none") for _ in range(runs)]
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


def _rows_per_s(on: Served, form: str) -> float:
    path, size = f"/v1/reports/log?whole=true&format={form}", 0
    began = time.perf_counter()
    with httpx.stream(
        "GET", f"http://127.0.0.1:{on.port}{path}", headers=on.headers, timeout=600
    ) as answer:
        answer.raise_for_status()
        for block in answer.iter_raw():
            size += len(block)
    if size < FEW:
        raise AssertionError(f"{size} bytes cannot be {FEW} rows")
    return FEW / (time.perf_counter() - began)


def _bare_rows_per_s(on: Served) -> float:
    size, began = 0, time.perf_counter()
    with (
        psycopg.connect(on.world.url()) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY (SELECT * FROM mes.job_responses) TO STDOUT (FORMAT csv)") as copy,
    ):
        for row in copy:
            size += len(row)
    if size < FEW:
        raise AssertionError(f"{size} bytes cannot be {FEW} rows")
    return FEW / (time.perf_counter() - began)


def reports_fresh(runs: int = frame.RUNS) -> list[frame.Result]:
    """From a program's COMMIT at a plant to the report that has it in its number."""
    chance = random.Random(5)
    with (
        tempfile.TemporaryDirectory(prefix="mes-bench-") as folder,
        system(Path(folder) / "world") as world,
    ):
        on = _with_api(world)
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
