"""A store goes back, and then the centre, behind all that the store had taken home."""

from __future__ import annotations

import json

import pytest

from central.roles import as_role
from central.store import CentralStore
from tests.faults.cases import local_orders, planned_orders
from tests.faults.copies import copied, put_back
from tests.faults.restorable import plant
from tests.integration.central_world import CATALOG

pytestmark = pytest.mark.postgres
__all__ = ["plant"]


async def test_what_a_lost_life_had_parked_stays_on_record_and_a_person_may_let_go_of_it(plant):
    world, edge = plant.world, plant.edge
    backup = await plant.backup()
    await edge.stop()
    edge.write(local_orders("N1"))
    await plant.plan(planned_orders("N1"))
    copy = await copied(edge)
    await world.settle_counts()
    await put_back(edge, copy)
    await edge.start()
    await world.settle_counts()
    parked = "SELECT id::text, state, content FROM mes.sync_parked"
    ((ticket, _, content),) = before = await world.central(parked)
    await plant.restore(backup)
    await plant.come_home()
    await world.settle_counts(60)
    assert await world.central(parked) == before
    ((at_the_site,),) = edge.read("SELECT content FROM sync_parked")
    assert json.loads(at_the_site) == content
    async with CentralStore.open(as_role(world.url, "mes_ingest"), CATALOG) as store:
        assert not await store.retry(ticket)  # no outbox has it any more
        assert await store.discard(ticket, "a planner")
        assert not await store.discard(ticket, "a planner")
    await world.settle()
    assert edge.read("SELECT state FROM sync_parked") == [("discarded",)]
