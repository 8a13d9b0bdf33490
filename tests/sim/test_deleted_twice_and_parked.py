"""A row that its site deleted twice is made anew, and parked: the site is told, and hides it."""

from __future__ import annotations

import pytest

from tests.sim.story import Story, id_of, lab, play

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


@pytest.mark.parametrize("told", ["of the deletions before", "of all at once"])
def test_a_row_made_anew_after_two_deletions_goes_out_of_sight_as_it_is_parked(play, told):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        s.order(2, code="C2")
        await s.step("drain")
        s.write("DELETE FROM orders WHERE id = ?", id_of(2))
        await s.step("drain")
        s.order(2, code="C2")  # made and deleted in one drain: a second deletion is sent
        s.write("DELETE FROM orders WHERE id = ?", id_of(2))
        await s.step("drain")
        if told == "of the deletions before":
            await s.rest()
        s.order(2, code="C1")
        await s.step("drain")
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        assert await s.count("mes.sync_parked", "state = 'parked'") == 1
        assert s.site().read("SELECT id FROM orders WHERE code = 'C1'") == [(id_of(1),)]
        assert s.site().read("SELECT count(*) FROM orders WHERE id = ?", id_of(2)) == [(0,)]

    play(story)
