"""A comparison waits until its store shows what the centre had, however long that is on its way."""

from __future__ import annotations

import asyncio

from edge.lanes import DownLane
from edge.store import apply
from edge.store.compare import Looker
from tests.integration.central_world import SITES, appears, execute
from tests.integration.compare_world import counts, verify
from tests.integration.edge_world import plant  # noqa: F401
from tests.integration.test_compare import orders
from tests.integration.test_edge_steps import order, part, shown
from tests.integration.whole_world import world  # noqa: F401

SITE = SITES[0]


def test_entries_that_are_only_kept_are_not_followed_yet(plant):
    looker = Looker(plant.store.opened)
    try:
        plant.receive(plant.own.entry(order(1), beside=1))
        assert (looker.position().own_pos, shown(plant)) == (1, (set(), set()))
        assert not looker.shows(1, 0)
        plant.receive(plant.shared.entry(part(1), beside=1))
        assert shown(plant) == ({1}, {1})
        assert looker.shows(1, 1)
        assert not looker.shows(2, 1)
        assert not looker.shows(1, 2)
    finally:
        looker.close()


def test_between_two_transactions_of_one_receipt_only_what_is_shown_is_followed(plant, monkeypatch):
    monkeypatch.setattr(apply, "TRANSACTION_ROWS_MAX", 3)
    plant.receive(*[plant.shared.entry(part(k), beside=1) for k in range(1, 9)])
    looker, seen = Looker(plant.store.opened), []
    monkeypatch.setattr(
        apply.time, "sleep", lambda _: seen.append((looker.shows(1, 8), len(shown(plant)[1])))
    )
    plant.receive(plant.own.entry(order(1), beside=0))
    looker.close()
    assert [parts for _, parts in seen] == [2, 5]
    assert not any(followed for followed, _ in seen)


def test_nothing_is_followed_while_a_snapshot_is_needed(plant):
    looker = Looker(plant.store.opened)
    assert looker.shows(0, 0)
    plant.store.want_snapshot("the feed no longer goes back so far", 1)
    assert not looker.shows(0, 0)
    looker.close()


async def test_a_row_that_is_on_its_way_down_for_seconds_is_no_difference(world, monkeypatch):
    edge = world.edges[SITE]
    edge.write(orders(5))
    await world.settle()
    real, arrived = DownLane.apply, asyncio.Event()

    async def apply_late(lane, entries):
        await arrived.wait()
        return await real(lane, entries)

    monkeypatch.setattr(DownLane, "apply", apply_late)
    end = "SELECT pos FROM sync.feed_head WHERE scope = %s"
    ((before,),) = await world.central(end, SITE)
    await execute(world.url, "UPDATE mes.work_orders SET notes = 'planner' WHERE order_no = 'WO-1'")
    await appears(world.url, f"{end} AND pos > %s", SITE, before)  # no row is queued any more
    asyncio.get_running_loop().call_later(3, arrived.set)
    report = await verify(edge)
    assert (report.found, counts(report)) == (0, {})
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'WO-1'") == [("planner",)]
