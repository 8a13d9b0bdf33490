"""What one restore has begun, and the next one cuts short: nothing of it is forgotten too early."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import StaleSnapshot, Transient
from sync import codec
from tests.sim.story import Story, id_of, lab, play
from tests.sim.test_restores_in_a_row import killed_before

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


# --- what is to be done again --------------------------------------------------------------------


async def parked_twice(s: Story, number: int) -> None:
    """Have a write parked, then the store go back, then the centre behind all of it."""
    await s.rest(owed=True)
    assert await s.count("mes.sync_parked", "state = 'parked'") == 1
    s.copy()
    s.change(1, note="lost life")
    await s.rest(owed=True)
    s.put_back()
    await s.step("hello")  # a new epoch, of which nothing is acked
    await s.restore()
    await s.step("hello")
    again = s.site().read("SELECT table_name, id FROM _sync_again")
    assert again == [("orders", id_of(number))]


@pytest.mark.parametrize("loaded", [False, True])
def test_what_is_parked_is_parked_again_though_a_snapshot_came_before_it_was_sent_again(
    play, loaded
):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        await s.plan(1, code="C2")
        s.order(3, code="C2")
        await s.step("send")
        await s.step("ingest")
        await parked_twice(s, 3)
        if loaded:
            await s.step("load")  # of which the ack ends before that transaction
        await s.restore()
        await s.rest(owed=True)
        found = await s.count("mes.orders", f"id = '{id_of(3)}'")
        assert found + await s.count("mes.sync_parked", "state = 'parked'") == 1

    play(story)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_parked_on_a_row_that_a_half_loaded_snapshot_brought_is_parked_again(
    play, monkeypatch, restarted
):
    async def story(s: Story) -> None:
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        s.order(1, code="C1")
        s.order(2, code="C9")
        await s.back_up()
        await s.plan(1, code="C2")
        s.change(2, code="C2")
        await s.step("send")
        await s.step("ingest")
        await parked_twice(s, 2)
        if restarted:
            with killed_before(monkeypatch, "finish_snapshot"):
                await s.step("load")
            assert s.site().store.snapshot_state() is not None
            await s.world.database_starts()  # as it was
            await s.step("hello")
        await s.rest(owed=True)
        assert await s.count("mes.sync_parked", "state = 'parked'") == 1

    play(story)


# --- what lies in the shadow ---------------------------------------------------------------------


def test_a_head_of_the_lost_time_that_lay_in_the_shadow_keeps_no_later_one_away(play):
    async def story(s: Story) -> None:
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        s.order(1)
        await s.back_up()
        for k in range(12):
            await s.plan(1, note=f"lost {k}")
        await s.rest()
        s.change(1, seat=1)
        await s.step("drain")
        await s.plan(1, note="lost 12")
        for step in ("sequence", "publish", "fetch"):
            await s.step(step)
        assert s.site().read("SELECT ord > 0 FROM _sync_shadow") == [(1,)]
        await s.restore()
        await s.step("hello")
        s.copy()  # its snapshot is not loaded
        s.change(1, due="of the lost life")
        await s.rest()
        s.put_back()
        await s.rest()
        assert await s.both(1, "note", "due") == ("lost 12", "of the lost life")

    play(story)


# --- what was taken out as sent before -----------------------------------------------------------


async def sent_before(s: Story, **values: Any) -> None:
    """Have a write taken out of the outbox that the lost life had sent after the last backup."""
    s.order(1)
    await s.back_up()
    s.change(1, **values)  # in the log of the copy
    s.copy()
    await s.rest()  # the lost life drains and sends it
    s.put_back()
    await s.step("hello")
    assert s.site().read("SELECT count(*) FROM _sync_taken") == [(1,)]


@contextmanager
def answers_lost(s: Story, monkeypatch: pytest.MonkeyPatch, verb: str) -> Iterator[list[str]]:
    """Lose the answers to a question; give which were."""
    request, lost = s.world.broker.request, list[str]()

    async def asked(subject: str, payload: bytes, timeout_s: float = 10.0) -> bytes:
        answer = await request(subject, payload, timeout_s)
        if subject.endswith(verb):
            lost.append(subject)
            raise Transient("no answer came")
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(s.world.broker, "request", asked)
        yield lost


@pytest.mark.parametrize(("column", "value"), [("made", 10), ("note", "mine")])
@pytest.mark.parametrize("loaded", [False, True])
def test_what_both_lives_of_a_store_wrote_is_sent_again_where_the_centre_lost_the_first(
    play, column, value, loaded
):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, **{column: value})  # in the log of the copy
        s.copy()
        await s.rest()  # the lost life drains and sends it
        s.put_back()
        await s.step("hello")
        assert s.site().read("SELECT count(*) FROM _sync_taken") == [(1,)]
        if loaded:
            await s.step("load")
            assert s.site().read("SELECT count(*) FROM _sync_taken") == [(0,)]
        await s.restore()
        await s.step("hello")
        await s.step("load")  # what is sent again is not decided, and shown over what came
        assert s.shown(1, column) == (value,)
        await s.rest()
        assert await s.both(1, column) == (value,)
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("times", [1, 2])
def test_what_both_lives_wrote_counts_once_where_the_centre_went_back_and_has_it(play, times):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        s.change(1, made=10)
        s.copy()
        await s.rest()
        await s.plan(1, note="planned")
        await s.back_up()
        s.change(1, due="of the lost life")
        await s.rest()
        s.put_back()
        await s.step("hello")
        for _ in range(times):
            await s.restore()
            await s.step("hello")
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        await s.rest()
        assert await s.both(1, "made", "note") == (10, "planned")

    play(story)


def test_what_the_store_wrote_over_what_had_been_sent_before_stands(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, made=10, note="first", due="first")
        s.copy()
        await s.rest()
        s.put_back()
        await s.step("hello")
        s.change(1, made=15, note="second")
        await s.restore()
        await s.step("hello")
        assert s.shown(1, "made", "note", "due") == (15, "second", "first")
        await s.rest()
        assert await s.both(1, "made", "note", "due") == (15, "second", "first")
        # The later write had seen what the centre lost, and comes before it.
        assert {group for group, *_ in await s.conflicts()} == {"made", "note"}

    play(story)


@pytest.mark.parametrize("held", [False, True])
def test_a_row_that_both_lives_made_is_sent_again_only_where_the_centre_lost_it(play, held):
    async def story(s: Story) -> None:
        s.order(2)
        await s.back_up()
        s.order(1, note="made")
        s.copy()
        await s.rest()
        if held:
            await s.plan(1, due="planned")
            await s.back_up()
            s.world.backups = s.world.backups[-1:]
            s.change(2, note="of the lost life")
            await s.rest()
        s.put_back()
        await s.step("hello")
        await s.restore()
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        await s.rest()
        assert await s.both(1, "note", "due") == ("made", "planned" if held else None)
        assert await s.conflicts() == []

    play(story)


def test_what_a_half_loaded_snapshot_brought_of_it_counts_once(play, monkeypatch):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, made=10)
        s.copy()
        await s.rest()
        s.put_back()
        await s.step("hello")
        with killed_before(monkeypatch, "finish_snapshot"):
            await s.step("load")
        await s.restore()
        await s.rest()
        assert await s.both(1, "made") == (10,)

    play(story)


@pytest.mark.parametrize(("column", "value"), [("made", 10), ("note", "mine")])
@pytest.mark.parametrize("killed", [False, True])
def test_what_was_taken_out_is_asked_after_until_an_answer_comes(
    play, monkeypatch, killed, column, value
):
    async def story(s: Story) -> None:
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        await sent_before(s, **{column: value})
        await s.restore()
        with answers_lost(s, monkeypatch, ".sent") as lost:
            await s.step("hello")
        assert lost
        if killed:
            s.site().restart()
        await s.step("hello")
        await s.rest()
        assert await s.both(1, column) == (value,)

    play(story)


def test_what_was_sent_again_by_a_copy_that_is_put_back_counts_once(play, monkeypatch):
    async def story(s: Story) -> None:
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        await sent_before(s, made=10)
        s.copy()
        await s.restore()
        with killed_before(monkeypatch, "begin_anew"):
            await s.step("hello")
        s.put_back()
        await s.rest()
        assert await s.both(1, "made") == (10,)

    play(story)


@pytest.mark.parametrize(("column", "value"), [("made", 10), ("note", "mine")])
def test_what_was_taken_out_is_asked_after_where_the_backup_holds_the_epoch_as_closed(
    play, column, value
):
    async def story(s: Story) -> None:
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        s.order(1)
        s.order(2)
        await s.rest()
        s.copy()
        s.report(9, 2)
        await s.rest()
        s.put_back()
        s.change(1, **{column: value})
        s.copy()
        await s.step("hello")  # the second epoch
        await s.world.centre_is_backed_up()
        s.world.backups = s.world.backups[-1:]
        await s.rest()
        s.put_back()
        await s.step("hello")  # the third one
        assert s.site().read("SELECT count(*) FROM _sync_taken") == [(1,)]
        await s.restore()
        await s.rest()
        assert await s.both(1, column) == (value,)

    play(story)


def test_a_snapshot_that_ends_amid_a_homecoming_takes_nothing_of_what_is_asked_after(
    play, monkeypatch
):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, note="mine")
        s.copy()
        await s.rest()
        s.put_back()
        await s.step("hello")
        ended, asked_after = asyncio.Event(), asyncio.Event()
        request = s.world.broker.request

        async def slow(subject: str, payload: bytes, timeout_s: float = 10.0) -> bytes:
            answer = await request(subject, payload, timeout_s)
            if subject.endswith(".chunk") and codec.decode_control(answer).get("end"):
                ended.set()
                await asked_after.wait()
            if subject.endswith(".sent"):
                asked_after.set()
                await asyncio.wait({loading}, timeout=0.5)
            return answer

        monkeypatch.setattr(s.world.broker, "request", slow)
        loading = asyncio.create_task(s.site().load())
        await ended.wait()
        await s.restore()
        await s.step("hello")
        assert asked_after.is_set()
        with pytest.raises(StaleSnapshot):
            await loading
        await s.rest()
        assert await s.both(1, "note") == ("mine",)

    play(story)


@pytest.mark.parametrize("parked", [False, True])
def test_a_transaction_that_came_home_in_part_is_whole_where_the_centre_goes_back_behind_it(
    play, parked
):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        s.order(2)
        await s.back_up()
        await s.plan(1, code="C2")
        s.change(2, made=10)
        if parked:
            s.order(3, code="C2")
        await s.step("drain")
        s.copy()  # which holds the transaction
        s.change(1, note="of the lost life")
        await s.rest(owed=True)
        await s.restore()
        await s.step("hello")
        s.put_back()
        await s.step("hello")
        await s.restore()
        await s.rest(owed=True)
        assert await s.both(2, "made") == (10,)
        found = await s.count("mes.orders", f"id = '{id_of(3)}'")
        assert found + await s.count("mes.sync_parked", "state = 'parked'") == int(parked)

    play(story)
