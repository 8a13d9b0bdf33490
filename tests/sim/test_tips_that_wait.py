"""What comes home and can't be taken yet waits under its version, and takes effect once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import of_two_orders, park, tickets
from tests.sim.test_parked_and_told_again import cut_before_records
from tests.sim.test_records_and_rows import loads_records_alone
from tests.sim.test_restores_in_a_row import killed_before

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Setting = Callable[[Story], Awaitable[None]]

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

_STEP = (
    "INSERT INTO steps (id, site_id, created_at, order_id, seq, note) VALUES (?,?,?,?,1,'first')"
)


async def inserted(s: Story) -> None:
    s.order(2, code="C9", note="of the site", made=5)
    await s.rest()


async def updated(s: Story) -> None:
    s.change(2, code="C9", note="of the site", made=5)
    await s.rest()


async def refused(s: Story, written: Setting) -> None:
    """An order comes home after a restore, and somebody has taken its key before it."""
    s.order(1, code="C1")
    if written is updated:
        s.order(2, code="C2")
    await s.back_up()
    await written(s)
    await s.restore()
    await s.plan(1, code="C9")
    await s.rest(owed=True)
    assert await s.count("sync.waiting", "reason = 'key_taken' AND n = 0") == 1


async def tried_again(s: Story) -> None:
    """The key is free again, and a person has what waits for it tried again."""
    await s.plan(1, code="C1")
    await s.rest(owed=True)
    first, *_ = await tickets(s)
    assert await s.world.centre.by_hand.retry(first)
    await s.rest()


async def back_to_the_newest(s: Story) -> None:
    s.world.backups[:] = s.world.backups[-1:]
    s.world.newer.clear()
    await s.restore()


@pytest.mark.parametrize("written", [inserted, updated])
def test_a_row_whose_key_was_taken_when_it_came_home_is_in_no_conflict_with_itself(
    play, written: Setting
):
    async def story(s: Story) -> None:
        await refused(s, written)
        await tried_again(s)
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("written", [inserted, updated])
@pytest.mark.parametrize("builds_on", [True, False])
def test_it_takes_effect_once_though_the_centre_goes_back_to_when_it_waited(
    play, written: Setting, builds_on
):
    async def story(s: Story) -> None:
        await refused(s, written)
        await s.world.centre_is_backed_up()
        await tried_again(s)
        if builds_on:
            s.change(2, made=8, note="later")
            await s.rest()
        await back_to_the_newest(s)
        await s.rest()
        made, note = (8, "later") if builds_on else (5, "of the site")
        assert await s.both(2, "made", "note", "code") == (made, note, "C9")
        assert await s.count("sync.waiting") == 0

    play(story)


def test_it_waits_once_however_often_it_is_told(play, monkeypatch):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        await inserted(s)
        await s.restore()
        await s.plan(1, code="C9")
        for _ in range(2):
            with killed_before(monkeypatch, "included"):
                await s.step("hello")
            assert len(await tickets(s)) == 1
        await s.rest(owed=True)
        assert len(await tickets(s)) == 1

    play(story)


def test_what_the_site_had_built_on_it_waits_behind_it(play):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        s.order(2, code="C2")
        await s.back_up()
        await updated(s)
        s.change(2, made=8, note="later")
        await s.step("drain")
        await s.restore()
        await s.plan(1, code="C9")
        await s.rest(owed=True)
        assert await s.both(2, "made", "note", "code") == (0, None, "C2")
        await tried_again(s)
        assert await s.both(2, "made", "note", "code") == (8, "later", "C9")
        assert await s.conflicts() == []

    play(story)


async def with_step(s: Story) -> None:
    """An order comes home that can't be taken, with a step that waits for it."""
    s.order(1, code="C1")
    await s.back_up()
    s.order(2, code="C9", note="of the site", made=5)
    s.write(_STEP, id_of(50), NORTH, CREATED, id_of(2))
    await s.rest()
    await s.restore()
    await s.plan(1, code="C9")
    await s.rest(owed=True)


def test_it_waits_under_one_ticket_though_it_is_refused_again_and_its_record_is_yet_to_come(
    play, monkeypatch
):
    async def story(s: Story) -> None:
        s.order(3, code="C3")
        await refused(s, updated)
        await s.world.centre_is_backed_up()
        (first,) = await tickets(s)
        await tried_again(s)
        await back_to_the_newest(s)
        await s.plan(1, code="C8")
        await s.plan(3, code="C9")  # refused again, beside what waits in the backup
        await cut_before_records(s, monkeypatch)
        ((second,),) = await s.world.database.rows("SELECT ticket::text FROM sync.waiting")
        assert second != first
        assert not await s.world.centre.by_hand.retry(first)
        await s.plan(3, code="C7")
        assert await s.world.centre.by_hand.retry(second)
        await s.rest()
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")

    play(story)


