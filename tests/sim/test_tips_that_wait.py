"""What comes home and can't be taken yet keeps its version: it is in no conflict with itself."""

from __future__ import annotations

import pytest

from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import tickets

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


def test_what_the_site_built_on_a_row_that_came_home_before_its_parent_stands(play):
    async def story(s: Story) -> None:
        await s.back_up()
        s.order(2)
        keys = (id_of(50), NORTH, CREATED, id_of(2))
        insert = (
            "INSERT INTO steps (id, site_id, created_at, order_id, seq, note)"
            " VALUES (?, ?, ?, ?, 1, 'first')"
        )
        s.write(insert, *keys)
        await s.rest()
        s.write("UPDATE steps SET seq = 2, note = 'second' WHERE id = ?", id_of(50))
        await s.step("drain")
        s.write("DELETE FROM orders WHERE id = ?", id_of(2))  # nothing of it comes home
        await s.restore()
        await s.rest()
        there = await s.world.database.rows("SELECT seq, note FROM mes.steps")
        assert there == s.site().read("SELECT seq, note FROM steps") == [(2, "second")]
        assert await s.conflicts() == []

    play(story)


def test_a_row_whose_key_was_taken_when_it_came_home_takes_effect_once_when_it_is_tried_again(play):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        s.order(2, code="C9", note="of the site", made=5)
        await s.rest()
        s.change(2, made=8)
        await s.step("drain")
        await s.restore()
        await s.plan(1, code="C9")
        await s.rest(owed=True)
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        first, _ = await tickets(s)  # what was written since waits behind it
        assert await s.world.centre.by_hand.retry(first)
        await s.rest()
        assert await s.both(2, "made", "note", "code") == (8, "of the site", "C9")
        assert await s.conflicts() == []

    play(story)


def test_the_record_of_a_row_that_was_refused_comes_home_where_the_centre_goes_back_once_more(play):
    """The row's transactions alone would not tell what it held: each is a part of it."""

    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        s.order(2, code="C9", note="of the site", made=5)
        await s.rest()
        s.change(2, made=8)
        await s.rest()
        await s.restore()
        await s.plan(1, code="C9")
        await s.rest(owed=True)
        await s.restore()
        await s.plan(1, code="C9")
        await s.rest(owed=True)
        records = await s.world.database.rows("SELECT content->'made' FROM mes.sync_parked")
        assert records == [(8,)]

    play(story)
