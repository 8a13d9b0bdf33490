"""The broker still holds what the lost centre published, and no site has taken it yet."""

from __future__ import annotations

import pytest

from tests.faults.centre_counts import stored
from tests.faults.restorable import plant, restores

pytestmark = pytest.mark.postgres
__all__ = ["plant"]

_COUNT = "SELECT cycle_count FROM mes.equipment"


async def test_what_the_lost_centre_published_and_no_site_took_is_not_taken_after_the_hello(plant):
    world, edge = plant.world, plant.edge
    edge.write("INSERT INTO equipment (equipment_code) VALUES ('M1')")
    await world.settle()
    backup = await plant.backup()
    await world.stop_centre()
    before = await stored(world)
    edge.write("UPDATE equipment SET cycle_count = cycle_count + 5")
    await world.eventually(lambda: is_sent(world, before))
    await edge.stop()
    await plant.plan("UPDATE mes.equipment SET cycle_count = cycle_count + 3")
    await world.start_centre()
    await world.eventually(lambda: decided(plant))
    await plant.restore(backup)
    assert await world.central(_COUNT) == [(0,)]
    await world.start_centre()
    await edge.start()
    await world.settle()
    assert await world.central(_COUNT) == [(5,)]
    assert edge.read("SELECT cycle_count FROM equipment") == [(5,)]
    assert await restores(plant) == []


async def decided(plant) -> bool:
    """Whether the lost centre has counted both, and published that."""
    looked = [
        "SELECT 1 FROM sync.touched UNION ALL SELECT 1 FROM sync.feed_head WHERE published < pos",
        "SELECT 1 FROM sync.epoch AS e JOIN sync.feed_head AS h ON h.scope = e.site"
        " WHERE e.last_n > h.ack_n",
    ]
    waiting = [await plant.world.central(each) for each in looked]
    return await plant.world.central(_COUNT) == [(8,)] and not any(waiting)


async def is_sent(world, before: int) -> bool:
    """Whether the broker has more of the site: to be drained alone is not to be on the way."""
    return await stored(world) > before
