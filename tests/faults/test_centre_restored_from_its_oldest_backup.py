"""The centre goes back to its oldest backup, twice: sites still have what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import edge.agent
from central.backups import Mark, read_backups, set_mark
from central.upkeep import advance_safe
from tests.faults.cases import local_orders, state_events
from tests.faults.restorable import plant  # noqa: F401
from tests.integration.central_world import connect

if TYPE_CHECKING:
    from tests.faults.restorable import Restorable
    from tests.integration.whole_world import Edge

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def prunes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge.agent, "_PRUNE_EVERY_S", 0.1)


async def say(plant: Restorable, name: str, *marks: Mark) -> None:
    async with connect(plant.world.url) as connection:
        for mark in marks:
            await set_mark(connection, name, mark)


async def known(plant: Restorable) -> dict[str, Mark]:
    async with connect(plant.world.url) as connection:
        return {each.name: each.state for each in await read_backups(connection)}


async def keep_up(plant: Restorable) -> None:
    """Have all that may become safe by now be called so, and the site hear of it and prune."""
    async with connect(plant.world.url) as connection:
        await advance_safe(connection, safe_after_s=0)
    called = "SELECT safe_n FROM sync.epoch WHERE site = 'SITE_001'"
    ((safe_n,),) = await plant.world.central(called)
    heard = "SELECT safe_n FROM _sync_site"
    await plant.world.eventually(lambda: plant.edge.read(heard)[0][0] >= safe_n)
    await plant.world.eventually(lambda: all(n > safe_n for n in kept(plant.edge)))


def kept(site: Edge) -> list[int]:
    return [n for (n,) in site.read("SELECT DISTINCT n FROM _sync_out ORDER BY n")]


async def restore(plant: Restorable, backup) -> None:
    """Put the centre back, twice the same way: what was put back is copied, not used up."""
    await plant.restore(backup)
    lost = backup.with_name(f"{backup.name}.lost")
    lost.rename(lost.with_name(f"{lost.name}-{len(list(lost.parent.iterdir()))}"))
    await plant.world.start_centre()
    await plant.world.settle()


async def contents(plant: Restorable) -> tuple[int, list[str]]:
    ((events,),) = await plant.world.central("SELECT count(*) FROM mes.equipment_state_events")
    orders = await plant.world.central("SELECT order_no FROM mes.work_orders ORDER BY 1")
    return events, [number for (number,) in orders]


async def test_sites_have_all_that_the_oldest_backup_lacks_also_after_it_was_restored_once(plant):
    world, site = plant.world, plant.edge
    site.write(local_orders("A1"), state_events(10))
    await world.settle()
    await say(plant, "mon", Mark.BEGUN)
    ((noted,),) = await world.central("SELECT last_n FROM sync.backup_position")
    backup = await plant.backup("mon")
    await say(plant, "mon", Mark.FINISHED)
    site.write(local_orders("A2"), state_events(30))
    await world.settle()
    await say(plant, "tue", Mark.BEGUN, Mark.FINISHED)
    site.write(state_events(5))
    await world.settle()
    await keep_up(plant)
    assert kept(site) == [noted + 1, noted + 2]  # the rest is let go of: the backups have it

    await restore(plant, backup)
    assert await contents(plant) == (45, ["A1", "A2"])
    assert await known(plant) == {"mon": Mark.BEGUN}

    # The copy does not know that it was finished; age must not let go of what it lacks.
    await keep_up(plant)
    site.write(state_events(2))
    await world.settle()
    await keep_up(plant)
    await restore(plant, backup)
    assert await contents(plant) == (47, ["A1", "A2"])

    # As docs/backups.md tells: it is finished, since it was restored from; then go on.
    await say(plant, "mon", Mark.FINISHED)
    await say(plant, "wed", Mark.BEGUN, Mark.FINISHED)
    await say(plant, "mon", Mark.GONE)
    await keep_up(plant)
    assert kept(site) == []
