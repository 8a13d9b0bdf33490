"""Until when a site's writes are protected: never later than one that is in no backup."""

from __future__ import annotations

import asyncio
import time

from central.backups import Mark, set_mark, told_to_site
from edge.lanes import DownLane
from edge.store import EdgeStore, early
from shared.clock import wall_ms
from sync.protocol import Verdict
from tests.integration.central_world import SITES, connect
from tests.integration.edge_world import Plant
from tests.integration.whole_world import world  # noqa: F401

SITE = SITES[0]


def order(number):
    return (
        "INSERT INTO work_orders (order_no, source, qty_ordered, uom)"
        f" VALUES ('{number}', 'LOCAL', '1', 'pcs')"
    )


async def protected_ms(world):
    """Take a backup, and return until when the site is told that all of it is in there."""
    name = f"B{time.time_ns()}"
    async with connect(world.url) as connection:
        await set_mark(connection, name, Mark.BEGUN)
        await set_mark(connection, name, Mark.FINISHED)
        told = await told_to_site(connection, SITE, late_hours=26, now_ms=now_ms())
    return told["through_ms"] or 0


def now_ms():
    return time.time_ns() // 10**6


async def said(world, field):
    query = "SELECT hello -> %s FROM sync.site WHERE site = %s"
    ((found,),) = await world.central(query, field, SITE)
    return found


async def test_what_is_not_drained_is_not_told_to_be_protected(world, monkeypatch):
    edge = world.edges[SITE]
    edge.write(order("W0"))
    await world.settle()
    # As while the disk is too full for a drain: reading goes on, and so do hellos.
    monkeypatch.setattr(EdgeStore, "drain", lambda store, now_ms: None)

    async def apply(lane, entries):
        return Verdict.SKIP

    monkeypatch.setattr(DownLane, "apply", apply)
    before_ms = now_ms()
    edge.write(order("W1"))
    written_ms = now_ms()

    async def is_heard():
        ((heard,),) = await world.central(
            "SELECT (hello ->> 'now_ms')::bigint > %s AND hello -> 'drained_ms' = 'null'"
            " FROM sync.site WHERE site = %s",
            written_ms,
            SITE,
        )
        return heard

    await world.eventually(is_heard)
    assert await world.central("SELECT order_no FROM mes.work_orders") == [("W0",)]
    assert 0 < await protected_ms(world) <= before_ms


async def test_a_site_with_nothing_left_is_protected_until_it_looked(world):
    edge = world.edges[SITE]
    edge.write(order("W0"))
    await world.settle()
    settled_ms = now_ms()

    async def has_looked():
        return (await said(world, "drained_ms") or 0) > settled_ms

    await world.eventually(has_looked)
    looked_ms = await said(world, "drained_ms")
    await asyncio.sleep(0.2)
    assert looked_ms <= await said(world, "now_ms")
    assert settled_ms < await protected_ms(world) <= now_ms()


def test_a_store_tells_until_when_all_is_drained_by_the_clock_of_the_centre(tmp_path):
    plant = Plant(tmp_path / "store.db")
    try:
        plant.store.set_offset(-700, 1_000)
        assert plant.store.drained_through(50_000) == 49_300
        plant.insert("orders", order_no="WO-1")
        assert plant.store.drained_through(51_000) is None
        assert plant.store.drain(52_000) is not None
        assert plant.store.drained_through(53_000) == 52_300
    finally:
        plant.close()


def test_facts_that_an_earlier_look_bounds_are_drained_as_of_that_look(tmp_path, monkeypatch):
    """Else a drain would claim what was committed since that look, and is not in it."""
    for name in ("ROWS_MIN", "READ_ON_ROWS_MIN", "ROWS_MAX", "PAGE_ROWS"):
        monkeypatch.setattr(early, name, 1)
    plant, real, busy = Plant(tmp_path / "store.db"), early.pages, [True]

    def while_a_program_writes(*given):
        for page in real(*given):
            if busy:
                busy.clear()
                plant.insert("reports", good=2)
            yield page

    monkeypatch.setattr(early, "pages", while_a_program_writes)
    try:
        plant.insert("reports", good=1)
        plant.store.drain(1_000_000)
        assert len(plant.store.opened.bounds) == 1, "the window was not hit"
        plant.insert("reports", good=3)
        plant.store.drain(3_000_000)
        assert plant.store.drained_through(3_000_000) is None, "all was drained"
        assert wall_ms(plant.store.position().hlc) < 2_000_000
        plant.store.drain(4_000_000)
        assert wall_ms(plant.store.position().hlc) >= 3_000_000
    finally:
        plant.close()
