"""The clock of a site's machine jumps while its agent runs and its programs write."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.faults import shifted_clock
from tests.faults.cases import local_orders
from tests.faults.sessions import SiteStore
from tests.faults.system import running_system
from tests.integration.central_world import execute

pytestmark = pytest.mark.slow

SITE = "SITE_001"
HOUR_S = 3600
JUMPS_S = (HOUR_S, -HOUR_S, 24 * HOUR_S, -24 * HOUR_S, 0)
NEAR_MS = 60_000
#: As exactly as this an offset is to be known, and by twice this two touches are apart.
EXACT_MS = 100


@pytest.fixture
async def system(centre, nats_server, tmp_path):
    """A system in which the agent of the first site goes by a clock of its own."""
    (tmp_path / "clock").write_text("0")
    words = (str(Path(shifted_clock.__file__)), str(tmp_path / "clock"))
    before = {SITE: words}
    async with running_system(centre, nats_server.url, tmp_path, before=before) as system:
        yield system, tmp_path / "clock"


async def test_a_clock_that_jumps_under_load_loses_nothing_and_is_measured_within_a_beat(system):
    system, clock = system
    async with system.sessions() as sessions:
        plants = [each for each in sessions.all if isinstance(each.place, SiteStore)]
        for jump_s in JUMPS_S:
            for each in plants:
                each.place.clock_off_s = jump_s if each.name.startswith(SITE) else 0
            await set_clock(system, clock, jump_s)
            await system.all_crosses(sessions)
            assert await newest_write_is_of_now(system)


async def newest_write_is_of_now(system) -> bool:
    """Tell whether the centre dates what the site wrote last by the true time."""
    ((at_ms, clamped),) = await system.world.central(
        "SELECT v.at_ms, v.clamped FROM sync.version AS v JOIN mes.work_orders AS w USING (id)"
        " WHERE w.order_no = %s ORDER BY v.ord DESC LIMIT 1", f"s:{SITE} 1.0.0",
    )  # fmt: skip
    return not clamped and abs(at_ms - time.time_ns() // 10**6) < NEAR_MS


@pytest.mark.parametrize("site_first", [True, False])
async def test_of_two_notes_the_later_stands_once_a_jump_of_the_clock_was_measured(
    system, site_first
):
    system, clock = system
    edge, world = system.world.edges[SITE], system.world
    for jump_s in JUMPS_S[:4]:
        order = f"A{jump_s}"
        edge.write(local_orders(order))
        await set_clock(system, clock, jump_s)
        await world.settle()
        system.programs.pause(SITE)
        here = partial(edge.write, *notes(order, jump_s))
        later = partial(asyncio.sleep, 2 * EXACT_MS / 1000)  # what is nearer, nobody can tell apart
        there = f"UPDATE mes.work_orders SET notes = 'centre' WHERE order_no = '{order}'"
        if site_first:
            here()
            await later()
            await execute(world.url, there)
        else:
            await execute(world.url, there)
            await later()
            here()
        system.programs.go_on(SITE)
        await world.settle()
    stands = "centre" if site_first else "site"
    assert edge.read("SELECT DISTINCT notes FROM work_orders") == [(stands,)]
    verdicts = await world.central("SELECT verdict, clock_clamped FROM mes.sync_conflicts")
    assert verdicts == [("central" if site_first else "here", False)] * 4


def notes(order: str, off_s: int) -> tuple[str, ...]:
    """Return the statements of a program whose clock is off by so much."""
    return (
        f"UPDATE work_orders SET notes = 'site' WHERE order_no = '{order}'",
        f"UPDATE _sync_log_work_orders SET at_ms = at_ms + {off_s * 1000}",
    )


async def set_clock(system, clock: Path, off_s: int) -> None:
    """Have the clock jump, and wait until a hello has measured by how much."""
    clock.write_text(str(off_s))  # noqa: ASYNC240
    system.programs.running[SITE].signal(signal.SIGUSR1)
    edge = system.world.edges[SITE]
    await system.world.eventually(
        lambda: abs(edge.read("SELECT offset_ms FROM _sync_site")[0][0] + off_s * 1000) < EXACT_MS
    )
