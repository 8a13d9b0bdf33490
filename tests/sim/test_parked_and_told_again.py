"""A store that went back, and has not followed since, tells a centre of what is parked there."""

from __future__ import annotations

import pytest

from tests.sim.catalogue import CREATED, GOOD_MAX
from tests.sim.story import NORTH, Story, id_of, lab, play

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def order_and_report(s: Story) -> None:
    """An order comes with a report that the centre can't take: both are parked."""
    keys = (NORTH, CREATED)
    refused = s.site().write([
        ("INSERT INTO orders (id, site_id, created_at, state, holds, made, note)"
         " VALUES (?, ?, ?, 'planned', '[]', 0, 'of the site')", (id_of(3), *keys)),
        ("INSERT INTO reports (id, site_id, created_at, order_id, good) VALUES (?, ?, ?, ?, ?)",
         (id_of(30), *keys, id_of(3), GOOD_MAX + 1)),
    ])  # fmt: skip
    assert refused == ""
    await s.step("drain")


async def parked(s: Story, table: str) -> str:
    """Return the ticket of the order, which waits for its report, or of the report."""
    ((ticket,),) = await s.world.database.rows(
        "SELECT ticket::text FROM sync.waiting WHERE table_name = %s", table
    )
    return str(ticket)


def test_what_waits_stays_away_though_a_store_that_went_back_tells_of_it(play):
    async def story(s: Story) -> None:
        await order_and_report(s)
        s.order(8)
        s.copy()  # with the order in its log, which is sent before it is put back
        await s.world._rounds()
        ticket = await parked(s, "orders")
        s.put_back()
        await s.world.database_starts()
        await s.rest(owed=True)
        assert homecomings(s) == 1
        assert await s.count("mes.orders", f"id = '{id_of(3)}'") == 0
        assert s.site().read("SELECT id FROM orders WHERE id = ?", id_of(3)) == []
        assert await parked(s, "orders") == ticket
        assert await s.world.centre.by_hand.discard(await parked(s, "reports"), "a person")
        await s.rest()
        assert await s.both(3, "note") == ("of the site",)

    play(story)


def test_what_was_applied_in_a_lost_history_comes_home_with_its_record(play):
    async def story(s: Story) -> None:
        await order_and_report(s)
        await s.world._rounds()
        await s.world.centre_is_backed_up()
        ticket = await parked(s, "orders")
        assert await s.world.centre.by_hand.discard(await parked(s, "reports"), "a person")
        await s.rest()
        assert await s.both(3, "note") == ("of the site",)
        s.order(8)
        s.copy()
        await s.world._rounds()
        s.put_back()
        await s.step("hello")  # it begins an epoch, and has followed nothing since
        await s.restore()
        await s.rest()
        assert homecomings(s) == 1
        assert await s.both(3, "note") == ("of the site",)
        assert await s.count("sync.waiting") == 0
        records = "SELECT state FROM mes.sync_parked WHERE id = %s"
        assert await s.world.database.rows(records, ticket) == [("applied",)]

    play(story)


def homecomings(s: Story) -> int:
    return len(s.site().read("SELECT 1 FROM _sync_event WHERE code = 'MES-CENTRE-RESTORED'"))
