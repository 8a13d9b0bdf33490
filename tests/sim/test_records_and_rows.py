"""A record of a decision settles nothing at a centre that went back until its row is there.

A load brings records before rows, and may end for good between them; a homecoming tells rows before
records, and may be cut off between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge.store import EdgeStore
from shared.errors import Transient
from tests.sim.catalogue import CREATED
from tests.sim.decisions import CENTRE, Persons
from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import tickets
from tests.sim.test_parked_and_told_again import applied_since, cut_before, inserted, updated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Setting = Callable[[Story], Awaitable[None]]

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


_STEP = "INSERT INTO steps (id, site_id, created_at, order_id, seq, note) VALUES (?,?,?,?,1,'x')"


async def loads_as_far_as(
    s: Story, monkeypatch: pytest.MonkeyPatch, table: str, *, times: int = 1
) -> None:
    """A load ends before the rows of a table."""
    take = EdgeStore.apply_chunk

    def taken(self: EdgeStore, *given: Any) -> Any:
        blocks = [each for some in given if isinstance(some, (list, tuple)) for each in some]
        if any(getattr(block, "table", None) == table for block in blocks):
            raise Transient("killed")
        return take(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(EdgeStore, "apply_chunk", taken)
        for _ in range(times):
            await s.step("load")


async def loads_records_alone(s: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load ends between the records of decisions and the rows."""
    s.site().store.want_snapshot("a test", s.world.clock.here())
    await loads_as_far_as(s, monkeypatch, "orders")


