"""A store is put back to an older copy of itself: its numbers would be given out once more."""

from __future__ import annotations

import shutil

from tests.faults.cases import local_orders
from tests.faults.conftest import SITE


async def test_a_store_that_is_behind_the_centre_stops_at_both_ends_and_says_why(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"))
    await world.settle()
    await edge.stop()
    copy = edge.path.with_suffix(".copy")
    shutil.copy(edge.path, copy)  # without a WAL: whoever closes last leaves none
    await edge.start()
    edge.write(local_orders("A2"))
    await world.settle()
    await edge.stop()
    shutil.copy(copy, edge.path)
    await edge.start()
    await world.eventually(edge._task.done)
    ((here,),) = edge.read("SELECT stopped_because FROM _sync_site")
    ((there,),) = await world.central("SELECT stopped_because FROM sync.site WHERE site = %s", SITE)
    assert there is not None
    assert there == here
    assert "restored" in there
    assert len(await world.central("SELECT 1 FROM mes.work_orders")) == 2
