"""The centre goes back again before a site has loaded what it has after the first time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import edge.agent
from tests.faults.cases import planned_orders
from tests.faults.test_centre_restored_from_a_backup import note, notes, plant, restores

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.test_centre_restored_from_a_backup import Restorable

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
        await world.start_centre()
        came = await world.eventually(lambda: restores(plant), timeout_s=30)
        assert ("SITE_001",) in came
    loading.set()
    await world.settle(60)
    assert notes(edge) == {"P1": "in the lost time", "P2": "after a restore"}
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]
