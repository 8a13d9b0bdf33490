"""Clients of the centre write before anybody has noted that its server was started anew."""

from __future__ import annotations

import pytest

from tests.faults.cases import note, notes, planned_orders
from tests.faults.restorable import (
    conflict,
    edits_after_the_restore,
    lives,
    lost_edits,
    met_by_policy,
    plant,
)
from tests.integration.central_world import connect

pytestmark = pytest.mark.postgres
__all__ = ["plant"]


async def test_what_clients_write_before_the_start_is_noted_hides_nothing_that_was_lost(plant):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1", "P2"))
    await world.settle()
    backup = await plant.backup()
    await plant.plan(note("P1", "in the lost time", "mes."))
    await world.settle()
    await plant.restore(backup)
    for k in range(60):  # more of them than the lost time had
        await plant.plan(note("P2", f"after the restore {k}", "mes."))
    await plant.come_home()
    await world.settle()
    assert notes(edge) == {"P1": "in the lost time", "P2": "after the restore 59"}
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def test_a_document_that_a_client_wrote_over_meets_no_other_than_the_one_that_stood(plant):
    """Its old value is kept as a text, and has to be read as one."""
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1"))
    await plant.plan("""UPDATE mes.work_orders SET routing = '{"step": 1}'""")
    await world.settle()
    backup = await plant.backup()
    await plant.plan(note("P1", "in the lost time", "mes."))
    await world.settle()
    await plant.restore(backup)
    await plant.plan("""UPDATE mes.work_orders SET routing = '{"step": 2}'""")
    await plant.come_home()
    await world.settle()
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]
    assert edge.read("SELECT notes, routing FROM work_orders") == [
        ("in the lost time", '{"step": 2}')
    ]


async def test_a_write_before_the_start_is_noted_meets_what_comes_home_by_policy(plant):
    await lost_edits(plant)
    await edits_after_the_restore(plant)
    await plant.come_home()
    await plant.world.settle()
    await met_by_policy(plant)


async def test_a_transaction_that_is_open_while_the_start_is_noted_was_not_held_either(plant):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1"))
    await world.settle()
    backup = await plant.backup()
    await plant.plan(note("P1", "in the lost time", "mes."))
    await world.settle()
    await edge.stop()
    await plant.restore(backup)
    async with connect(world.url, autocommit=False) as client:
        await client.execute(note("P1", "open meanwhile", "mes.").encode())
        await world.start_centre()
        await world.eventually(lambda: lives(plant))
        await client.commit()
    await edge.start()
    await plant.noticed()
    await world.settle()
    here, there = await conflict(plant)
    assert "in the lost time" in here
    assert "open meanwhile" in there
