"""The agent was down while a row was touched twice: each column counts with its own time."""

from __future__ import annotations

import time

import pytest

from tests.integration.whole_world import world  # noqa: F401

SITE = "SITE_001"
HOUR_MS = 3_600_000


@pytest.fixture
def at():
    """Return the hours of a day at whose thirteenth the agent comes back."""
    one_pm = time.time_ns() // 10**6
    return {hour: one_pm - (13 - hour) * HOUR_MS for hour in (10, 11, 12)}


async def an_order_while_the_agent_is_down(world):
    edge = world.edges[SITE]
    edge.write(
        "INSERT INTO work_orders (order_no, source, qty_ordered, uom, notes, customer_comment)"
        " VALUES ('A1', 'LOCAL', '1', 'pcs', 'both', 'both')"
    )
    await world.settle()
    await edge.stop()


def plant_writes(world, at_ms, sets):
    """Write as a program whose clock stands at that time."""
    log = "_sync_log_work_orders"
    world.edges[SITE].write(
        f"UPDATE work_orders SET {sets}",
        (f"UPDATE {log} SET at_ms = ? WHERE seq = (SELECT max(seq) FROM {log})", (at_ms,)),
    )


async def centre_writes(world, at_ms, sets):
    await world.central(f"UPDATE mes.work_orders SET {sets} RETURNING 1")
    await world.central(
        "UPDATE sync.version AS v SET at_ms = %s FROM sync.head AS h"
        " WHERE h.version = v.version AND h.id = v.id AND v.origin = '*' RETURNING 1",
        at_ms,
    )


async def back_at_one(world, *names):
    """Have the agent back, and return what both ends then hold, and the records of conflicts."""
    edge = world.edges[SITE]
    await edge.start()
    await world.settle()
    ((*here,),) = edge.read(f"SELECT {', '.join(names)} FROM work_orders")
    records = await world.central(
        "SELECT column_group, verdict, here_value->>column_group, central_value->>column_group,"
        " (extract(epoch FROM here_at) * 1000)::bigint,"
        " (extract(epoch FROM central_at) * 1000)::bigint"
        " FROM mes.sync_conflicts ORDER BY column_group"
    )
    known = edge.read("SELECT column_group, verdict FROM sync_conflicts ORDER BY column_group")
    assert known == [record[:2] for record in records]
    return here, records


async def test_a_note_of_ten_loses_though_the_rows_quantity_is_of_twelve(world, at):
    await an_order_while_the_agent_is_down(world)
    plant_writes(world, at[10], "notes = 'site'")
    await centre_writes(world, at[11], "notes = 'centre'")
    plant_writes(world, at[12], "qty_ordered = '7'")
    here, records = await back_at_one(world, "notes", "qty_ordered")
    assert here == ["centre", "7"]
    assert records == [("notes", "central", "site", "centre", at[10], at[11])]


async def test_a_note_of_twelve_stands_though_the_rows_comment_of_ten_does_not(world, at):
    await an_order_while_the_agent_is_down(world)
    plant_writes(world, at[10], "customer_comment = 'site'")
    await centre_writes(world, at[11], "notes = 'centre', customer_comment = 'centre'")
    plant_writes(world, at[12], "notes = 'site'")
    here, records = await back_at_one(world, "notes", "customer_comment")
    assert here == ["site", "centre"]
    assert records == [
        ("customer_comment", "central", "site", "centre", at[10], at[11]),
        ("notes", "here", "site", "centre", at[12], at[11]),
    ]
