"""A write is parked, its site counts on, and somebody tries it again: all counts, exactly once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, Story, id_of, lab, play

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def of_two_orders(s: Story, **values: Any) -> None:
    """Make two orders; the centre gives the first the code C9, which NORTH has not heard of."""
    s.order(1, code="C1")
    s.order(2, code="C2")
    if values:
        s.change(2, **values)
    await s.rest()
    await s.plan(1, code="C9")


async def park(s: Story, **values: Any) -> None:
    """NORTH wants the code too: its change of the second order is parked, and taken back there."""
    s.change(2, code="C9", **values)
    await s.rest(owed=True)
    assert await s.count("mes.sync_parked", "state = 'parked'") == 1


async def tickets(s: Story) -> list[str]:
    rows = await s.world.database.rows("SELECT id::text FROM mes.sync_parked ORDER BY n")
    return [ticket for (ticket,) in rows]


async def try_again(s: Story) -> bool:
    """The code is free again, and a person tries the first ticket."""
    await s.plan(1, code="C1")
    await s.rest(owed=True)
    first, *_ = await tickets(s)
    return await s.world.centre.by_hand.retry(first)


async def of_counts(s: Story) -> list[tuple[Any, ...]]:
    """Return what the history says of the counter: verdict, values of both, the sum, and who."""
    return await s.world.database.rows(
        "SELECT verdict, here_value->>'made', central_value->>'made', result_value->>'made',"
        " here_site, central_site FROM mes.sync_conflicts WHERE column_group = 'made' ORDER BY id"
    )


@pytest.mark.parametrize("later", [5, 3])
def test_a_parked_count_and_a_later_one_of_its_site_both_count(play, later):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=5)
        assert await s.both(2, "made") == (0,)
        s.change(2, made=later)  # from 0: that is what it is shown
        await s.rest(owed=True)
        assert await try_again(s)
        await s.rest()
        assert await s.both(2, "made", "code") == (5 + later, "C9")
        assert await of_counts(s) == [("merged", "5", str(later), str(5 + later), NORTH, NORTH)]

    play(story)


def test_a_ticket_that_is_tried_twice_counts_once(play):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=5)
        s.change(2, made=3)
        await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert not await s.world.centre.by_hand.retry(ticket)  # the code is still taken
        assert await s.stands(2, "made") == (3,)
        assert await try_again(s)
        assert not await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        assert await s.both(2, "made") == (8,)

    play(story)


@pytest.mark.parametrize("of_both", [True, False])
def test_what_was_counted_on_before_the_site_heard_counts_from_there(play, of_both):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        s.change(2, code="C9", made=5)
        await s.step("drain")
        s.change(2, made=8)  # three more, on what is going to be parked: it waits behind that
        await s.step("drain")
        await s.rest(owed=True)
        assert await s.both(2, "made") == (0,)
        s.change(2, made=4)  # and four on what it is shown then
        await s.rest(owed=True)
        assert await s.both(2, "made") == (4,)
        if of_both:
            assert await try_again(s)
        else:
            first, _ = await tickets(s)
            assert await s.world.centre.by_hand.discard(first, "a person")
        await s.rest()
        assert await s.both(2, "made") == (12 if of_both else 7,)
        states = await s.world.database.rows("SELECT state FROM mes.sync_parked ORDER BY n")
        assert states == [("applied" if of_both else "discarded",), ("applied",)]

    play(story)


def test_a_count_that_comes_after_the_ticket_was_tried_again_counts_too(play):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=5)
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        s.change(2, made=4)  # from 0, and on its way while the other one is applied
        await s.step("drain")
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        assert await s.stands(2, "made") == (5,)
        await s.rest()
        assert await s.both(2, "made") == (9,)

    play(story)


def test_counts_of_the_site_and_of_the_centre_all_count_beside_a_parked_one(play):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=5)
        s.change(2, made=3)
        await s.rest(owed=True)
        await s.plan(2, made=10)  # seven more, by a planner
        await s.rest(owed=True)
        s.change(2, made=9)  # one less
        await s.rest(owed=True)
        assert await try_again(s)
        await s.rest()
        assert await s.both(2, "made") == (14,)

    play(story)


def test_a_sum_that_its_column_cannot_hold_stays_parked(play):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=50)
        s.change(2, made=20)
        await s.rest(owed=True)
        assert not await try_again(s)
        await s.rest(owed=True)
        assert await s.both(2, "made", "code") == (20, "C2")
        (told,) = await s.world.database.rows("SELECT state, reason FROM mes.sync_parked")
        assert told == ("parked", "invalid_value")
        s.change(2, made=2)
        await s.rest(owed=True)
        assert await try_again(s)
        await s.rest()
        assert await s.both(2, "made", "code") == (52, "C9")

    play(story)


def test_a_discarded_count_does_not_count(play):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=5)
        s.change(2, made=3)
        await s.rest(owed=True)
        assert await s.let_go() == [True]
        (ticket,) = await tickets(s)
        assert not await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        assert await s.both(2, "made", "code") == (3, "C2")

    play(story)


def test_a_count_on_a_row_that_its_site_made_anew_is_on_record_and_does_not_count(play):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=5)
        s.write("DELETE FROM orders WHERE code = 'C2'")
        await s.rest(owed=True)
        s.order(2, code="C2")
        s.change(2, made=5)
        await s.rest(owed=True)
        assert await try_again(s)
        await s.rest()
        assert await s.both(2, "made", "code") == (5, "C2")
        assert await of_counts(s) == [("central", "5", "5", "5", NORTH, NORTH)]

    play(story)


def test_what_both_put_into_a_set_is_in_it_and_what_either_took_out_is_not(play):
    async def story(s: Story) -> None:
        await of_two_orders(s, holds='["a","b","c"]')
        await park(s, holds='["b","c","x"]')
        s.change(2, holds='["a","b","y"]')
        await s.rest(owed=True)
        assert await try_again(s)
        await s.rest()
        assert await s.both(2, "holds") == ('["b","x","y"]',)

    play(story)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(("parked", "later"), [("done", "released"), ("released", "done")])
def test_a_state_is_as_far_along_as_either_write_whichever_is_applied_first(
    play, parked, later, is_first
):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, state=parked)
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        s.change(2, state=later)
        await s.step("drain")
        if not is_first:
            await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        assert await s.both(2, "state", "code") == ("done", "C9")

    play(story)


def test_a_state_that_its_site_went_on_to_does_not_go_back_by_an_older_release(play):
    async def story(s: Story) -> None:
        await of_two_orders(s, state="running")
        s.write(
            "INSERT INTO releases (id, site_id, created_at, order_id, from_state, to_state)"
            " VALUES (?, ?, ?, ?, 'running', 'planned')",
            id_of(9), NORTH, CREATED, id_of(2),
        )  # fmt: skip
        await park(s, state="planned")
        s.change(2, state="done")
        await s.rest(owed=True)
        assert await try_again(s)
        await s.rest()
        assert await s.both(2, "state", "code") == ("done", "C9")
        assert [group for group, *_ in await s.conflicts()] == ["state"]

    play(story)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_later_value_stands_though_it_is_smaller_and_both_are_on_record(play, is_first):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, severity=5)
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        s.change(2, severity=3)  # a site corrects its own
        await s.step("drain")
        if not is_first:
            await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        assert await s.both(2, "severity", "code") == (3, "C9")
        ((group, here, central),) = await s.conflicts()
        assert (group, "5" in here + central, "3" in here + central) == ("alarm", True, True)

    play(story)
