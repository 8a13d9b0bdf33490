"""A column is renamed, and one end goes back to before: what was frozen under the name of then."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.catalogue import NEW, OLD
from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import of_two_orders, tickets

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


def test_a_count_that_is_owed_counts_once_where_its_column_is_renamed_and_the_centre_goes_back(
    play: Any,
) -> None:
    async def story(s: Story) -> None:
        s.begin_with(OLD)
        await s.rest()
        s.order(1)
        await s.back_up()
        s.change(1, note="since")
        await s.rest()
        s.change(1, made=7)
        s.site().drain()  # and the line is down
        s.site().restart(NEW)
        await s.restore()
        await s.rest()
        assert await s.both(1, "made", "note") == (7, "since")

    play(story)


@pytest.mark.parametrize("later", [0, 3])
def test_a_store_put_back_to_a_copy_of_before_a_rename_agrees_and_counts_once(
    play: Any, later: int
) -> None:
    async def story(s: Story) -> None:
        s.begin_with(OLD)
        await s.rest()
        s.order(1)
        await s.rest()
        s.change(1, made=7)
        s.copy()  # it holds that in its log
        await s.rest()
        s.site().catalog = NEW
        s.put_back()
        if later:
            s.change(1, made=7 + later)
        await s.rest()
        assert await s.both(1, "made") == (7 + later,)

    play(story)


def test_what_a_site_of_the_release_before_brings_home_stands_under_the_names_of_now(
    play: Any,
) -> None:
    async def story(s: Story) -> None:
        s.begin_with(OLD)
        await s.back_up()
        s.order(1, made=4, changed_by="ann")
        await s.rest()
        await s.restore()
        await s.rest()
        assert await s.stands(1, "made", "changed_by") == (4, "ann")
        assert s.shown(1, "counted", "worker_no") == (4, "ann")

    play(story)


def test_what_was_taken_out_before_a_rename_counts_once_though_the_centre_goes_back_as_well(
    play: Any,
) -> None:
    async def story(s: Story) -> None:
        s.begin_with(OLD)
        await s.rest()
        s.order(1)
        await s.back_up()
        s.change(1, made=7)
        s.copy()
        await s.rest()
        s.put_back()
        await s.step("hello")  # taken out, and its snapshot is not loaded
        assert s.site().read("SELECT count(*) FROM _sync_taken") == [(1,)]
        s.site().restart(NEW)
        await s.restore()
        await s.rest()
        assert await s.both(1, "made") == (7,)

    play(story)


def test_a_count_that_is_parked_under_an_earlier_name_is_not_sent_again_by_a_copy_that_held_it(
    play: Any,
) -> None:
    async def story(s: Story) -> None:
        s.begin_with(OLD)
        await s.rest()
        await of_two_orders(s)
        s.change(2, code="C9", made=5)
        s.copy()  # it holds that in its log
        await s.rest(owed=True)
        assert await s.count("mes.sync_parked", "state = 'parked'") == 1
        s.site().catalog = NEW
        s.put_back()
        await s.rest(owed=True)
        await s.plan(1, code="C1")
        for ticket in await tickets(s):
            await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        assert await s.both(2, "made", "code") == (5, "C9")

    play(story)


async def as_the_release_before(s: Story) -> None:
    """What programs of the centre replaced was noted before the centre's column was renamed."""
    await s.world.database.admin.execute(
        "UPDATE sync.version SET replaced = replaced - 'made'"
        " || jsonb_build_object('counted', replaced -> 'made') WHERE replaced ? 'made'"
    )


def test_what_comes_home_meets_a_count_of_the_centre_from_before_a_rename(play: Any) -> None:
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, made=7)
        await s.rest()
        await s.restore()
        await s.plan(1, made=5)
        await as_the_release_before(s)
        await s.rest()
        assert await s.both(1, "made") == (12,)

    play(story)


def test_a_row_that_a_review_brings_back_holds_what_was_counted_before_a_rename(play: Any) -> None:
    async def story(s: Story) -> None:
        s.order(1, made=4, dose=10)
        await s.rest()
        s.change(1, dose=20)
        deleted = "DELETE FROM mes.orders WHERE id = %s"
        assert await s.world._execute(NORTH, deleted, [id_of(1)])
        await as_the_release_before(s)
        await s.rest()
        assert await s.both(1, "made") == (4,)

    play(story)
