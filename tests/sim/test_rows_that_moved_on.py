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


async def a_part_waits(s: Story) -> None:
    """Have a change of a part of all refused as it comes home, and back that up."""
    new = "INSERT INTO mes.parts (site_id, created_at, id, code, title) VALUES ('*', %s, %s, %s"
    for number, code in ((60, "P1"), (61, "P2")):
        await of_all(s, f"{new}, 'x')", CREATED, id_of(number), code)
    await s.back_up()
    await of_all(s, "UPDATE mes.parts SET code = 'P9', title = 'new' WHERE id = %s", id_of(61))
    await s.rest()
    await s.restore()
    await of_all(s, "UPDATE mes.parts SET code = 'P9' WHERE id = %s", id_of(60))
    await s.rest(owed=True)
    await s.world.centre_is_backed_up()


async def of_all(s: Story, text: str, *given: object) -> None:
    s.world.clock.now_ms += 60_000
    assert await s.world._execute("*", text, list(given))


async def freed_and_tried(s: Story) -> list[bool]:
    await of_all(s, "UPDATE mes.parts SET code = 'P1' WHERE id = %s", id_of(60))
    await s.rest(owed=True)
    done = [await s.world.centre.by_hand.retry(ticket) for ticket in await tickets(s)]
    await s.rest(owed=True)
    s.world.clock.now_ms += 60_000
    return done


def test_a_change_of_a_row_of_all_that_was_deleted_since_waits_on_and_can_be_tried(play):
    async def story(s: Story) -> None:
        await a_part_waits(s)
        assert await freed_and_tried(s) == [True]
        await of_all(s, "DELETE FROM mes.parts WHERE id = %s", id_of(61))
        await s.rest(owed=True)
        await back_to_the_newest(s)
        await s.rest(owed=True)
        assert await s.count("sync.waiting") == 1
        assert await freed_and_tried(s) == [True]
        assert await s.count("mes.parts", "title = 'new'") == 1

    play(story)


_NO_REMOVAL = (
    b"CREATE FUNCTION public.no_removal() RETURNS trigger LANGUAGE plpgsql AS"
    b" $$ BEGIN RAISE check_violation USING MESSAGE = 'no removal'; END $$;"
    b" CREATE TRIGGER no_removal BEFORE DELETE ON mes.%s FOR EACH ROW"
    b" EXECUTE FUNCTION public.no_removal()"
)
_REMOVAL = b"DROP FUNCTION IF EXISTS public.no_removal CASCADE"


@pytest.mark.parametrize("table", ["people", "orders"])
@pytest.mark.parametrize("by", ["feed", "snapshot"])
def test_a_removal_that_a_rule_of_the_plant_refused_comes_home_or_waits_on(play, table, by):
    async def story(s: Story) -> None:
        admin = s.world.database.admin
        if table == "people":
            await a_person(s)
        else:
            s.order(70, code="C2")
            await s.rest()
        await admin.execute(_NO_REMOVAL % table.encode())
        try:
            s.write(f"DELETE FROM {table} WHERE id = ?", id_of(70))
            await s.rest(owed=True)
            await s.world.centre_is_backed_up()
        finally:
            await admin.execute(_REMOVAL)
        s.site().program.execute(
            f"CREATE TRIGGER keeps BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'kept'); END"
        )
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        if by == "snapshot":
            s.site().store.want_snapshot("a test", s.world.clock.here())
            await s.step("sequence")
            await s.step("load")
        await s.world._rounds()
        await back_to_the_newest(s)
        await s.world._rounds()
        stands, waits = await s.count(f"mes.{table}"), await s.count("sync.waiting")
        assert (stands, waits) == ((0, 0) if (table, by) == ("orders", "feed") else (1, 1))

    play(story)
