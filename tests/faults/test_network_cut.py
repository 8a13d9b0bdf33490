"""A site's line is cut in one direction or both, or left half open; programs write on."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import pytest

from edge.beat import state_path
from tests.faults.system import running_system
from tests.faults.wire import Wire
from tests.integration.central_world import make_centre

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]

#: What becomes of the line of each site.
CUTS = {
    "SITE_001": lambda wire: wire.up.cut(),
    "SITE_002": lambda wire: wire.down.cut(),
    "SITE_003": lambda wire: wire.cut(),
    "SITE_004": lambda wire: wire.forget(),
}
SITES = tuple(CUTS)
#: An agent drops a connection that shows no sign of life for 25 s.
NOTICED_S = 45.0


@pytest.fixture
async def system(database, nats_server, tmp_path):
    """Each site on a line of its own."""
    await make_centre(database, SITES)
    async with AsyncExitStack() as stack:
        wires = {s: await stack.enter_async_context(Wire(nats_server.url)) for s in SITES}
        urls = {site: wire.url for site, wire in wires.items()}
        system = await stack.enter_async_context(
            running_system(database, nats_server.url, tmp_path, sites=SITES, nats_urls=urls)
        )
        yield system, wires


def disconnects(system, site: str) -> int:
    return json.loads(state_path(system.world.edges[site].path).read_bytes())["disconnects"]


async def test_a_cut_too_short_to_be_noticed_loses_nothing_and_no_connection(system):
    system, wires = system
    lines = {site: wires[site] for site in SITES[:3]}
    async with system.sessions(pause_s=0.1) as sessions:
        for site, wire in lines.items():
            CUTS[site](wire)
        written = sessions.written
        await system.world.eventually(
            lambda: all(k > written[who] + 10 for who, k in sessions.written.items())
        )
        assert not sessions.seen_everywhere(sessions.written), "the window was not hit"
        for wire in lines.values():
            wire.heal()
    assert [disconnects(system, site) for site in lines] == [0, 0, 0]


async def test_a_line_cut_in_either_direction_or_half_open_is_given_up_and_laid_anew(system):
    system, wires = system
    before = {site: wire.laid for site, wire in wires.items()}
    async with system.sessions(pause_s=0.1) as sessions:
        for site, wire in wires.items():
            CUTS[site](wire)
        for site, wire in wires.items():
            await system.world.eventually(
                lambda wire=wire, site=site: wire.laid > before[site], timeout_s=NOTICED_S
            )
        # The line that was only left half open is in use again, while the others are still cut.
        here = next(each for each in sessions.all if each.name == "SITE_004 1")
        written = sessions.written
        await system.world.eventually(lambda: here.has_seen(written))
        for wire in wires.values():
            wire.heal()
