"""What was parked of a row that several sites share, and took effect before the row went on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, SOUTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import tickets
from tests.sim.test_tips_that_wait import back_to_the_newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

_PERSON = (
    "INSERT INTO people (id, site_id, created_at, home, sites, name) VALUES (?,?,?,?,'[]','first')"
)
_FREE = b"ALTER TABLE mes.people DROP CONSTRAINT IF EXISTS no_bad_name"


@asynccontextmanager
async def a_rule(s: Story) -> AsyncIterator[None]:
    """Refuse a name at the centre, until somebody takes the rule away."""
    admin = s.world.database.admin
    await admin.execute(
        b"ALTER TABLE mes.people ADD CONSTRAINT no_bad_name CHECK (name <> 'bad') NOT VALID"
    )
    try:
        yield
    finally:
        await admin.execute(_FREE)


async def a_person(s: Story) -> None:
    s.write(_PERSON, id_of(70), NORTH, CREATED, NORTH)
    await s.rest()


async def tried_again(s: Story) -> None:
    await s.world.database.admin.execute(_FREE)
    for ticket in await tickets(s):
        await s.world.centre.by_hand.retry(ticket)
    await s.rest(owed=True)
    s.world.clock.now_ms += 60_000


async def names(s: Story) -> list[tuple[str, str]]:
    return await s.world.database.rows("SELECT home, name FROM mes.people")


@pytest.mark.parametrize(
    "moved", ["UPDATE mes.people SET home = 'WEST'", "UPDATE mes.people SET home = 'SOUTH'",
              "DELETE FROM mes.people"],
)  # fmt: skip
def test_a_change_of_a_row_that_is_not_here_any_more_waits_on_and_can_be_tried(play, moved):
    async def story(s: Story) -> None:
        await a_person(s)
        async with a_rule(s):
            s.write("UPDATE people SET name = 'bad', phone = 'p1' WHERE id = ?", id_of(70))
            await s.rest(owed=True)
            await s.world.centre_is_backed_up()
            await tried_again(s)
            assert await s.world._execute(NORTH, moved, [])
            await s.rest(owed=True)
            await back_to_the_newest(s)
            await s.rest(owed=True)
            assert await s.count("sync.waiting") == 1
            await tried_again(s)
            assert await names(s) == [(NORTH, "bad")]
            assert s.site().read("SELECT name, phone FROM people") == [("bad", "p1")]

    play(story)


@pytest.mark.parametrize("first", [NORTH, SOUTH])
def test_what_another_site_told_of_a_row_waits_on_where_its_owner_hears_that_it_was_applied(
    play, first
):
    async def story(s: Story) -> None:
        await a_person(s)
        assert await s.world._execute(NORTH, "UPDATE mes.people SET home = 'SOUTH'", [])
        await s.rest()
        await s.back_up()
        assert await s.world._execute(NORTH, "UPDATE mes.people SET name = 'bad'", [])
        await s.rest()
        await s.restore()
        async with a_rule(s):
            await s.rest(owed=True)
            assert await s.count("sync.waiting", "n = 0") == 1
            await s.world.centre_is_backed_up()
            await tried_again(s)
            assert await names(s) == [(SOUTH, "bad")]
            await back_to_the_newest(s)
            await s.step("hello", first)
            await s.rest(owed=True)
            await tried_again(s)
            assert await names(s) == [(SOUTH, "bad")]

    play(story)


def test_a_change_that_was_parked_after_the_backup_is_done_again_and_its_record_stays(play):
    async def story(s: Story) -> None:
        await a_person(s)
        await s.back_up()
        async with a_rule(s):
            s.write("UPDATE people SET name = 'bad', phone = 'p1' WHERE id = ?", id_of(70))
            await s.rest(owed=True)
            await tried_again(s)
            assert await s.world._execute(NORTH, "UPDATE mes.people SET home = 'WEST'", [])
            await s.rest(owed=True)
            await s.restore()
            await s.rest(owed=True)
        assert await names(s) == [(NORTH, "bad")]
        records = await s.world.database.rows("SELECT state FROM mes.sync_parked")
        assert records == s.site().read("SELECT state FROM sync_parked") == [("applied",)]

    play(story)
