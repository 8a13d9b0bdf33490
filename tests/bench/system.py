"""A whole system for the benchmarks: every program a process, as an operator starts it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from deploy.local.fleet import EDGE
from deploy.local.planning import SitePlan
from deploy.local.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deploy.local.program import Running

SITE = "SITE_001"
#: As many connections as the ingest of the default settings has, plus ours, fit easily.
_LOOK_S = 0.003


@dataclass(slots=True)
class System(World):
    """The demo's world, but the sites reach the broker directly.

    The demo's network is a program in Python, which would be measured as well.
    """

    agents: dict[str, Running] = field(default_factory=dict)
    #: Where agents are told that the broker is, if not where it is.
    address: str = ""

    @property
    def broker_address(self) -> str:
        """Return where the broker is."""
        return self._nats_url

    def edge_settings(self, site: str) -> dict[str, Any]:
        """Return a site's settings, with the broker's own address."""
        return World.edge_settings(self, site) | {"nats_servers": self.address or self._nats_url}

    def start_site(self, site: str) -> None:
        """Start a site's agent and keep it at hand."""
        self.store(site).parent.mkdir(parents=True, exist_ok=True)
        self.agents[site] = self.fleet.start(
            f"{site}-agent", EDGE, "run", **self.edge_settings(site)
        )


def plans(count: int) -> list[SitePlan]:
    """Return so many sites."""
    return [
        SitePlan(f"SITE_{k:03d}", f"Plant {k}", "Bench", "UTC", "DE") for k in range(1, count + 1)
    ]


@contextmanager
def system(root: Path, sites: int = 1, *, agents: bool = True) -> Iterator[System]:
    """Run a centre and so many sites, each with its first snapshot behind it."""
    with System(root, plans(sites)) as world:
        world.start_database("")
        world.start_broker("")
        world.migrate()
        world.start_centre()
        if agents:
            for site in world.sites:
                world.start_site(site)
            for site in world.sites:
                wait_until(lambda site=site: loaded(world.store(site)))  # type: ignore[misc]
        yield world


def loaded(store: Path) -> bool:
    """Whether the first snapshot is in the store."""
    if not store.exists():
        return False
    with closing(sqlite3.connect(store, timeout=60)) as connection:
        try:
            row = connection.execute("SELECT needs_snapshot FROM _sync_site").fetchone()
        except sqlite3.OperationalError:  # the agent is just making it
            return False
    return row is not None and not row[0]


def wait_until(
    claim: Callable[[], object], timeout_s: float = 90.0, every_s: float = _LOOK_S
) -> None:
    """Wait until the claim is true."""
    until = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > until:
            raise TimeoutError(f"not true in {timeout_s} s: {claim}")
        time.sleep(every_s)


# --- what a process used -----------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, by all its threads."""
    text = _stat(pid)
    user, kernel = text[11], text[12]
    return (int(user) + int(kernel)) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()


def memory_mb(pid: int, what: str = "VmHWM") -> float:
    """Return the largest resident memory of a process so far, or that of now (VmRSS), in MB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(what):
                return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(what)


# --- the centre, as seen from outside ------------------------------------------------------------


@dataclass(slots=True)
class Eye:
    """Looks at the centre over a connection of its own, as any client does."""

    connection: psycopg.Connection[Any]

    @classmethod
    @contextmanager
    def on(cls, url: str) -> Iterator[Eye]:
        """Open the connection, and close it at the end."""
        with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
            yield cls(connection)

    def one(self, query: str, given: Sequence[object] = ()) -> Any:
        """Return the first value of the first row, None without one."""
        row = self.connection.execute(query.encode(), given).fetchone()
        return row[0] if row else None

    def fact_is_there(self, row: Sequence[Any]) -> bool:
        """Whether a production report is committed; one look into an index."""
        key = (row[1], row[2], row[0])
        found = self.one(
            "SELECT 1 FROM mes.job_responses WHERE site_id = %s AND created_at = %s AND id = %s",
            key,
        )
        return found is not None

    def count(self, table: str) -> int:
        """Return the rows of a table."""
        return int(self.one(f"SELECT count(*) FROM mes.{table}"))

    def parked(self) -> int:
        """Return the rows that were parked."""
        return self.count("sync_parked")
