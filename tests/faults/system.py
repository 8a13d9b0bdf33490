"""Two sites and a centre as processes, with sessions that write meanwhile, for the tests of faults.

What every such test claims besides its own: that in the end both sides hold the same rows, all that
was written among them and nothing twice, that nothing was taken for a conflict or parked, and that
no session saw at any time what must never be seen.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.faults.programs import Programs
from tests.faults.sessions import Sessions, sessions_of
from tests.integration.whole_world import Edge, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.faults.causal import Violation

SITES = ("SITE_001", "SITE_002")
#: How long what was written may take to be everywhere once nothing is broken any more, seconds.
CROSSING_S = 120.0


@dataclass(slots=True)
class System:
    """The stores as a test looks into them, and the programs that it hits."""

    world: World
    programs: Programs

    @asynccontextmanager
    async def sessions(self, *, pause_s: float = 0.08, url: str = "") -> AsyncIterator[Sessions]:
        """Have sessions work for the block, and what they wrote cross; then check everything."""
        async with sessions_of(self.world, pause_s=pause_s, url=url) as sessions:
            await self.all_crosses(sessions)
            yield sessions
            await self.all_crosses(sessions)
            await sessions.end()
            await self.world.settle(CROSSING_S)
            await self.is_right(sessions)

    async def all_crosses(self, sessions: Sessions, timeout_s: float = CROSSING_S) -> None:
        """Wait until all that was written by now is seen by all who may see it."""
        before = {who: k + 1 for who, k in sessions.written.items()}
        try:
            await self.world.eventually(
                lambda: sessions.seen_everywhere(before), timeout_s=timeout_s
            )
        except AssertionError:
            raise AssertionError(self._picture(sessions, before)) from None

    async def is_right(self, sessions: Sessions) -> None:
        """Check what the sessions saw, and that both ends hold all that they wrote, once."""
        assert sessions.violations() == [], _listed(sessions.violations())
        assert sessions.see_all(), self._picture(sessions, sessions.written)
        assert self.programs.all_run()
        written = sessions.written
        facts = dict(
            await self.world.central(
                "SELECT site_id, count(*) FROM mes.equipment_state_events GROUP BY site_id"
            )
        )
        assert facts == {
            site: written[f"{site} 1"] + written[f"{site} 2"] for site in self.world.edges
        }
        assert await self.world.central(
            "SELECT (SELECT count(*) FROM mes.sync_parked), (SELECT count(*) FROM sync.refused),"
            " (SELECT count(*) FROM mes.sync_conflicts)"
        ) == [(0, 0, 0)]
        # Each number was decided once.
        assert await self.world.central("SELECT sum(last_n) FROM sync.epoch") == (
            await self.world.central("SELECT count(*) FROM sync.applied")
        )

    def _picture(self, sessions: Sessions, wanted: dict[str, int]) -> str:
        """Return where everybody stands, and the ends of all logs, for a failed test."""
        lines = [f"did not come to all: {wanted}, written: {sessions.written}"]
        lines += [
            f"{each.name}: {each.events[-1:]} {each.refusals} refusals, {each.last_refusal}"
            for each in sessions.all
        ]
        return "\n".join([*lines, self.programs.ends_of_logs()])


def _listed(violations: list[Violation]) -> str:
    return "\n".join(map(str, violations[:40]))


def stores_of(folder: Path, nats_url: str, sites: tuple[str, ...]) -> dict[str, Edge]:
    """Return the sites, each with a store that programs can write before there is an agent."""
    edges = {site: Edge(site, folder / f"{site}.db", nats_url) for site in sites}
    for edge in edges.values():
        edge.open().close()
    return edges


@asynccontextmanager
async def running_system(
    centre: str, nats_url: str, folder: Path, *, workers: int = 1,
    sites: tuple[str, ...] = SITES, **given: Any,
) -> AsyncIterator[System]:  # fmt: skip
    """Run a system until the end of the block; ``given`` are fields of ``Programs``."""
    edges = await asyncio.to_thread(stores_of, folder, nats_url, sites)
    world = World(centre, nats_url, edges)
    system = System(world, Programs(world, folder, **given))
    try:
        await system.programs.start_all(workers)
        try:
            await world.settle()
        except AssertionError as why:
            raise AssertionError(f"{why}\n{system.programs.ends_of_logs()}") from None
        yield system
    finally:
        await system.programs.end()


__all__ = ["SITES", "System", "running_system", "stores_of"]
