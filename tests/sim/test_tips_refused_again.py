"""What had to wait when it came home has changed nothing, and what became of it says nothing.

Neither of it in the next life, where it may have to wait once more, nor of anything beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sim.story import Story, lab, play
from tests.sim.test_parked_and_counted_on import tickets
from tests.sim.test_tips_that_wait import (
    back_to_the_newest,
    inserted,
    refused,
    tried_again,
    updated,
)

if TYPE_CHECKING:
    from tests.sim.test_tips_that_wait import Setting

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def back(s: Story) -> None:
    """To the newest backup, as often as a story wants."""
    s.world.centre_restores = 0
    await back_to_the_newest(s)


async def is_whole(s: Story) -> None:
    assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")


async def all_tried(s: Story) -> None:
    for ticket in await tickets(s):
        await s.world.centre.by_hand.retry(ticket)
    await s.rest(owed=True)


async def due_refused(s: Story) -> None:
    """A change of many columns comes home, and somebody has taken the key that it brings."""
    s.order(1, code="C1")
    s.order(2, code="C2")
    await s.back_up()
    s.change(2, code="C9", due="D", dose=4, seat=3)
    await s.rest()
    await back(s)
    await s.plan(1, code="C9")
    await s.rest(owed=True)


@pytest.mark.parametrize("written", [inserted, updated])
def test_that_it_was_applied_in_an_earlier_life_settles_nothing_in_the_next(play, written: Setting):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        if written is updated:
            s.order(2, code="C2")
        await s.back_up()
        await written(s)
        for _ in range(2):  # to the same backup
            await back(s)
            await s.plan(1, code="C9")
            await s.rest(owed=True)
            await tried_again(s)
            await is_whole(s)

    play(story)


@pytest.mark.parametrize("written", [inserted, updated])
def test_it_takes_effect_though_it_was_refused_in_two_lives(play, written: Setting):
    async def story(s: Story) -> None:
        s.order(3, code="C3")
        await refused(s, written)
        await s.world.centre_is_backed_up()
        await tried_again(s)
        await back(s)
        await s.plan(1, code="C1")
        await s.plan(3, code="C9")
        await s.rest(owed=True)
        await s.world.centre_is_backed_up()
        await s.plan(3, code="C3")
        await s.rest(owed=True)
        await all_tried(s)
        await is_whole(s)
        await back(s)
        await s.plan(3, code="C3")
        await s.rest(owed=True)
        await is_whole(s)

    play(story)


@pytest.mark.parametrize("by", ["site", "centre", None])
def test_when_it_comes_home_at_last_it_is_in_no_conflict_with_its_own_note(play, by):
    async def story(s: Story) -> None:
        await due_refused(s)
        await s.world.centre_is_backed_up()
        await tried_again(s)
        if by == "site":
            s.change(2, due="E")
            await s.rest()
        await back(s)
        if by == "centre":
            await s.plan(1, code="C1")
            await s.plan(2, shelf="of the centre")
        await s.rest(owed=True)
        if by == "centre":
            await all_tried(s)
        due = "E" if by == "site" else "D"
        assert await s.both(2, "due", "dose", "seat", "code") == (due, 4, 3, "C9")
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("is_discarded", [True, False])
def test_what_is_written_beside_it_is_in_no_conflict_with_it(play, is_discarded):
    async def story(s: Story) -> None:
        await due_refused(s)
        if is_discarded:
            (ticket,) = await tickets(s)
            assert await s.world.centre.by_hand.discard(ticket, "a person")
            await s.rest()
        await s.plan(2, note="of the centre")
        s.change(2, due="E", dose=7, seat=9, made=2)
        await s.rest(owed=True)
        assert await s.both(2, "due", "dose", "seat", "made") == ("E", 7, 9, 2)
        assert await s.conflicts() == []

    play(story)


def test_what_was_built_on_it_takes_effect_though_the_centre_goes_back_to_when_both_waited(play):
    async def story(s: Story) -> None:
        s.order(3, code="C3")
        s.order(1, code="C1")
        s.order(2, code="C2")
        await s.back_up()
        await updated(s)
        s.change(2, made=8, note="later")
        await s.step("drain")
        await s.restore()
        await s.plan(1, code="C9")
        await s.rest(owed=True)
        await s.world.centre_is_backed_up()
        await tried_again(s)
        await back(s)
        await s.plan(1, code="C1")
        await s.plan(3, code="C9")
        await s.rest(owed=True)
        await s.plan(3, code="C3")
        await s.rest(owed=True)
        await all_tried(s)
        assert await s.both(2, "made", "note", "code") == (8, "later", "C9")

    play(story)
