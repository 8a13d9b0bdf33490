"""A centre of thirty sites with its API, filled with a year's facts.

The facts are put straight into PostgreSQL, by statements of a month each: how they come there is
measured elsewhere. Server and load have a core each; PostgreSQL shares that of the load.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg

from central import api_keys
from central.rolled import fold
from deploy.local.fleet import CENTRAL
from tests.bench.load import Load, load, request
from tests.bench.system import System, plans, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NONE: Mapping[str, str] = {}
SITES = 30
MONTHS = [f"2026-{month:02d}" for month in range(1, 11)]
SECONDS = 4.0
CONNECTIONS = 64

# Twenty machines of a site, what they could make, and two shifts of every day. As rows of the
# centre, which no journal of it notes: nobody is there to be told.
_PLANT = (
    """
INSERT INTO mes.equipment (id, site_id, equipment_code, created_at)
SELECT ('1' || lpad(k::text, 31, '0'))::uuid, %(site)s, 'M-' || k, '2026-01-01'
FROM generate_series(0, 19) AS k""",
    """
INSERT INTO mes.equipment_rates (
    id, site_id, equipment_id, pri_s, effective_from, created_at)
SELECT gen_random_uuid(), %(site)s, ('1' || lpad(k::text, 31, '0'))::uuid, 10,
       '2026-01-01', '2026-01-01' FROM generate_series(0, 19) AS k""",
    """
INSERT INTO mes.shift_calendar (
    id, site_id, starts_at, ends_at, shift_code, entry_type, created_at)
SELECT gen_random_uuid(), %(site)s, at, at + interval '8 hours',
       'S' || extract(hour FROM at)::integer / 8, 'WORK', '2026-01-01'
FROM generate_series('2026-01-01'::timestamptz, '2026-11-01', '8 hours') AS at
WHERE extract(hour FROM at) < 16""",
)
# Facts of a month of one site: each of twenty machines stays at an order for a hundred reports.
_FILL = """
INSERT INTO mes.job_responses (
    id, site_id, created_at, work_order_id, equipment_id, person_id, report_type, segment_code,
    started_at, ended_at, duration_s, duration_known, qty_good, qty_scrap, qty_rework, qty_mrb,
    shift_code, business_date, is_rework)
SELECT gen_random_uuid(), %(site)s, at, lpad((n / 2000 * 20 + n %% 20)::text, 32, '0')::uuid,
       ('1' || lpad((n %% 20)::text, 31, '0'))::uuid,
       ('2' || lpad((n %% 50)::text, 31, '0'))::uuid,
       CASE WHEN n %% 5 = 0 THEN 'SETUP' ELSE 'PRODUCTION' END,
       'SEGMENT-' || (n / 2000 + n %% 20) %% 8,
       at - interval '60 s', at, 60, true, n %% 9, n %% 2, 0, 0, 'S' || n %% 2, at::date, false
FROM (SELECT n, %(month)s::timestamptz + n * (interval '28 days' / %(rows)s) AS at
      FROM generate_series(0, %(count)s::bigint - 1) AS n) AS g"""


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
        """Have about so many facts in all, ``rows``, as many of each site and month."""
        each, before = rows // SITES // len(MONTHS), self.rows // SITES // len(MONTHS)
        if not self.rows:
            self._found_plants()
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
            connection.execute("VACUUM ANALYZE")
        self.rows = each * SITES * len(MONTHS)

    def _found_plants(self) -> None:
        with psycopg.connect(self.world.url()) as connection:
            connection.execute("SET session_replication_role = replica")
            for site in self.world.sites:
                for statement in _PLANT:
                    connection.execute(statement.encode(), {"site": site})

    def ask(self, path: str) -> httpx.Response:
        """Ask once, and see that it was answered."""
        answer = self.client.get(f"http://127.0.0.1:{self.port}{path}", headers=self.headers)
        answer.raise_for_status()
        return answer

    def loaded(
        self, paths: list[str], connections: int = CONNECTIONS, more: Mapping[str, str] = _NONE
    ) -> Load:
        """Put load on it for some seconds; raise where an answer went wrong."""
        requests = [request(path, self.headers | dict(more)) for path in paths]
        found = load(self.port, requests, seconds=SECONDS, connections=connections, cpu=1)
        if found.errors:
            raise AssertionError(f"{found.errors} of {found.answers} went wrong")
        return found

    def streamed(self, path: str) -> Iterator[memoryview]:
        """Ask for a whole answer, and give its bytes as they come, without keeping them."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=600)) as connection:
            connection.request("GET", path, headers=self.headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise AssertionError(f"{answer.status}: {answer.read(500)!r}")
            space = memoryview(bytearray(1 << 18))
            while size := answer.readinto(space):
                yield space[:size]


def free_port() -> int:
    """Return a port that nobody listens on."""
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
        on = with_api(world)
        os.sched_setaffinity(on.pid, {0})
        yield on


def with_api(world: System) -> Served:
    """Start the API of a centre that runs, in a process of its own."""
    port = free_port()
    settings: dict[str, Any] = world.central_settings() | {
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
