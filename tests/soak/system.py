"""The demo's world with every part of it in reach: to be killed, paused, cut off, started again."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from deploy.local.broker import NatsServer
from deploy.local.fleet import CENTRAL, EDGE
from deploy.local.planning import SitePlan
from deploy.local.postgres import PostgresServer
from deploy.local.program import log_tail
from deploy.local.world import DATABASE, INGEST_WORKERS, STREAM_BYTES, World
from sync.accounts import CENTRAL as CENTRAL_USER
from sync.accounts import creds_path, ensure_keys, trust_config
from sync.streams import DOWN, up_stream
from sync.transport import Link, LinkSettings

if TYPE_CHECKING:
    from collections.abc import Collection

    from deploy.local.program import Running
    from tests.soak.tables import Times

_DAY_S = 86_400
#: What a program of the centre says last that ended since a server was away at its start.
_AWAY = ("mes-central: PostgreSQL:", "mes-central: nats")


@dataclass(slots=True)
class System(World):
    """A centre and its sites, each program a process."""

    times: Times = field(kw_only=True)
    #: Programs that run, or should.
    programs: dict[str, Running] = field(default_factory=dict)
    #: Those that ended by themselves and were started again, and what of them must not be.
    revived: list[str] = field(default_factory=list)
    ended_badly: list[str] = field(default_factory=list)
    postgres: PostgresServer = field(init=False)
    broker: NatsServer = field(init=False)

    # --- starting -----------------------------------------------------------------------------

    def start_database(self, given_url: str = "") -> str:
        """Start PostgreSQL, and make the database."""
        del given_url
        self.postgres = self._stack.enter_context(PostgresServer(self.root / "postgres"))
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0".encode())
        url = urlsplit(self.postgres.url())
        self._superuser_url = urlunsplit(url._replace(path=f"/{DATABASE}"))
        return ""

    def _own_broker(self) -> str:
        ensure_keys(self.keys, self.sites)
        folder = self.root / "nats"
        self.broker = NatsServer(
            folder,
            config=trust_config(self.keys, folder / "accounts"),
            store_bytes_max=(len(self.plans) + 2) * STREAM_BYTES,
        )
        return self._stack.enter_context(self.broker).url

    def start_all(self) -> None:
        """Start everything, the sites one after another."""
        self.start_database()
        self.start_broker("")
        self.migrate()
        for name in self.central_programs:
            self.start(name)
        for site in self.sites:
            self.store(site).parent.mkdir(parents=True, exist_ok=True)
            self.start(site)

    @property
    def central_programs(self) -> tuple[str, ...]:
        """Return the names of the centre's programs."""
        return ("feed", *(f"ingest-{k}" for k in range(1, INGEST_WORKERS + 1)))

    def start(self, name: str) -> None:
        """Start a program that does not run: feed, ingest-1, or a site for its agent."""
        if name in self.sites:
            self.programs[name] = self.fleet.start(name, EDGE, "run", **self.edge_settings(name))
        else:
            work = name.partition("-")[0]
            self.programs[name] = self.fleet.start(name, CENTRAL, work, **self.central_settings())

    def edge_settings(self, site: str) -> dict[str, Any]:
        """Return a site's settings: a beat that is as fast as the run is short."""
        return World.edge_settings(self, site) | {"beat_s": 3, "log_level": "warning"}

    def central_settings(self) -> dict[str, Any]:
        """Return the centre's settings, with this run's times."""
        times = self.times
        return World.central_settings(self) | {
            "safe_after_s": times.safe_s,
            "feed_days": times.feed_s / _DAY_S,
            "version_days": times.versions_s / _DAY_S,
            "history_days": times.history_s / _DAY_S,
            "nats_stream_mib": 64,
            "lease_s": 3,
            "log_level": "warning",
        }

    # --- hitting ------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """End a program at once."""
        self.programs[name].kill()

    def pause(self, name: str, *, paused: bool) -> None:
        """Stop a program where it stands, or let it go on."""
        self.programs[name].signal(signal.SIGSTOP if paused else signal.SIGCONT)

    async def purge(self, stream: str) -> int:
        """Have the broker lose all messages of a stream; return how many."""
        settings = LinkSettings(
            servers=(self._nats_url,), name="purger", creds_file=creds_path(self.keys, CENTRAL_USER)
        )
        async with Link(settings) as link:
            await link.wait_connected(10)
            answer = json.loads(await link.request(f"$JS.API.STREAM.PURGE.{stream}", b"{}"))
        return int(answer.get("purged", 0))

    def revive(self, broken: Collection[str]) -> None:
        """Start again what ended by itself, as the system's supervisor would.

        Only for want of PostgreSQL or the broker, which the schedule takes away, may it have ended.
        """
        for name, each in list(self.programs.items()):
            if name in broken or each.alive:
                continue
            tail = log_tail(self.fleet.log(name), 3)
            if any(word in tail for word in _AWAY):
                self.revived.append(name)
            else:
                self.ended_badly.append(f"{name} ended by itself:\n{tail}")
            self.start(name)

    def pids(self) -> dict[str, int]:
        """Return the process of each program that runs, and of the servers."""
        found = {name: each.pid for name, each in self.programs.items() if each.alive}
        if self.broker.alive:
            found["broker"] = self.broker.running.pid
        if self.postgres.alive:
            found["postgres"] = self.postgres.pid
        return found


def plans(count: int) -> list[SitePlan]:
    """Return so many sites."""
    return [
        SitePlan(f"SITE_{k:03d}", f"Plant {k}", "Soak", "UTC", "DE") for k in range(1, count + 1)
    ]


def streams_of(system: System) -> tuple[str, ...]:
    """Return the names of all streams."""
    return (DOWN, *map(up_stream, system.sites))
