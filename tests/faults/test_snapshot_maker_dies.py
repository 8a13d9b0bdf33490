"""The process that makes a snapshot is killed half-way; the next one knows nothing of it."""

from __future__ import annotations

import pytest

from edge import loading
from tests.faults.cases import planned_orders
from tests.faults.conftest import SITE
from tests.faults.processes import run_feed
from tests.integration.central_world import connect, execute
from tests.integration.whole_world import Edge, whole_world

SPOOLED = "SELECT id::text FROM sync.snapshot WHERE chunks IS {}"


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    await execute(centre, planned_orders("A1", "A2"))
    async with whole_world(centre, nats_server.url, tmp_path, ()) as world:
        await world.stop_centre()
        edge = world.edges[SITE] = Edge(SITE, tmp_path / "new.db", world.nats_url)
        edge.open().close()
        yield world
        await edge.stop()


async def test_a_snapshot_whose_maker_was_killed_is_made_anew(world, monkeypatch):
    # Where the site asks for no chunk in the moment in which nobody answers, it waits so long.
    monkeypatch.setattr(loading, "_CHUNK_WAIT_MAX_S", 1.0)
    edge = world.edges[SITE]
    feed = await run_feed(world.url, world.nats_url)
    async with connect(world.url, autocommit=False) as holder:
        await holder.execute("LOCK TABLE mes.work_orders IN ACCESS EXCLUSIVE MODE")
        try:
            await edge.start()
            half_made = await world.eventually(lambda: world.central(SPOOLED.format("NULL")))
            await world.eventually(lambda: edge.read("SELECT id FROM _sync_snapshot") == half_made)
        finally:
            feed.kill()
            await feed.wait()
            await holder.rollback()
    assert await world.central(SPOOLED.format("NULL")) == half_made, "the window was not hit"
    await world.start_centre()
    await world.settle(120)  # a minute, where the site asks just as another process takes over
    assert await world.central(SPOOLED.format("NOT NULL")) not in ([], half_made)
    assert len(edge.read("SELECT 1 FROM work_orders")) == 2
