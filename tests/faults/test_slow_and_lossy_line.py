"""A site on a line of 200 ms, 256 kbit/s and 1 % loss sends a backlog while changes come down."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

import nats
import pytest

from sync.streams import DOWN, site_durable
from tests.faults.cases import sign_ons
from tests.faults.system import SITES, running_system
from tests.faults.wire import Wire

pytestmark = pytest.mark.slow

SITE = SITES[0]
RTT_S = 0.2
BYTES_PER_S = 256_000 / 8
LOSS = 0.01
#: Some 300 KB on the line: they are random, so nothing packs them.
BACKLOG = 8_000
#: The default. A site that hears nothing for so long asks, and a question waits behind what goes
#: up: at a beat of a second, each loss would let the backlog hold up what comes down.
BEAT_S = 15.0


@pytest.fixture
async def system(centre, nats_server, tmp_path, seed):
    """The first site on the slow line, the other on none."""
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(Wire(nats_server.url))
        system = await stack.enter_async_context(
            running_system(
                centre, nats_server.url, tmp_path, nats_urls={SITE: wire.url}, beat_s=BEAT_S
            )
        )
        for number, way in enumerate((wire.up, wire.down)):
            way.delay_s, way.bytes_per_s, way.loss = RTT_S / 2, BYTES_PER_S, LOSS
            way.chance = random.Random(seed + number)
        yield system


async def test_a_backlog_crosses_a_slow_and_lossy_line_while_changes_come_down(system):
    world = system.world
    async with system.sessions(pause_s=0.4) as sessions:
        # What came so far may have been asked for.
        await world.eventually(lambda: follows(world.nats_url))
        world.edges[SITE].write(sign_ons(BACKLOG))
        here = next(each for each in sessions.all if each.name == f"{SITE} 1")
        seen = 0
        while await arrived(world) < BACKLOG:
            # What planners write comes down all the while, however much still goes up.
            planned = {f"planner of {SITE}": sessions.written[f"planner of {SITE}"] + 1}
            await world.eventually(lambda planned=planned: here.shows(planned), timeout_s=60)
            seen += await arrived(world) < BACKLOG
        assert seen > 1, "the window was not hit: the backlog was there at once"
    lost = [line for line in system.programs.log(SITE).splitlines() if "lost " in line]
    assert not lost, "a slow line was taken for a dead one"


async def follows(url: str) -> bool:
    """Tell whether the site's questions for what comes down stand with the broker."""
    async with await nats.connect(url) as client:
        durable = await client.jetstream().consumer_info(DOWN, site_durable(SITE))
        return bool(durable.num_waiting)


async def arrived(world) -> int:
    return (await world.central("SELECT count(*) FROM mes.user_sessions"))[0][0]
