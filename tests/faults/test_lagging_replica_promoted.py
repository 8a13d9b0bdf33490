"""The primary of PostgreSQL dies, and an asynchronous standby that lacks its end takes its place.

To the sites that is a centre that went back, though nobody has restored anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.replica import cut_off, either, holds_all, primary_and_standby, promote
from tests.faults.system import SITES, running_system
from tests.integration.central_world import execute, fetch

if TYPE_CHECKING:
    from tests.faults.system import System

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]

HERE, THERE = SITES
ORDERS = "SELECT order_no, notes FROM mes.work_orders"
SUM = "SELECT cycle_count FROM mes.equipment"
FACTS = "SELECT site_id, count(*) FROM mes.equipment_state_events GROUP BY site_id"
CODES = "SELECT code FROM _sync_event"


@pytest.fixture
async def pair(tmp_path):
    """A primary with a migrated centre, and a standby that no commit waits for."""
    async with primary_and_standby(tmp_path) as pair:
        yield pair


async def test_what_a_promoted_replica_lacks_comes_home_and_counts_once(
    pair, nats_server, tmp_path
):
    primary, standby = pair
    url = either(primary.url(), standby.url())
    async with running_system(url, nats_server.url, tmp_path, workers=2) as system:
        world, edge = system.world, system.world.edges[HERE]
        edge.write(local_orders("A1"), "INSERT INTO equipment (equipment_code) VALUES ('M1')")
        edge.write("UPDATE equipment SET cycle_count = cycle_count + 3", state_events(20))
        await execute(url, planned_orders("P1", "P2"))
        await world.settle()
        await world.eventually(lambda: asyncio.to_thread(holds_all, primary))
        await asyncio.to_thread(cut_off, primary, standby)
        await in_the_lost_time(system)
        await asyncio.to_thread(primary.kill)
        lagging = dict(await fetch(standby.url(), ORDERS)), await fetch(standby.url(), SUM)
        assert lagging == ({"A1": None, "P1": None, "P2": None}, [(3,)])
        await asyncio.to_thread(promote, standby)
        edge.write(local_orders("A3"))
        await execute(url, planned_orders("P4"))
        await world.eventually(lambda: restored(system), timeout_s=60)
        await world.settle()
        await all_is_there_once(system)


async def in_the_lost_time(system: System) -> None:
    """Write what the standby never hears of: at both sites, and at the centre for one of them."""
    world, edge = system.world, system.world.edges[HERE]
    edge.write(local_orders("A2"), "UPDATE work_orders SET notes = 'late' WHERE order_no = 'A1'")
    edge.write("UPDATE equipment SET cycle_count = cycle_count + 4", state_events(7))
    world.edges[THERE].write(local_orders("B1"), state_events(5))
    await execute(
        world.url,
        planned_orders("P3"),
        "UPDATE mes.work_orders SET notes = 'by the planner' WHERE order_no = 'P1'",
        "DELETE FROM mes.work_orders WHERE order_no = 'P2'",
    )
    await world.settle()


async def restored(system: System) -> bool:
    """Tell whether both sites are known to have had more than the centre."""
    noted = await system.world.central("SELECT site FROM sync.restore WHERE who = 'centre'")
    return {site for (site,) in noted} == set(SITES)


async def all_is_there_once(system: System) -> None:
    """Check that nothing was lost or doubled, and that both sites know what happened."""
    world = system.world
    assert dict(await world.central(ORDERS)) == {
        "A1": "late", "A2": None, "A3": None, "B1": None,
        "P1": "by the planner", "P3": None, "P4": None,
    }  # fmt: skip
    assert await world.central(SUM) == [(7,)]
    assert world.edges[HERE].read("SELECT cycle_count FROM equipment") == [(7,)]
    assert dict(await world.central(FACTS)) == {HERE: 27, THERE: 5}
    assert await world.central(
        "SELECT (SELECT count(*) FROM mes.sync_conflicts), (SELECT count(*) FROM mes.sync_parked),"
        " (SELECT count(*) FROM sync.refused)"
    ) == [(0, 0, 0)]
    for edge in world.edges.values():
        assert ("MES-CENTRE-RESTORED",) in edge.read(CODES)
    assert system.programs.all_run()
