"""Rows and transactions larger than a message, in both directions."""

from __future__ import annotations

import random

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.conftest import SITE
from tests.integration.central_world import execute


async def test_rows_that_fill_many_messages_cross_in_both_directions(world):
    edge = world.edges[SITE]
    chance = random.Random(3)
    numbers = [f"A{k}" for k in range(40)]
    edge.write(
        local_orders(*numbers),
        *(
            (
                "UPDATE work_orders SET routing = ? WHERE order_no = ?",
                (f'"{chance.randbytes(60_000).hex()}"', number),
            )
            for number in numbers
        ),
    )
    await execute(
        world.url,
        planned_orders(*(f"B{k}" for k in range(40))),
        "UPDATE mes.work_orders SET routing = to_json((SELECT string_agg(md5(random()::text), '')"
        " FROM generate_series(1, 3900) n)) WHERE order_no LIKE 'B%'",
    )
    await world.settle()
    assert edge.read("SELECT count(*), min(length(routing)) > 100000 FROM work_orders") == [(80, 1)]


async def test_a_transaction_of_many_messages_is_seen_whole_or_not_at_all(world):
    edge = world.edges[SITE]
    edge.write(state_events(150_000), local_orders("with them"))
    seen = set()

    async def all_there() -> bool:
        ((rows, orders),) = await world.central(
            "SELECT (SELECT count(*) FROM mes.equipment_state_events),"
            " (SELECT count(*) FROM mes.work_orders)"
        )
        seen.add((rows, orders))
        return rows == 150_000

    await world.eventually(all_there, timeout_s=120)
    assert seen == {(0, 0), (150_000, 1)}
    await world.settle()