async def loads_nothing(s: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load begins anew, and ends before its first records."""
    await loads_as_far_as(s, monkeypatch, "sync_parked", times=3)


async def record_alone(
    s: Story,
    monkeypatch: pytest.MonkeyPatch,
    parked_row: Setting = updated,
    *,
    backed_up: bool = True,
) -> str:
    """Of a change that waits (in the backup) a site has heard that it was applied, by a load."""
    await parked_row(s)
    if backed_up:
        await s.world.centre_is_backed_up()
    await s.plan(1, code="C1")
    await s.rest(owed=True)
    (ticket,) = await tickets(s)
    assert await s.world.centre.by_hand.retry(ticket)
    await loads_records_alone(s, monkeypatch)
    records = "SELECT state FROM sync_parked WHERE id = ?"
    assert s.site().read(records, ticket) == [("applied",)]
    return ticket


async def waits(s: Story, ticket: str) -> None:
    """It waits on, at both ends."""
    assert await tickets(s) == [ticket]
    assert await s.count("sync.waiting", f"ticket = '{ticket}'") == 1
    assert s.site().read("SELECT state FROM sync_parked WHERE id = ?", ticket) == [("parked",)]


async def takes_effect_once(s: Story, ticket: str) -> None:
    await s.plan(1, code="C1")
    await s.rest(owed=True)
    assert await s.world.centre.by_hand.retry(ticket)
    await s.rest()
    assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")


# --- a load that ended between records and rows ---------------------------------------------------


@pytest.mark.parametrize("parked_row", [inserted, updated])
def test_a_record_that_a_load_brought_without_its_row_settles_nothing(
    play, monkeypatch, parked_row: Setting
):
    async def story(s: Story) -> None:
        ticket = await record_alone(s, monkeypatch, parked_row)
        await s.restore()
        await s.rest(owed=True)
        await waits(s, ticket)
        await takes_effect_once(s, ticket)

    play(story)


@pytest.mark.parametrize("goes_back_again", [True, False])
def test_nor_does_it_where_the_centre_goes_back_or_is_started_once_more(
    play, monkeypatch, goes_back_again
):
    async def story(s: Story) -> None:
        ticket = await record_alone(s, monkeypatch)
        await s.restore()
        await s.step("hello")
        await (s.restore() if goes_back_again else s.world.database_starts())
        await s.rest(owed=True)
        await waits(s, ticket)
        await takes_effect_once(s, ticket)

    play(story)


@pytest.mark.parametrize("centre_starts", [True, False])
def test_nor_does_it_where_another_load_was_begun_and_brought_nothing(
    play, monkeypatch, centre_starts
):
    async def story(s: Story) -> None:
        ticket = await record_alone(s, monkeypatch)
        if centre_starts:
            await s.world.database_starts()
            await s.step("hello")
        else:  # the centre keeps a snapshot for a day
            await s.world.database.admin.execute(b"DELETE FROM sync.snapshot")
        await loads_nothing(s, monkeypatch)
        await s.restore()
        await s.rest(owed=True)
        await waits(s, ticket)
        await takes_effect_once(s, ticket)

    play(story)


@pytest.mark.parametrize("parked_row", [inserted, updated])
@pytest.mark.parametrize("says_hello", [True, False])
def test_nor_does_it_in_a_copy_of_the_store_that_was_taken_amid_the_load(
    play, monkeypatch, parked_row: Setting, says_hello
):
    async def story(s: Story) -> None:
        ticket = await record_alone(s, monkeypatch, parked_row)
        s.order(8)
        s.copy()
        await s.world._rounds()
        s.put_back()
        if says_hello:
            await s.step("hello")
        await s.restore()
        await s.rest(owed=True)
        await waits(s, ticket)
        await takes_effect_once(s, ticket)

    play(story)


@pytest.mark.parametrize("built_on_by", ["site", "centre", None])
def test_a_record_whose_row_the_site_had_before_the_load_settles_it(play, monkeypatch, built_on_by):
    async def story(s: Story) -> None:
        await applied_since(s, updated)
        if built_on_by == "site":
            s.change(2, due="later")
        elif built_on_by == "centre":
            await s.plan(2, seat=3)
        await s.rest()
        await loads_records_alone(s, monkeypatch)
        await s.restore()
        await s.rest()
        assert await s.count("sync.waiting") == 0
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")

    play(story)


def test_a_record_whose_row_the_load_had_brought_settles_it_though_the_load_has_not_ended(
    play, monkeypatch
):
    async def story(s: Story) -> None:
        s.order(9)
        s.write(_STEP, id_of(50), NORTH, CREATED, id_of(9))
        await record_alone(s, monkeypatch)
        await loads_as_far_as(s, monkeypatch, "steps")
        assert s.site().store.position().needs_snapshot
        await s.restore()
        await s.rest()
        assert await s.count("sync.waiting") == 0
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")

    play(story)


@pytest.mark.parametrize("end", [CENTRE, NORTH])
def test_a_review_of_which_a_load_brought_the_decision_alone_is_asked_again(play, monkeypatch, end):
    async def story(s: Story) -> None:
        persons = Persons(s)
        await persons.quarrel({2: (3, 5)})
        await s.world.centre_is_backed_up()
        assert await persons.decide(end, 2, 4)
        if end == NORTH:
            for step in ("drain", "send", "ingest"):
                await s.step(step)
        await loads_records_alone(s, monkeypatch)
        assert s.site().read("SELECT state FROM sync_reviews") == [("RESOLVED",)]
        await s.restore()
        await s.rest(owed=True)
        if end == CENTRE:  # who decided there is asked again
            assert await s.count("mes.sync_reviews", "state = 'OPEN'") == 1
            assert await persons.decide(CENTRE, 2, 4)
            await s.rest()
        assert await s.both(2, "dose") == (4,)
        assert await s.count("mes.sync_reviews", "state = 'OPEN'") == 0

    play(story)


@pytest.mark.parametrize("parked_row", [inserted, updated])
def test_a_change_that_was_parked_and_applied_after_the_backup_is_decided_again(
    play, monkeypatch, parked_row: Setting
):
    async def story(s: Story) -> None:
        s.order(7)
        await s.back_up()
        ticket = await record_alone(s, monkeypatch, parked_row, backed_up=False)
        await s.restore()
        await s.rest(owed=True)
        states = await s.world.database.rows("SELECT state FROM mes.sync_parked")
        there = await s.count("mes.orders", "made = 5 AND note = 'of the site'")
        assert (states, there) in (([("parked",)], 0), ([], 1), ([("applied",)], 1)), ticket
        assert await s.count("sync.waiting") == 1 - there

    play(story)


@pytest.mark.parametrize("end", [CENTRE, NORTH])
def test_a_review_that_was_opened_and_decided_after_the_backup_is_asked_again(
    play, monkeypatch, end
):
    async def story(s: Story) -> None:
        s.order(7)
        await s.back_up()
        persons = Persons(s)
        await persons.quarrel({2: (3, 5)})
        assert await persons.decide(end, 2, 4)
        if end == NORTH:
            for step in ("drain", "send", "ingest"):
                await s.step(step)
        await loads_records_alone(s, monkeypatch)
        assert s.site().read("SELECT state FROM sync_reviews") == [("RESOLVED",)]
        await s.restore()
        await s.rest(owed=True)
        states = await s.world.database.rows("SELECT state FROM mes.sync_reviews")
        dose = await s.both(2, "dose")
        if end == CENTRE:
            assert (states, dose) in (([("OPEN",)], (3,)), ([("OPEN",)], (5,)))
        else:  # the site wrote the row itself, and has not lost it
            assert (states, dose) == ([("RESOLVED",)], (4,))

    play(story)


# --- rows that come home before their records -----------------------------------------------------


async def step_waits(s: Story) -> None:
    """An order is parked, as its key is taken; its step, of a later table, waits for it."""
    await inserted(s)
    keys = (id_of(50), NORTH, CREATED, id_of(2))
    s.write(_STEP, *keys)
    await s.step("drain")
    await s.world._rounds()


async def step_applied_since(s: Story) -> None:
    await s.plan(1, code="C1")
    await s.world._rounds()
    first, *_ = await tickets(s)
    assert await s.world.centre.by_hand.retry(first)
    await s.rest()
    assert await s.count("mes.steps", "note = 'x'") == 1


async def is_there_once(s: Story) -> None:
    assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")
    assert await s.count("mes.steps", "note = 'x'") == 1
    assert s.site().read("SELECT note FROM steps") == [("x",)]
    assert await s.count("sync.waiting") == 0


@pytest.mark.parametrize("goes_back", [True, False])
@pytest.mark.parametrize("again", [True, False])
def test_what_was_applied_since_comes_home_whatever_the_place_of_its_table(play, goes_back, again):
    async def story(s: Story) -> None:
        await step_waits(s)
        await s.world.centre_is_backed_up()
        await step_applied_since(s)
        if goes_back:
            s.order(8)
            s.copy()
            await s.world._rounds()
            s.put_back()
            await s.step("hello")
        await s.restore()
        await s.step("hello")
        if again:
            await s.restore()
        await s.rest()
        await is_there_once(s)

    play(story)


@pytest.mark.parametrize("had_heard", [True, False])
def test_a_homecoming_that_is_cut_before_a_row_has_not_settled_it_by_its_record(
    play, monkeypatch, had_heard
):
    async def story(s: Story) -> None:
        await step_waits(s)
        await s.world.centre_is_backed_up()
        if not had_heard:
            s.copy()
        await step_applied_since(s)
        if had_heard:
            s.copy()
        await s.restore()
        await cut_before(s, monkeypatch, "steps")
        s.put_back()
        await s.rest(owed=True)
        there = await s.count("mes.steps")
        assert there + await s.count("sync.waiting", "table_name = 'steps'") == 1

    play(story)
