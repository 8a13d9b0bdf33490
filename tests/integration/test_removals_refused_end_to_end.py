"""A deletion of the centre that a plant's trigger refuses, in a whole system: seen, and mended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge import agent
from edge.status import read_picture
from edge.verdict import judge
from tests.integration.compare_world import counts, verify
from tests.integration.site_world import mes_sync
from tests.integration.test_compare import orders
from tests.integration.whole_world import SITE, world  # noqa: F401

if TYPE_CHECKING:
    from tests.integration.whole_world import Edge, World

KEPT = "orders are never deleted here"
RULE = f"""CREATE TRIGGER a_rule BEFORE DELETE ON work_orders WHEN OLD.order_no = 'WO-1'
    BEGIN SELECT RAISE(ABORT, '{KEPT}'); END"""


@pytest.fixture
def often(monkeypatch):
    """The agent looks after its store every moment, as it does twice a minute else."""
    monkeypatch.setattr(agent, "_PRUNE_EVERY_S", 0.2)


def numbers(edge: Edge) -> set[str]:
    return {order_no for (order_no,) in edge.read("SELECT order_no FROM work_orders")}


def reasons(edge: Edge) -> set[str]:
    return {each.code for each in judge(read_picture(edge.path, 0)).reasons}


async def said(edge: Edge, *words: str) -> str:
    done = await asyncio.to_thread(mes_sync, edge.path, *words)
    assert done.code == 0, done.err
    return done.out


async def test_all_goes_on_behind_a_deletion_that_the_plant_refuses_until_it_lifts_its_rule(
    often,
    world: World,
):
    edge = world.edges[SITE]
    edge.write(orders(3))
    await world.settle()
    edge.write(RULE)
    assert numbers(edge) == {"WO-1", "WO-2", "WO-3"}
    await world.central("DELETE FROM mes.work_orders WHERE order_no = 'WO-1' RETURNING 1")
    await world.central("UPDATE mes.work_orders SET notes = 'next' RETURNING 1")
    await world.settle_counts()
    assert numbers(edge) == {"WO-1", "WO-2", "WO-3"}
    assert edge.read("SELECT DISTINCT notes FROM work_orders WHERE order_no <> 'WO-1'") == [
        ("next",)
    ]
    assert "MES-ASIDE" in reasons(edge)
    assert "refused" in await said(edge, "parked", "list")
    ((row_id,),) = edge.read("SELECT id FROM work_orders WHERE order_no = 'WO-1'")
    assert KEPT in await said(edge, "parked", "show", row_id)
    report = await verify(edge)
    assert (report.found, counts(report)) == (0, {}), "it is listed, so it is no difference"

    edge.write("UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-1'")
    await world.settle_counts()
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'WO-1'") == [("mine",)]
    codes = edge.read("SELECT code FROM _sync_aside ORDER BY code")
    assert codes == [("gone",), ("refused",)], "what the site wrote is kept, here as in the history"

    edge.write("DROP TRIGGER a_rule")
    await world.eventually(lambda: numbers(edge) == {"WO-2", "WO-3"})
    await world.settle()
    assert "MES-ASIDE" not in reasons(edge)


async def test_a_site_whose_rules_need_a_function_of_its_own_still_sends_and_hears(world: World):
    edge = world.edges[SITE]
    edge.write(orders(3))
    await world.settle()
    edge.write("CREATE TRIGGER a_rule AFTER UPDATE ON work_orders BEGIN SELECT of_theirs(); END")
    await world.central("UPDATE mes.work_orders SET notes = 'next' WHERE order_no = 'WO-1'"
                        " RETURNING 1")  # fmt: skip
    edge.write("INSERT INTO work_orders (order_no) VALUES ('WO-9')")
    await world.settle_counts()
    found = await world.central("SELECT 1 FROM mes.work_orders WHERE order_no = 'WO-9'")
    assert len(found) == 1
    assert "MES-ASIDE" in reasons(edge)
    edge.write("DROP TRIGGER a_rule")
    await edge.stop()
    await edge.start()
    await world.settle()
