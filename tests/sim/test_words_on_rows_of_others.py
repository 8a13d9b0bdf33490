"""What the centre wrote on a row of several sites, and lost, where another one knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sim import story as story_of
from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, SOUTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import tickets
from tests.sim.test_restores_in_a_row import killed_before
from tests.sim.test_rows_that_moved_on import a_person, a_rule, names, tried_again
from tests.sim.test_tips_that_wait import back_to_the_newest

if TYPE_CHECKING:
    from typing import Any

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

SHARED_WITH_SOUTH = "UPDATE mes.people SET sites = '[\"SOUTH\"]'"


async def centre(s: Story, text: str, site: str = NORTH) -> None:
    s.world.clock.now_ms += 60_000
    assert await s.world._execute(site, text, [])


async def people(s: Story) -> list[tuple[str, str, str]]:
    return await s.world.database.rows("SELECT home, sites, name FROM mes.people")


def shown(s: Story) -> dict[str, list[tuple[str, str, str]]]:
    return {
        name: site.read("SELECT home, sites, name FROM people")
        for name, site in s.world.sites.items()
    }


async def withheld(s: Story) -> list[tuple[Any, ...]]:
    return await s.world.database.rows(
        "SELECT site, told, held, state FROM sync.withheld ORDER BY lost_ord, noted_at"
    )


async def told_first(s: Story, first: str) -> None:
    await s.step("hello", first)
    await s.rest(owed=True)


@pytest.mark.parametrize("first", [NORTH, SOUTH])
def test_what_was_written_on_a_row_that_another_site_got_since_is_withheld_and_kept(play, first):
    async def story(s: Story) -> None:
        await a_person(s)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET home = 'SOUTH', name = 'new'")
        await s.rest()
        await s.restore()
        await told_first(s, first)
        assert await people(s) == [(NORTH, "[]", "first")]
        assert shown(s) == {NORTH: [(NORTH, "[]", "first")], SOUTH: []}
        told, held = {"home": SOUTH, "name": "new"}, {"home": NORTH, "name": "first"}
        assert await withheld(s) == [(SOUTH, told, held, "open")]

    play(story)


@pytest.mark.parametrize("first", [NORTH, SOUTH])
def test_who_else_gets_a_row_comes_home_whichever_of_its_sites_is_the_first_to_tell(play, first):
    async def story(s: Story) -> None:
        await a_person(s)
        await centre(s, SHARED_WITH_SOUTH)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET sites = '[\"SOUTH\",\"WEST\"]', name = 'new'")
        await s.rest()
        await s.restore()
        await told_first(s, first)
        row = (NORTH, '["SOUTH","WEST"]', "new")
        assert await people(s) == [row]
        assert shown(s) == {NORTH: [row], SOUTH: [row]}
        assert [state for *_, state in await withheld(s)] == ["home"] * (first == SOUTH)
        assert await s.conflicts() == []

    play(story)


def test_a_row_that_a_site_got_since_comes_home_whole_where_its_own_site_tells_it_after(play):
    async def story(s: Story) -> None:
        await a_person(s)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET sites = '[\"SOUTH\"]', name = 'new'")
        await s.rest()
        await s.restore()
        await s.step("hello", SOUTH)
        assert [state for *_, state in await withheld(s)] == ["open"]
        await s.rest(owed=True)
        row = (NORTH, '["SOUTH"]', "new")
        assert shown(s) == {NORTH: [row], SOUTH: [row]}
        assert [state for *_, state in await withheld(s)] == ["home"]
        assert await s.conflicts() == []

    play(story)


async def gone_and_back(s: Story) -> None:
    """Give a row to WEST in the lost time and take it back; SOUTH alone hears of the second."""
    await a_person(s)
    await centre(s, SHARED_WITH_SOUTH)
    await s.back_up()
    await centre(s, 'UPDATE mes.people SET sites = \'["SOUTH","WEST"]\'')
    await s.rest()
    await centre(s, "UPDATE mes.people SET sites = '[\"SOUTH\"]', name = 'third'")
    for step in ("sequence", "publish", "fetch") * 3:
        await s.step(step, SOUTH)
    await s.restore()


def test_of_two_lost_words_the_later_counts_though_the_own_site_knows_the_earlier_one_alone(
    play, monkeypatch
):
    monkeypatch.setattr(story_of, "CONFIG", 3)

    async def story(s: Story) -> None:
        await gone_and_back(s)
        for name in ("WEST", SOUTH, NORTH):
            await s.step("hello", name)
        await s.rest(owed=True)
        row = (NORTH, '["SOUTH"]', "third")
        assert shown(s) == {NORTH: [row], SOUTH: [row], "WEST": []}
        assert [state for *_, state in await withheld(s)] == ["superseded"]

    play(story)


def test_a_later_word_that_takes_back_what_was_confirmed_since_is_withheld_itself(
    play, monkeypatch
):
    monkeypatch.setattr(story_of, "CONFIG", 3)
    both, more = '["SOUTH","WEST"]', '["EAST","SOUTH","WEST"]'

    async def story(s: Story) -> None:
        await a_person(s)
        await centre(s, f"UPDATE mes.people SET sites = '{both}'")
        await s.back_up()
        await centre(s, f"UPDATE mes.people SET sites = '{more}', name = 'second'")
        await s.rest()
        await centre(s, f"UPDATE mes.people SET sites = '{both}', name = 'third'")
        for step in ("sequence", "publish", "fetch") * 3:
            await s.step(step, SOUTH)
        await s.restore()
        for name in ("WEST", NORTH, SOUTH):
            await s.step("hello", name)
        await s.rest(owed=True)
        assert await people(s) == [(NORTH, more, "third")]
        assert [(told, state) for _, told, _, state in await withheld(s)] == [
            ({"sites": more}, "home"), ({"sites": both}, "open"),
        ]  # fmt: skip

    play(story)


def test_what_a_site_saw_before_and_after_is_no_word_of_the_lost_history(play):
    async def story(s: Story) -> None:
        await a_person(s)
        await centre(s, SHARED_WITH_SOUTH)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET name = 'C:\\u0000'")
        for step in ("sequence", "publish", "fetch") * 3:
            await s.step(step, SOUTH)
        await s.restore()
        await centre(s, "UPDATE mes.people SET sites = '[]'")
        await told_first(s, SOUTH)
        assert await people(s) == [(NORTH, "[]", "first")]
        told, held = {"name": "C:\\u0000"}, {"name": "first"}
        assert await withheld(s) == [(SOUTH, told, held, "open")]

    play(story)


def test_what_is_told_again_without_an_order_is_settled_by_no_earlier_word(play):
    async def story(s: Story) -> None:
        await a_person(s)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET name = 'once'")
        await s.rest()
        await centre(s, "UPDATE mes.people SET home = 'SOUTH', name = 'moved'")
        for step in ("hello", "load", "sequence", "publish", "fetch") * 3:
            await s.step(step, SOUTH)
        await s.restore()
        await s.step("hello", SOUTH)
        await back_to_the_newest(s)
        await s.step("hello", SOUTH)
        await s.step("hello", NORTH)
        await s.rest(owed=True)
        assert await people(s) == [(NORTH, "[]", "once")]
        assert ({"home": SOUTH, "name": "moved"}, "open") in [
            (told, state) for _, told, _, state in await withheld(s)
        ]

    play(story)


def test_a_later_word_stays_withheld_where_the_own_site_knows_an_earlier_one(play):
    async def story(s: Story) -> None:
        await a_person(s)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET name = 'once'")
        await s.rest()
        s.copy()
        await centre(s, "UPDATE mes.people SET home = 'SOUTH', name = 'new'")
        await s.rest()
        s.put_back()
        await s.restore()
        await s.step("hello", SOUTH)
        await s.rest(owed=True)
        assert await people(s) == [(NORTH, "[]", "once")]
        assert [(told, state) for _, told, _, state in await withheld(s)] == [
            ({"home": SOUTH, "name": "new"}, "open")
        ]

    play(story)


def test_who_gets_a_row_is_for_a_person_where_somebody_wrote_that_since_the_restore(play):
    async def story(s: Story) -> None:
        await a_person(s)
        await centre(s, SHARED_WITH_SOUTH)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET sites = '[\"SOUTH\",\"WEST\"]', name = 'new'")
        await s.rest()
        await s.restore()
        await centre(s, 'UPDATE mes.people SET sites = \'["EAST","SOUTH"]\'')
        await told_first(s, SOUTH)
        assert await people(s) == [(NORTH, '["EAST","SOUTH"]', "new")]
        assert [(told, state) for _, told, _, state in await withheld(s)] == [
            ({"sites": '["SOUTH","WEST"]'}, "open")
        ]

    play(story)


async def a_person_of_all(s: Story) -> None:
    text = "INSERT INTO mes.people (site_id, created_at, id, home, sites, name) VALUES ('*', %s, %s"
    assert await s.world._execute("*", f"{text}, 'NORTH', '[]', 'first')", [CREATED, id_of(71)])


@pytest.mark.parametrize("first", [NORTH, SOUTH])
def test_who_else_gets_a_row_of_all_is_withheld_and_the_rest_of_it_comes_home(play, first):
    async def story(s: Story) -> None:
        await a_person_of_all(s)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET sites = '[\"SOUTH\"]', name = 'new'", "*")
        await s.rest()
        await s.restore()
        await told_first(s, first)
        assert await people(s) == [(NORTH, "[]", "new")]
        assert [(told, state) for _, told, _, state in await withheld(s)] == [
            ({"sites": '["SOUTH"]'}, "open")
        ]

    play(story)


def test_what_waits_is_not_settled_by_the_record_of_a_row_that_is_withheld(play):
    async def story(s: Story) -> None:
        await a_person_of_all(s)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET name = 'bad'", "*")
        await s.rest()
        await s.restore()
        async with a_rule(s):
            await s.rest(owed=True)
            assert await s.count("sync.waiting", "n = 0") == 1
            await s.world.centre_is_backed_up()
            await tried_again(s)
            await centre(s, "UPDATE mes.people SET home = 'SOUTH'", "*")
            await s.rest(owed=True)
            await back_to_the_newest(s)
            await s.rest(owed=True)
            assert await s.world.database.rows("SELECT state FROM mes.sync_parked") == [("parked",)]
            await tried_again(s)
            assert await names(s) == [(NORTH, "bad")]

    play(story)


@pytest.mark.parametrize("away", [True, False])
def test_what_waits_of_another_sites_word_since_is_not_let_go_of_by_a_site_that_was_away(
    play, away
):
    async def story(s: Story) -> None:
        await a_person(s)
        await centre(s, SHARED_WITH_SOUTH)
        await s.rest()
        async with a_rule(s):
            s.write("UPDATE people SET name = 'bad', phone = 'p1' WHERE id = ?", id_of(70))
            await s.rest(owed=True)
            await s.world.centre_is_backed_up()
            await tried_again(s)
            await back_to_the_newest(s)
            await s.world.centre_is_backed_up()
            for _ in range(3):
                for step in ("hello", "load", "sequence", "publish", "receive"):
                    await s.step(step, SOUTH)
            await back_to_the_newest(s)
        async with a_rule(s):
            await s.step("hello", SOUTH)
            assert await s.count("sync.waiting", "n = 0") == 1
            if away:
                await s.step("hello", NORTH)
                await s.rest(owed=True)
        await tried_again(s)
        assert await names(s) == [(NORTH, "bad")]

    play(story)


def test_what_two_sites_told_of_one_row_and_has_to_wait_is_parked_once_each(play, monkeypatch):
    async def of_all(s: Story, text: str, *given: object) -> None:
        s.world.clock.now_ms += 60_000
        assert await s.world._execute("*", text, list(given))

    async def story(s: Story) -> None:
        new = "INSERT INTO mes.parts (site_id, created_at, id, code, title) VALUES ('*', %s, %s, %s"
        await of_all(s, f"{new}, 'x')", CREATED, id_of(60), "P1")
        await of_all(s, f"{new}, 'x')", CREATED, id_of(61), "P2")
        await s.back_up()
        take = "UPDATE mes.parts SET code = 'P9', title = %s WHERE id = %s"
        await of_all(s, take, "one", id_of(61))
        await s.rest()
        s.copy(SOUTH)
        await of_all(s, take, "two", id_of(61))
        await s.rest()
        s.put_back(SOUTH)
        await s.restore()
        await of_all(s, take, "taken", id_of(60))
        await s.step("hello", NORTH)
        for _ in range(3):
            with killed_before(monkeypatch, "included"):
                await s.step("hello", SOUTH)
        await s.rest(owed=True)
        assert len(await tickets(s)) == 2

    play(story)
