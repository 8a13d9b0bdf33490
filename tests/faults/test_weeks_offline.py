"""A site is dark for longer than feed and streams are kept. Deletions are, until it passed them."""

from __future__ import annotations

from central.retention import Kept, forget
from central.upkeep import prune
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.faults.test_stream_truncated import purge
from tests.integration.central_world import connect, execute

FEED_DAYS = 30
#: Everything that the centre dates by itself, as it looks a year later.
AGE = (
    "UPDATE sync.feed SET made_at = made_at - interval '1 year'",
    "UPDATE sync.applied SET applied_at = applied_at - interval '1 year'",
    "UPDATE sync.snapshot SET made_at = made_at - interval '1 year'",
    "UPDATE sync.order_mark SET at = at - interval '1 year'",
    "UPDATE sync.settled SET known_at = known_at - interval '1 year',"
    " settled_at = settled_at - interval '1 year'",
)
KEPT = Kept(version_days=90, history_days=0)
DELETED = "SELECT count(*) FROM sync.head WHERE deleted"


async def a_year_passes(world) -> None:
    """Have the centre and the broker forget what they forget in the time of a site that is dark.

    The last entry of a feed is never forgotten, so there has to be one more than the site misses.
    """
    await world.eventually(lambda: _sequenced(world))
    await execute(world.url, planned_orders("later"))
    await world.eventually(lambda: _sequenced(world))
    await forgets(world)
    await execute(world.url, *AGE)
    async with connect(world.url) as connection:
        pruned = await prune(connection, FEED_DAYS)
    await forgets(world)
    assert pruned["feed"] > 0
    assert pruned["snapshots"] == 1  # its first one
    assert await purge(world, "DOWN", 1 << 40) > 0
    ((own_pos,),) = world.edges[SITE].read("SELECT own_pos FROM _sync_site")
    kept = await world.central("SELECT min(pos) FROM sync.feed WHERE scope = %s", SITE)
    assert kept[0][0] > own_pos + 1, "the window was not hit: the feed still reaches back"


async def forgets(world) -> None:
    """Have the centre forget versions and deletions: a look, one that finds it settled, a last."""
    async with connect(world.url) as connection:
        for _ in range(3):
            await forget(connection, KEPT)


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
    await a_year_passes(world)
    await execute(world.url, "UPDATE mes.work_orders SET priority = 9 WHERE order_no = 'old'")
    await edge.start()
    await world.settle()
    assert await world.central("SELECT site FROM sync.snapshot") == [(SITE,)]
    numbers = {no for (no,) in edge.read("SELECT order_no FROM work_orders")}
    assert numbers == {"old", "edited", "planned", "made in the dark", "new", "later"}
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'edited'") == [("xxx",)]


async def test_a_row_deleted_at_the_centre_does_not_come_back_from_a_site_that_was_dark(world):
    edge = world.edges[SITE]
    edge.write(local_orders("doomed", "passed"))
    await world.settle()
    await execute(world.url, "DELETE FROM mes.work_orders WHERE order_no = 'passed'")
    await world.settle()
    await world.eventually(lambda: _said_where_it_is(world))
    for _ in range(2):  # an order is noted now and then: here before the deletion, and after it
        await execute(world.url, "UPDATE sync.order_mark SET at = at - interval '10 days'")
        await forgets(world)
    await execute(world.url, "UPDATE sync.order_mark SET at = at - interval '10 days'")
    await edge.stop()
    await execute(world.url, "DELETE FROM mes.work_orders")
    assert await world.central(DELETED) == [(2,)]
    await a_year_passes(world)
    assert await world.central(DELETED) == [(1,)], "what the site had not passed is remembered"
    edge.write("UPDATE work_orders SET notes = 'written in the dark'")
    await edge.start()
    await world.settle()
    assert await world.central("SELECT site FROM sync.snapshot") == [(SITE,)]
    assert edge.read("SELECT order_no FROM work_orders") == [("later",)]
    assert await world.central("SELECT order_no FROM mes.work_orders") == [("later",)]
    conflicts = await world.central("SELECT policy, here_value::text FROM mes.sync_conflicts")
    assert [policy for policy, _ in conflicts] == ["delete"]
    assert "written in the dark" in conflicts[0][1]


async def _sequenced(world) -> bool:
    return not await world.central("SELECT 1 FROM sync.touched")


async def _said_where_it_is(world) -> bool:
    ((position,),) = world.edges[SITE].read("SELECT own_pos FROM _sync_site")
    said = "SELECT (hello -> 'own' ->> 0)::int FROM sync.site WHERE site = %s"
    return await world.central(said, SITE) == [(position,)]
