"""What a planner writes by the API stands in the store of its site."""

from __future__ import annotations

from types import SimpleNamespace

import psycopg
import pytest

from tests.integration.api_world import link, opened
from tests.integration.central_world import CATALOG
from tests.integration.planner_world import ORDERS, changed, made_order, seen
from tests.integration.whole_world import SITE, world

__all__ = ["link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

NUMBERS = "SELECT order_no, priority, exec_state FROM work_orders ORDER BY order_no"


@pytest.fixture
async def client(world, link):
    """A planner of all sites."""
    async with await psycopg.AsyncConnection.connect(world.url, autocommit=True) as admin:
        centre = SimpleNamespace(url=world.url, catalog=CATALOG, admin=admin)
        async with opened(centre, link) as api, await api.asked_by("planner") as found:
            yield found


async def test_what_is_planned_by_the_api_stands_at_the_site(world, client):
    edge = world.edges[SITE]
    first, second = [await made_order(client, SITE, order_no=number) for number in ("A1", "A2")]
    await world.settle()
    assert edge.read(NUMBERS) == [("A1", 50, "CREATED"), ("A2", 50, "CREATED")]
    first = (await changed(client, first, priority=90, exec_state="RELEASED")).json()
    assert (await client.delete(f"{ORDERS}/{second['id']}", headers=seen(second))).is_success
    await world.settle()
    assert edge.read(NUMBERS) == [("A1", 90, "RELEASED")]

    edge.write("UPDATE work_orders SET exec_state = 'IN_PROGRESS', notes = 'begun'")
    await world.settle()
    late = await changed(client, first, priority=10)
    assert late.status_code == 412  # the site has written since
    row = (await client.get(f"{ORDERS}/{first['id']}")).json()
    assert (row["values"]["exec_state"], row["values"]["notes"]) == ("IN_PROGRESS", "begun")
    assert (await changed(client, row, priority=10)).status_code == 200
    await world.settle()
    assert edge.read(NUMBERS) == [("A1", 10, "IN_PROGRESS")]


async def test_a_planners_write_meets_that_of_a_site_that_was_away_by_the_policies(world, client):
    edge = world.edges[SITE]
    row = await made_order(client, SITE, order_no="A1")
    await world.settle()
    await edge.stop()
    edge.write("UPDATE work_orders SET priority = 10, assigned_line = 'L1'")
    row = (await changed(client, row, priority=90, assigned_line="L2")).json()
    await edge.start()
    await world.settle()
    found = edge.read("SELECT priority, assigned_line FROM work_orders")
    assert found == [(90, "L1")]  # planning is the centre's, lines are the site's
    stands = (await client.get(f"{ORDERS}/{row['id']}")).json()["values"]
    assert (stands["priority"], stands["assigned_line"]) == (90, "L1")
