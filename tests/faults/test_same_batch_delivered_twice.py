"""Everything that a site ever sent comes again, and changes nothing."""

from __future__ import annotations

from tests.faults.cases import local_orders, state_events
from tests.faults.centre_counts import skipped
from tests.faults.conftest import SITE


async def test_a_site_that_sends_all_again_changes_nothing(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"), state_events(10))
    await world.settle()
    edge.write("UPDATE work_orders SET notes = 'x'")
    await world.settle()
    before, known = await _state(world), skipped()
    await edge.stop()
    edge.write("UPDATE _sync_site SET acked_n = 0")  # what a lost ack leaves the agent with
    await edge.start()
    edge.write(state_events(1))
    await world.settle()
    after = await _state(world)
    assert after == [before[0], before[1] + 1, before[2] + 1]
    assert skipped() - known >= 2, "nothing came again"


async def _state(world) -> list:
    return [
        await world.central("SELECT id, version, ord FROM sync.head ORDER BY id"),
        (await world.central("SELECT count(*) FROM mes.equipment_state_events"))[0][0],
        (await world.central("SELECT count(*) FROM sync.applied"))[0][0],
    ]
