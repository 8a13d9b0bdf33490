"""A store that went back tells of its own what the centre decided otherwise, and undoes nothing.

A copy holds a change drained and unsent, and another in its log. Once it is put back the server is
started anew as it was: the centre can't tell what is lost, so the store brings home what it shows.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import tickets
from tests.sim.test_parked_and_told_again import homecomings

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def held(s: Story, **values: Any) -> None:
    s.order(1, note="first", due="first", severity=1, dose=5)
    await s.rest()
    s.change(1, **values)
    await s.step("drain")
    s.order(8)
    s.copy()


async def comes_home(s: Story) -> None:
    s.put_back()
    await s.world.database_starts()
    await s.rest(owed=True)
    assert homecomings(s) == 1


@pytest.mark.parametrize(
    ("name", "of_site", "of_centre"),
    [("made", 5, 3), ("note", "s", "c"), ("due", "s", "c"), ("severity", 3, 7), ("dose", 9, 4)],
)
def test_what_was_merged_stays_as_it_was_decided(play, name, of_site, of_centre):
    async def story(s: Story) -> None:
        await held(s, **{name: of_site})
        await s.plan(1, **{name: of_centre})
        await s.rest()
        before, records = await s.both(1, name), await s.conflicts()
        await comes_home(s)
        assert (await s.both(1, name), await s.conflicts()) == (before, records)

    play(story)


def test_what_the_centre_deleted_stays_away(play):
    async def story(s: Story) -> None:
        await held(s, note="site")
        assert await s.world._execute(NORTH, "DELETE FROM mes.orders WHERE id = %s", [id_of(1)])
        await s.rest()
        assert await s.count("mes.orders", f"id = '{id_of(1)}'") == 0
        await comes_home(s)
        assert await s.count("mes.orders", f"id = '{id_of(1)}'") == 0

    play(story)


def test_what_a_person_discarded_stays_away(play):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.rest()
        await s.plan(1, code="C9")
        s.order(3, code="C9")
        await s.step("drain")
        s.order(8)
        s.copy()
        await s.world._rounds()
        assert await s.let_go() == [True]
        await s.plan(1, code="C1")
        await s.rest()
        await comes_home(s)
        assert await s.count("mes.orders", f"id = '{id_of(3)}'") == 0
        assert s.site().read("SELECT id FROM orders WHERE id = ?", id_of(3)) == []

    play(story)


def test_what_was_parked_once_stays_as_it_was_decided_since(play):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.rest()
        await s.plan(1, code="C9")
        s.order(3, code="C9", note="of the site")
        await s.step("drain")
        await s.world._rounds()
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        s.order(8)
        s.copy()  # it has heard that it took effect
        await s.plan(3, note="of the centre")
        await s.rest()
        ((tx_id,),) = await s.world.database.rows(
            "SELECT tx_id::text FROM mes.sync_parked WHERE id = %s", ticket
        )
        # As the retention does, once it is old enough.
        text = b"DELETE FROM sync.version WHERE version = %s"
        await s.world.database.admin.execute(text, [tx_id])
        await comes_home(s)
        assert await s.both(3, "note") == ("of the centre",)

    play(story)
