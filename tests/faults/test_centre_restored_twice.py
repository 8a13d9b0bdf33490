"""The centre goes back again before a site has loaded what it has after the first time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

import edge.agent
from edge.status import read_picture
from tests.faults.cases import local_orders, note, notes, planned_orders
from tests.faults.conftest import SITE, feeding
from tests.faults.copies import copied, goes_on_anew, put_back
from tests.faults.restorable import load_in_part, park_a_sum, park_an_order, plant, restores

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.restorable import Restorable
    from tests.integration.whole_world import Edge

pytestmark = pytest.mark.postgres
__all__ = ["plant"]


async def restored(plant: Restorable, backup: Path) -> None:
    """Put the centre back; a second time the same way."""
    await plant.restore(backup)
    lost = backup.with_name(f"{backup.name}.lost")
    lost.rename(lost.with_name(f"{lost.name}-{len(list(lost.parent.iterdir()))}"))


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Snapshots are loaded while this is set."""
    allowed, real = asyncio.Event(), edge.agent.load_snapshot
    allowed.set()

    async def load(*given) -> None:
        await allowed.wait()
        await real(*given)

    monkeypatch.setattr(edge.agent, "load_snapshot", load)
    return allowed


async def test_the_status_tells_what_the_centre_is_owed_until_it_has_it_again(plant):
    world, edge = plant.world, plant.edge
    backup = await plant.backup()
    edge.write(local_orders("A1"))
    await world.settle()
    await restored(plant, backup)
    async with feeding(world.url, world.nats_url):
        await plant.noticed()
        await world.eventually(lambda: waiting(edge) == 1)
    await world.start_centre()
    await world.settle()
    await world.eventually(lambda: waiting(edge) == 0)


def waiting(edge: Edge) -> int:
    """Return how many transactions wait for the centre, as the status tells."""
    return read_picture(edge.path, time.time_ns() // 10**6).backlog.transactions


async def test_a_second_restore_before_the_snapshot_is_loaded_loses_nothing_either(plant, loading):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1", "P2"))
    await world.settle()
    backup = await plant.backup()
    await plant.plan(note("P1", "in the lost time", "mes."))
    await world.settle()
    loading.clear()
    for _ in range(2):
        await restored(plant, backup)
        await plant.plan(note("P2", "after a restore", "mes."))
        await plant.come_home()
        assert (SITE,) in await restores(plant)
    loading.set()
    await world.settle()
    assert notes(edge) == {"P1": "in the lost time", "P2": "after a restore"}
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def test_what_was_decided_between_an_older_backup_and_a_newer_one_comes_home(plant):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1", "P2"))
    await world.settle()
    older = await plant.backup("older")
    for k in range(12):
        await plant.plan(note("P2", f"of both {k}", "mes."))
    await world.settle()
    newer = await plant.backup("newer")
    await restored(plant, older)
    await plant.come_home()
    await world.settle()
    await plant.plan(note("P1", "between", "mes."))
    await world.settle()
    await restored(plant, newer)
    await plant.come_home()
    await world.settle()
    assert notes(edge) == {"P1": "between", "P2": "of both 11"}
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def test_a_sum_that_came_home_and_that_a_copy_holds_in_its_log_counts_once(plant):
    world, edge = plant.world, plant.edge
    edge.write("INSERT INTO equipment (equipment_code) VALUES ('M1')")
    await world.settle()
    backup = await plant.backup()
    copy = await copied(edge, "UPDATE equipment SET cycle_count = cycle_count + 5")
    await world.settle()
    await restored(plant, backup)
    async with feeding(world.url, world.nats_url):  # it comes home as a row, and is not sent again
        await plant.noticed()
        await put_back(edge, copy)
    await world.start_centre()
    await edge.start()
    await world.eventually(lambda: goes_on_anew(edge), timeout_s=90)
    await world.settle()
    assert await world.central("SELECT cycle_count FROM mes.equipment") == [(5,)]
    assert edge.read("SELECT cycle_count FROM equipment") == [(5,)]


async def test_a_half_loaded_snapshot_of_the_lost_time_takes_nothing_away_after_it(plant):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1"))
    await world.settle()
    backup = await plant.backup()
    await edge.stop()
    await load_in_part(plant, lambda: True)  # one chunk
    await restored(plant, backup)
    await plant.plan(planned_orders("P2"))
    await world.start_centre()
    await edge.start()
    await world.settle()
    assert set(notes(edge)) == {"P1", "P2"}
    assert await restores(plant) == []  # and nothing looked lost


async def test_what_was_parked_is_parked_again_though_the_centre_goes_back_twice(plant):
    world, edge = plant.world, plant.edge
    backup = await plant.backup()
    await park_an_order(plant)
    parked = "SELECT id::text, state, reason FROM mes.sync_parked"
    before = await world.central(parked)
    assert [(state, reason) for _, state, reason in before] == [("parked", "key_taken")]
    await restored(plant, backup)
    async with feeding(world.url, world.nats_url):  # all came home, and nothing is sent again yet
        await plant.noticed()
        await world.eventually(lambda: not edge.read("SELECT 1 FROM sync_parked"))
    assert await world.central(parked) == []
    await restored(plant, backup)
    await plant.come_home()
    await world.settle_counts(60)
    assert await world.central(parked) == before
    assert edge.read("SELECT id, state FROM sync_parked") == [(before[0][0], "parked")]
    assert edge.read("SELECT count(*) FROM _sync_again") == [(0,)]


async def test_what_was_to_be_done_again_and_is_done_counts_once_after_another_restore(plant):
    """A sum is parked, taken after the first restore, and comes home after the second."""
    world, edge = plant.world, plant.edge
    backup = await plant.backup()
    await park_a_sum(plant)
    assert await world.central("SELECT count(*) FROM mes.sync_parked") == [(2,)]
    await plant.plan("DELETE FROM mes.equipment")
    await world.settle_counts()
    for _ in range(2):
        await restored(plant, backup)
        await plant.come_home()
        await world.settle()
        assert await world.central("SELECT count(*) FROM mes.sync_parked") == [(0,)]
        assert await world.central("SELECT cycle_count FROM mes.equipment") == [(5,)]
        assert edge.read("SELECT cycle_count FROM equipment") == [(5,)]
        assert edge.read("SELECT count(*) FROM _sync_again") == [(0,)]