def test_with_it_comes_what_waited_for_it(play):
    async def story(s: Story) -> None:
        await with_step(s)
        await s.world.centre_is_backed_up()
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        for ticket in await tickets(s):
            await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        await back_to_the_newest(s)
        await s.rest()
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")
        assert await s.count("mes.steps") == 1

    play(story)


@pytest.mark.parametrize("by_site", [True, False])
@pytest.mark.parametrize("is_discarded", [True, False])
def test_what_was_written_beside_it_stands_though_the_centre_goes_back_once_more(
    play, by_site, is_discarded
):
    async def story(s: Story) -> None:
        await refused(s, updated)
        await s.world.centre_is_backed_up()
        if by_site:
            s.change(2, note="later", made=3)
        else:
            await s.plan(2, note="later", made=3)
        await s.rest(owed=True)
        await back_to_the_newest(s)
        await s.rest(owed=True)
        assert await s.both(2, "made", "note", "code") == (3, "later", "C2")
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        first, *_ = await tickets(s)
        hand = s.world.centre.by_hand
        assert await (hand.discard(first, "a person") if is_discarded else hand.retry(first))
        await s.rest()
        assert (await s.both(2, "made", "note"))[1] == "later"
        assert await s.both(2, "made") == ((3,) if is_discarded else (8,))

    play(story)


def test_what_the_site_built_on_a_row_that_came_home_before_its_parent_stands(play):
    async def story(s: Story) -> None:
        await s.back_up()
        s.order(2)
        s.write(_STEP, id_of(50), NORTH, CREATED, id_of(2))
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


def test_a_row_of_the_centres_that_a_site_brought_home_is_taken_when_its_key_is_free(play):
    async def story(s: Story) -> None:
        part = (
            "INSERT INTO mes.parts (site_id, created_at, id, code, title)"
            " VALUES ('*', %s, %s, %s, 'x')"
        )
        rename = "UPDATE mes.parts SET code = %s WHERE id = %s"
        assert await s.world._execute("*", part, [CREATED, id_of(60), "P1"])
        await s.back_up()
        assert await s.world._execute("*", part, [CREATED, id_of(61), "P9"])
        await s.rest()
        await s.restore()
        assert await s.world._execute("*", rename, ["P9", id_of(60)])
        await s.rest(owed=True)
        s.world.clock.now_ms += 60_000
        assert await s.world._execute("*", rename, ["P1", id_of(60)])
        await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        there = await s.world.database.rows("SELECT code FROM mes.parts ORDER BY code")
        assert there == s.site().read("SELECT code FROM parts ORDER BY code") == [("P1",), ("P9",)]

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
        for _ in range(2):
            await s.restore()
            await s.plan(1, code="C9")
            await s.rest(owed=True)
        records = await s.world.database.rows("SELECT content->'made' FROM mes.sync_parked")
        assert records == [(8,)]

    play(story)


@pytest.mark.parametrize("written", [inserted, updated])
def test_its_record_is_there_though_a_load_brought_no_more_than_that_it_was_applied(
    play, monkeypatch, written: Setting
):
    async def story(s: Story) -> None:
        await refused(s, written)
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await loads_records_alone(s, monkeypatch)
        await s.restore()
        await s.rest(owed=True)
        rows = await s.world.database.rows("SELECT state, content->'made' FROM mes.sync_parked")
        assert rows == [("parked", 5)]

    play(story)


def test_so_is_that_of_a_change_which_only_a_lost_life_of_the_store_had_sent(play, monkeypatch):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        s.copy()
        await s.plan(1, code="C9")
        s.order(2, code="C9", note="of the site", made=5)
        await s.step("drain")
        await s.world._rounds()
        s.put_back()
        await s.rest(owed=True)
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await loads_records_alone(s, monkeypatch)
        await s.restore()
        await s.rest(owed=True)
        rows = await s.world.database.rows("SELECT state, content->'made' FROM mes.sync_parked")
        assert rows == [("parked", 5)]

    play(story)


def test_a_person_who_tries_in_vain_what_the_site_is_about_to_bring_home_has_it_counted_once(play):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        await park(s, made=5)
        await s.world.centre_is_backed_up()
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        await back_to_the_newest(s)
        assert not await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        assert await s.count("sync.waiting") == 0
        records = await s.world.database.rows("SELECT state FROM mes.sync_parked")
        assert (await s.both(2, "made"), records) == ((5,), [("applied",)])

    play(story)
