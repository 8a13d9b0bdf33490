"""Both ends and the broker between them: what is written at one stands at the other."""

from __future__ import annotations

from tests.integration.whole_world import world  # noqa: F401

SITE = "SITE_001"


async def test_an_order_written_at_the_site_stands_at_the_centre(world):
    edge = world.edges[SITE]
    edge.write(
        "INSERT INTO work_orders (order_no, source, qty_ordered, uom)"
        " VALUES ('A1', 'LOCAL', '12.5', 'pcs')"
    )
    await world.settle()
    rows = await world.central("SELECT site_id, order_no, qty_ordered::text FROM mes.work_orders")
    assert rows == [(SITE, "A1", "12.500000")]


async def test_an_order_written_at_the_centre_stands_at_the_site(world):
    await world.central(
        "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, source, qty_ordered, uom)"
        f" VALUES (uuidv7(), '{SITE}', now(), 'B1', 'ERP', 12.5, 'pcs') RETURNING 1"
    )
    await world.settle()
    rows = world.edges[SITE].read("SELECT site_id, order_no, qty_ordered FROM work_orders")
    assert rows == [(SITE, "B1", "12.5")]


async def test_columns_edited_as_one_thing_are_never_torn_apart(world):
    edge = world.edges[SITE]
    edge.write(
        "INSERT INTO work_orders (order_no, source, qty_ordered, uom, planned_start, planned_end)"
        " VALUES ('A1', 'LOCAL', '1', 'pcs', '2026-11-01T06:00:00.000Z',"
        " '2026-11-01T14:00:00.000Z')"
    )
    await world.settle()
    await edge.stop()
    edge.write("UPDATE work_orders SET planned_start = '2026-11-02T06:00:00.000Z'")
    await world.central(
        "UPDATE mes.work_orders SET planned_end = '2026-11-09T14:00:00Z' RETURNING 1"
    )
    await edge.start()
    await world.settle()
    schedule = edge.read("SELECT planned_start, planned_end FROM work_orders")
    assert schedule == [("2026-11-02T06:00:00.000Z", "2026-11-01T14:00:00.000Z")]
    conflicts = await world.central(
        "SELECT column_group, policy, here_value::text, central_value::text FROM mes.sync_conflicts"
    )
    assert [(group, policy) for group, policy, *_ in conflicts] == [("schedule", "site")]
    assert "2026-11-01T14:00:00.000Z" in conflicts[0][2]
    assert "2026-11-09T14:00:00.000Z" in conflicts[0][3]
