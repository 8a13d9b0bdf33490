"""A program holds a site's store for longer than the agent waits for it: SQLite is busy."""

from __future__ import annotations

import contextlib

from edge.store import open as opening
from tests.faults.cases import local_orders, planned_orders, state_events
from tests.faults.centre_counts import all_is_there_once
from tests.faults.conftest import SITE
from tests.integration.central_world import execute


async def test_the_agent_waits_for_its_turn_and_nothing_is_lost_in_either_direction(
    world, monkeypatch, caplog
):
    caplog.set_level("INFO", "edge.patience")
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 200)
    edge = world.edges[SITE]
    edge.write(local_orders("A1"), state_events(100))
    with contextlib.closing(edge.program()) as store:
        store.execute("BEGIN IMMEDIATE")
        store.execute(local_orders("A2"))
        await execute(world.url, planned_orders("B1"))
        # Once for what the program wrote before, and once for what the centre has to tell.
        await world.eventually(lambda: _given_up(caplog) >= 2)
        assert edge.read("SELECT count(*) FROM work_orders WHERE order_no = 'B1'") == [(0,)]
        store.execute("COMMIT")
    await world.settle()
    await all_is_there_once(world, events=100, orders=3)


def _given_up(caplog) -> int:
    tries = [each.fields["why"] for each in caplog.records if each.message == "trying again"]
    return sum(why.startswith("StoreBusy") for why in tries)
