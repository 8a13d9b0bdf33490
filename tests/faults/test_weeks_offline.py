"""A site is dark for longer than the feed and the tombstones are kept."""

from __future__ import annotations

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute

FORGET = "DELETE FROM sync.feed f USING sync.feed_head h WHERE h.scope = f.scope AND f.pos < h.pos"


async def test_a_site_beyond_the_feeds_memory_takes_a_snapshot_and_both_ends_are_equal(world):
    edge = world.edges[SITE]
    edge.write(local_orders("old", "edited", "doomed"))
    await execute(world.url, planned_orders("planned", "cancelled"))
    await world.settle()
    await edge.stop()
    for _ in range(3):
        edge.write(
            "UPDATE work_orders SET notes = coalesce(notes, '') || 'x' WHERE order_no = 'edited'"
        )
    edge.write(local_orders("made in the dark"), state_events(20))
    await execute(
        world.url, "DELETE FROM mes.work_orders WHERE order_no IN ('doomed', 'cancelled')"
    )
    await execute(world.url, planned_orders("new"))
    await world.eventually(lambda: _sequenced(world))
    await execute(world.url, FORGET)
    await execute(world.url, "UPDATE mes.work_orders SET priority = 9 WHERE order_no = 'old'")
    await edge.start()
    await world.settle(60)
    numbers = {no for (no,) in edge.read("SELECT order_no FROM work_orders")}
    assert numbers == {"old", "edited", "planned", "made in the dark", "new"}
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'edited'") == [("xxx",)]


async def test_a_row_deleted_at_the_centre_does_not_come_back_from_a_site_that_was_dark(world):
    edge = world.edges[SITE]
    edge.write(local_orders("doomed"))
    await world.settle()
    await edge.stop()
    await execute(world.url, "DELETE FROM mes.work_orders")
    await world.eventually(lambda: _sequenced(world))
    await execute(world.url, FORGET)
    edge.write("UPDATE work_orders SET notes = 'written in the dark'")
    await edge.start()
    await world.settle(60)
    assert edge.read("SELECT 1 FROM work_orders") == []
    conflicts = await world.central("SELECT policy, here_value::text FROM mes.sync_conflicts")
    assert [policy for policy, _ in conflicts] == ["delete"]
    assert "written in the dark" in conflicts[0][1]


async def _sequenced(world) -> bool:
    return not await world.central("SELECT 1 FROM sync.touched")
