"""The centre is recovered to a point in time: a base backup, and its archived log up to there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from central.backups import Mark
from deploy.local.servers import PostgresServer
from tests.faults.backup import ARCHIVING, archive_of, recover_to
from tests.faults.cases import local_orders, note, notes, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.faults.restorable import OTHER, restorable, restores
from tests.faults.test_centre_restored_from_its_oldest_backup import known, say

if TYPE_CHECKING:
    from tests.faults.restorable import Restorable

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

POINT = "before_the_mistake"
ORDERS = "SELECT order_no, notes FROM mes.work_orders"
SUM = "SELECT cycle_count FROM mes.equipment"
FACTS = "SELECT count(*) FROM mes.equipment_state_events"


@pytest.fixture
async def plant(nats_server, tmp_path):
    server = PostgresServer(tmp_path / "postgres", parameters={"fsync": "off", **ARCHIVING})
    with server:
        archive_of(server)
        async with restorable(server, nats_server.url, tmp_path) as plant:
            yield plant


async def point(plant: Restorable) -> None:
    """Note where the server may be recovered to."""
    await plant.world.central("SELECT pg_create_restore_point(%s)", POINT)


async def archived(plant: Restorable) -> None:
    """Wait until all that the server has logged is in the archive."""
    ((file,),) = await plant.world.central("SELECT pg_walfile_name(pg_switch_wal())")
    archive = plant.server.root / "archive"
    await plant.world.eventually((archive / file).exists)


async def recover(plant: Restorable, backup) -> None:
    await plant.world.stop_centre()
    await asyncio.to_thread(recover_to, plant.server, backup, POINT)


async def before_the_point(plant: Restorable) -> None:
    """Write what only the archive has: between the backup and the point."""
    plant.edge.write(local_orders("A2"), state_events(20))
    plant.edge.write("UPDATE equipment SET cycle_count = cycle_count + 3")
    await plant.plan(planned_orders("P3"))
    await plant.world.settle()


async def after_the_point(plant: Restorable) -> None:
    """Write what only the sites have."""
    plant.edge.write(local_orders("A3"), note("A2", "after the point"), state_events(7))
    plant.edge.write("UPDATE equipment SET cycle_count = cycle_count + 4")
    plant.world.edges[OTHER].write(local_orders("B1"))
    await plant.plan(planned_orders("P4"))
    await plant.plan(note("P1", "by the planner", "mes."))
    await plant.plan("DELETE FROM mes.work_orders WHERE order_no = 'P2'")
    await plant.world.settle()


async def test_what_was_written_after_the_point_and_is_known_to_a_site_comes_home(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"), "INSERT INTO equipment (equipment_code) VALUES ('M1')")
    await plant.plan(planned_orders("P1", "P2"))
    await world.settle()
    backup = await plant.backup()
    await before_the_point(plant)
    await point(plant)
    await after_the_point(plant)
    await archived(plant)

    await recover(plant, backup)
    at_the_point = {"A1": None, "A2": None, "P1": None, "P2": None, "P3": None}
    assert dict(await world.central(ORDERS)) == at_the_point
    assert await world.central(SUM) == [(3,)]
    assert await world.central(FACTS) == [(20,)]
    edge.write(local_orders("A4"))
    await plant.come_home()
    await world.settle()
    assert (SITE,) in await restores(plant)
    wanted = {
        "A1": None, "A2": "after the point", "A3": None, "A4": None,
        "P1": "by the planner", "P3": None, "P4": None,
    }  # fmt: skip
    assert notes(edge) == wanted
    assert dict(await world.central(ORDERS)) == wanted | {"B1": None}
    assert await world.central(SUM) == edge.read("SELECT cycle_count FROM equipment") == [(7,)]
    assert await world.central(FACTS) == [(27,)]
    edge.write("UPDATE equipment SET cycle_count = cycle_count + 5", note("P4", "goes on"))
    await world.settle()
    assert await world.central(SUM) == [(12,)]
    assert await world.central(
        "SELECT (SELECT count(*) FROM mes.sync_conflicts), (SELECT count(*) FROM mes.sync_parked)"
    ) == [(0, 0)]


async def test_the_list_of_backups_is_as_it_was_at_the_point(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"))
    await world.settle()
    await say(plant, "mon", Mark.BEGUN)
    backup = await plant.backup("mon")
    await say(plant, "mon", Mark.FINISHED)
    await say(plant, "tue", Mark.BEGUN)
    await point(plant)
    await say(plant, "tue", Mark.FINISHED)
    await say(plant, "wed", Mark.BEGUN, Mark.FINISHED)
    await say(plant, "mon", Mark.GONE)
    await archived(plant)
    await recover(plant, backup)
    # Not as when the base began: that it was finished is in the log, too.
    assert await known(plant) == {"mon": Mark.FINISHED, "tue": Mark.BEGUN}
    await plant.world.start_centre()
    await world.settle()
    assert notes(edge) == {"A1": None}
