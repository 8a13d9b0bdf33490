"""A whole system of processes: agents, ingest workers and the feed, each of which may be hit.

They end with the process of the tests, however that ends, and leave their logs in its folder.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from central.roles import as_role
from deploy.local.program import Program, Running, log_tail, run

if TYPE_CHECKING:
    from tests.integration.whole_world import World

ROOT = Path(__file__).parents[2]
#: How long a worker holds a site without renewing, and how often an agent says hello, seconds.
LEASE_S = 1.0
BEAT_S = 1.0


@dataclass(slots=True)
class Programs:
    """The processes of a system, by name: ``feed``, ``ingest 1``, or a site for its agent."""

    world: World
    folder: Path
    #: Where the centre's processes find PostgreSQL; else where the world does.
    database_url: str = ""
    #: Where a site finds the broker; else where the centre does.
    nats_urls: dict[str, str] = field(default_factory=dict)
    replicas: int = 1
    #: How often an agent says hello; after so long without news a site asks for what it misses.
    beat_s: float = BEAT_S
    running: dict[str, Running] = field(default_factory=dict)
    #: Words that a program is started by, before its own; for a clock of its own, say.
    before: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def start_all(self, workers: int = 1) -> None:
        """Start the feed, the workers, and an agent for each site of the world."""
        names = ["feed", *(f"ingest {n}" for n in range(1, workers + 1)), *self.world.edges]
        await asyncio.gather(*map(self.start, names))

    async def start(self, name: str) -> None:
        """Start a program that does not run."""
        if name in self.running:
            assert not self.running[name].alive, f"{name} runs"
        is_agent = name in self.world.edges
        words = (
            ("edge.cli.edge_command", "run") if is_agent else ("central", name.partition(" ")[0])
        )
        given = self._of_agent(name) if is_agent else self._of_centre()
        before = self.before.get(name, ("-m",))
        self.running[name] = await asyncio.to_thread(
            run,
            Program(
                argv=(sys.executable, *before, *words),
                cwd=ROOT,
                log=self.folder / f"{name}.log",
                environment=given | {"MES_LOG_LEVEL": "info", "TZ": "UTC"},
                grace_s=20.0,
            ),
        )

    async def kill(self, *names: str) -> None:
        """End programs at once, in whatever state they are."""
        await asyncio.gather(*(asyncio.to_thread(self.running[name].kill) for name in names))

    async def stop(self, *names: str) -> None:
        """End programs in their own good order."""
        await asyncio.gather(*(asyncio.to_thread(self.running[name].stop) for name in names))

    async def restart(self, name: str, *, end: str = "stop") -> None:
        """End a program, by ``stop`` or ``kill``, and start it again."""
        await getattr(self, end)(name)
        await self.start(name)

    def pause(self, *names: str) -> None:
        """Stop programs where they stand (SIGSTOP)."""
        for name in names:
            self.running[name].signal(signal.SIGSTOP)

    def go_on(self, *names: str) -> None:
        """Let paused programs go on."""
        for name in names:
            self.running[name].signal(signal.SIGCONT)

    def log(self, name: str) -> str:
        """Return what a program has logged so far."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ends_of_logs(self) -> str:
        """Return what each program logged last, for the one who reads a failed test."""
        logs = (f"--- {name}\n{log_tail(self.folder / f'{name}.log')}" for name in self.running)
        return "\n".join(logs)

    def all_run(self) -> bool:
        """Tell whether every program that was started runs; raises with the log of one that not."""
        for name, each in self.running.items():
            if not each.alive:
                raise AssertionError(f"{name} has ended:\n{log_tail(self.folder / f'{name}.log')}")
        return True

    async def end(self) -> None:
        """Stop everything that still runs, what is paused as well."""
        alive = [name for name, each in self.running.items() if each.alive]
        self.go_on(*alive)
        await self.stop(*alive)

    def _of_agent(self, site: str) -> dict[str, str]:
        return {
            "MES_SITE": site,
            "MES_STORE": str(self.world.edges[site].path),
            "MES_NATS_SERVERS": self.nats_urls.get(site, self.world.nats_url),
            "MES_BEAT_S": str(self.beat_s),
            "MES_DRAIN_PAUSE_MS": "50",
        }

    def _of_centre(self) -> dict[str, str]:
        return {
            "MES_DATABASE_URL": as_role(self.database_url or self.world.url, "mes_ingest"),
            "MES_NATS_SERVERS": self.world.nats_url,
            "MES_NATS_REPLICAS": str(self.replicas),
            "MES_NATS_STREAM_MIB": "64",
            "MES_LEASE_S": str(LEASE_S),
        }
