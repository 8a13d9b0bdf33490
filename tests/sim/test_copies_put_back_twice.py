"""A copy of a store put back once more, or a copy of a copy: what its log held counts once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import tickets

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


# --- with a restore of the centre between ---------------------------------------------------------


async def back_and_forth(s: Story) -> None:
    """The store goes back, then the centre behind its lost life; then the same copy is there."""
    await s.rest()
    s.put_back()
    await s.step("hello")
    await s.restore()
    for step in ("hello", "send", "ingest"):
        await s.step(step)
    s.put_back()


@pytest.mark.parametrize("written", [{"made": 10}, {"note": "mine"}])
def test_the_same_copy_put_back_on_both_sides_of_a_restore_counts_its_log_once(play, written):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, **written)
        s.copy()
        await back_and_forth(s)
        await s.rest()
        assert await s.both(1, *written) == tuple(written.values())
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("slow_ms", [0, 3_600_000])
def test_what_a_copy_holds_is_its_own_though_it_came_home_in_an_epoch_that_ended(play, slow_ms):
    async def story(s: Story) -> None:
        s.order(1, note="first")
        await s.back_up()
        s.copy()
        s.change(1, seat=1)
        await back_and_forth(s)
        s.world.clock.now_ms -= slow_ms  # the write seems older than the order
        s.change(1, note="second")
        await s.step("hello")
        assert await s.count("sync.version", f"lost AND id = '{id_of(1)}'") == 0
        await s.rest()
        assert await s.both(1, "note") == ("second",)
        assert await s.conflicts() == []

    play(story)


# --- of a life between ----------------------------------------------------------------------------


@pytest.mark.parametrize("row", [1, 2])
@pytest.mark.parametrize("written", [{"made": 10}, {"note": "mine"}])
def test_a_copy_of_a_copy_from_before_its_first_hello_counts_its_log_once(play, row, written):
    async def story(s: Story) -> None:
        s.order(1)
        s.order(2)
        await s.rest()
        s.copy()
        s.change(row, due="x")  # the first life
        await s.rest()
        s.put_back()
        s.change(1, **written)
        s.copy()
        await s.rest()  # the second one sends it
        s.put_back()
        await s.rest()
        assert await s.both(1, *written) == tuple(written.values())
        assert await s.conflicts() == []

    play(story)


def test_what_a_life_between_added_to_the_sum_of_a_copy_before_it_sent_it_stands(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        s.copy()
        s.change(1, due="x")
        await s.rest()
        s.put_back()
        s.change(1, made=10)
        s.copy()
        s.change(1, made=15)
        await s.rest()
        s.put_back()
        await s.rest()
        assert await s.both(1, "made") == (15,)

    play(story)


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    ("drained", "between", "last"), [(None, None, 10), (None, 17, 17), (15, None, 15)]
)
def test_a_newer_copy_that_drained_the_log_of_an_older_one_counts_it_once(
    play, is_new, drained, between, last
):
    """The lost life drained the same log under another name, and sent it."""

    async def story(s: Story) -> None:
        s.order(2 if is_new else 1)
        await s.rest()
        if is_new:
            s.order(1)
        s.change(1, made=10)
        kept = s.site().files.copy()
        older = Path(shutil.copytree(kept, kept.with_name("older")))
        if drained:
            s.change(1, made=drained)
        await s.step("drain")
        newer = s.site().files.copy()
        s.world.copies[NORTH] = older
        s.put_back()
        if between:
            s.change(1, made=between)
        for step in ("hello", "drain", "send", "ingest"):
            await s.step(step)
        assert await s.stands(1, "made") == (between or 10,)
        s.world.copies[NORTH] = newer
        s.put_back()
        await s.rest()
        assert await s.both(1, "made") == (last,)

    play(story)


@pytest.mark.parametrize("slow_ms", [0, 3_600_000])
def test_what_a_copy_held_unsent_is_its_own_though_another_life_has_sent_it_since(play, slow_ms):
    async def story(s: Story) -> None:
        s.order(1, dose=5, note="first")
        await s.rest()
        s.change(1, seat=1)
        s.copy()
        await s.world._rounds()  # a life of which the next knows nothing
        s.put_back()
        s.change(1, dose=6, note="second")
        await s.step("drain")
        s.copy()
        await s.world._rounds()  # it is sent, in an epoch of that life
        s.put_back()
        s.world.clock.now_ms -= slow_ms  # what is built on it seems older
        s.change(1, dose=7, note="third")
        await s.step("drain")
        await s.plan(1, due="soon")
        await s.rest()
        assert await s.both(1, "dose", "note", "due") == (7, "third", "soon")
        assert await s.conflicts() == []

    play(story)


def test_what_a_life_has_sent_that_no_copy_held_is_not_its_own(play):
    async def story(s: Story) -> None:
        s.order(1, dose=5)
        await s.rest()
        s.change(1, seat=1)
        s.copy()
        await s.world._rounds()
        s.put_back()
        s.change(1, note="second")
        await s.step("drain")
        s.copy()
        s.change(1, dose=6)  # the next life knows nothing of it
        await s.world._rounds()
        s.put_back()
        s.change(1, dose=7)
        await s.step("drain")
        await s.rest()
        assert await s.both(1, "note", "dose") == ("second", 6)  # the smaller is safe
        assert await s.conflicts() == [("dose", '{"dose":7}', '{"dose":6}')]

    play(story)


async def alike(s: Story, **of_the_first: Any) -> None:
    """Two lives of a copy drain with one clock: the store's was ahead once, and is set right."""
    s.world.clock.skew[NORTH] = 3_600_000
    s.order(1, severity=1, dose=5)
    await s.rest()
    s.world.clock.skew[NORTH] = 0
    s.copy()
    s.change(1, **of_the_first)  # no copy holds it
    await s.world._rounds()
    s.put_back()
    s.change(1, seat=2)
    await s.step("drain")
    s.copy()
    await s.world._rounds()
    s.put_back()


