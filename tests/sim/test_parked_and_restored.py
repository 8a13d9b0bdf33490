"""What was parked or discarded comes again, after a restore of either side."""

from __future__ import annotations

import pytest

from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import tickets
from tests.sim.test_parked_and_overruled import hidden

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


@pytest.mark.parametrize("between", [True, False])
def test_what_a_site_wrote_once_it_had_heard_is_in_no_conflict_though_the_centre_went_back(
    play, between
):
    async def story(s: Story) -> None:
        await hidden(s, severity=7, note="of the centre", dose=6)
        await s.world.centre_is_backed_up()
        await s.rest(owed=True)  # it is parked, and NORTH has heard
        s.change(2, severity=4, note="seen", dose=7)
        if between:
            await s.rest(owed=True)
            s.change(2, severity=2, note="seen again", dose=10)
        await s.step("drain")
        await s.restore()
        await s.rest(owed=True)
        assert await s.conflicts() == []
        last = (2, "seen again", 10) if between else (4, "seen", 7)
        assert await s.both(2, "severity", "note", "dose") == last

    play(story)


def test_a_report_that_was_discarded_in_the_time_that_the_centre_lost_stays_away(play):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        s.report(30, 3)
        await s.world._rounds()  # its order is missing
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.discard(ticket, "a person")
        s.order(3, code="C3")
        await s.rest()
        await s.restore()
        await s.rest()
        assert await s.count("mes.reports") == 0
        assert await s.count("mes.sync_parked", "state <> 'discarded'") == 0

    play(story)


def test_a_report_that_was_discarded_stays_away_though_its_store_goes_back_and_sends_it_anew(play):
    async def story(s: Story) -> None:
        s.report(30, 3)
        s.copy()  # with the report in its log
        await s.world._rounds()
        assert await s.let_go() == [True]
        s.order(3, code="C3")
        await s.rest()
        s.put_back()
        s.report(31, 3, good=8)
        await s.rest()
        assert await s.world.database.rows("SELECT good FROM mes.reports") == [(8,)]
        assert await s.count("mes.sync_parked", "state <> 'discarded'") == 0
        assert await s.world.database.rows("SELECT row_id::text FROM sync.let_go") == [(id_of(30),)]

    play(story)


@pytest.mark.parametrize("otherwise", ["good", "created_at"])
def test_a_report_that_says_otherwise_than_the_one_discarded_was_let_go_of_by_nobody(
    play, otherwise
):
    async def story(s: Story) -> None:
        s.copy()
        s.report(30, 3)
        await s.world._rounds()
        assert await s.let_go() == [True]
        s.order(3, code="C3")
        await s.rest()
        s.put_back()
        good, created = (8, CREATED) if otherwise == "good" else (7, f"{CREATED[:-2]}9Z")
        s.write(
            "INSERT INTO reports (id, site_id, created_at, order_id, good) VALUES (?, ?, ?, ?, ?)",
            id_of(30), NORTH, created, id_of(3), good,
        )  # fmt: skip
        await s.rest()
        assert await s.world.database.rows("SELECT good FROM mes.reports") == [(good,)]

    play(story)


async def parked_twice(s: Story) -> str:
    """A store goes back and sends a report anew that waits; return the first ticket."""
    s.report(30, 3)
    s.copy()
    await s.world._rounds()
    (ticket,) = await tickets(s)
    await s.back_up_as_it_is()
    s.put_back()
    s.report(31, 4, good=9)
    await s.world._rounds()
    assert await s.count("sync.waiting", f"row_id = '{id_of(30)}'") == 2
    return ticket


@pytest.mark.parametrize("is_restored", [True, False])
def test_a_report_that_waits_twice_is_let_go_of_as_a_whole(play, is_restored):
    async def story(s: Story) -> None:
        ticket = await parked_twice(s)
        assert await s.world.centre.by_hand.discard(ticket, "a person")
        assert await s.count("sync.waiting", f"row_id = '{id_of(30)}'") == 0
        if is_restored:
            await s.world._rounds()
            await s.restore()
            await s.world._rounds()
        s.order(3, code="C3")
        await s.world._rounds()
        assert await s.count("mes.reports") == 0
        states = "SELECT DISTINCT state FROM mes.sync_parked WHERE row_id = %s"
        assert await s.world.database.rows(states, id_of(30)) == [("discarded",)]

    play(story)


def test_a_report_that_a_lost_life_told_of_as_well_is_let_go_of_with_its_record(play):
    """Its first ticket came home as a record alone, beside the second, which waits."""

    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        s.report(30, 3)
        s.copy()  # with the report in its log
        await s.world._rounds()
        s.put_back()
        s.report(31, 1)
        await s.world._rounds()
        await s.restore()
        await s.world._rounds()
        for (ticket,) in await s.world.database.rows("SELECT ticket::text FROM sync.waiting"):
            assert await s.world.centre.by_hand.discard(ticket, "a person")
        assert await s.count("mes.sync_parked", "state <> 'discarded'") == 0
        s.order(3, code="C3")
        await s.world._rounds()
        s.put_back()
        s.report(32, 1)
        await s.rest()
        assert await s.count("mes.reports", f"id = '{id_of(30)}'") == 0

    play(story)