def test_a_deletion_of_what_another_life_wrote_with_the_same_clock_is_for_a_person(play):
    async def story(s: Story) -> None:
        await alike(s, dose=4)
        s.write("DELETE FROM orders WHERE id = ?", id_of(1))
        await s.step("drain")
        await s.rest()
        assert await s.count("mes.orders") == 1
        assert await s.count("mes.sync_conflicts", "verdict = 'review'") == 1

    play(story)


def test_a_write_on_what_another_life_wrote_with_the_same_clock_is_in_conflict_with_it(play):
    async def story(s: Story) -> None:
        await alike(s, dose=4, severity=9)
        s.change(1, dose=7, severity=3)
        await s.step("drain")
        await s.rest()
        assert await s.both(1, "severity", "dose") == (9, 4)
        records = "SELECT column_group, verdict FROM mes.sync_conflicts ORDER BY 1"
        found = await s.world.database.rows(records)
        assert found == [("alarm", "central"), ("dose", "review")]

    play(story)


@pytest.mark.parametrize("is_discarded", [True, False])
def test_what_another_life_wrote_is_not_the_stores_own_where_its_own_change_is_parked(
    play, is_discarded
):
    async def story(s: Story) -> None:
        s.world.clock.skew[NORTH] = 3_600_000
        s.order(1, severity=1, dose=5)
        s.order(2, code="C1")
        await s.rest()
        s.world.clock.skew[NORTH] = 0
        s.copy()
        s.change(1, dose=4)
        await s.world._rounds()
        s.put_back()
        await s.plan(2, code="C9")
        s.change(1, seat=2, code="C9")  # with the same clock, and it leaves no version
        await s.step("drain")
        s.copy()
        await s.world._rounds()
        s.put_back()
        s.write("DELETE FROM orders WHERE id = ?", id_of(1))
        await s.step("drain")
        await s.rest(owed=True)
        first, *_ = await tickets(s)
        if is_discarded:
            assert await s.world.centre.by_hand.discard(first, "a person")
        else:
            await s.plan(2, code="C1")
            await s.rest(owed=True)
            assert await s.world.centre.by_hand.retry(first)
        await s.rest(owed=True)
        assert await s.count("mes.orders", f"id = '{id_of(1)}'") == 1
        assert await s.count("mes.sync_conflicts", "verdict = 'review'") == 1

    play(story)
