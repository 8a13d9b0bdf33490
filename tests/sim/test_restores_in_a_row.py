"""One restore before the work of the one before is done: of a store, of the centre, or of both."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from edge.store import EdgeStore
from shared.errors import ForkedHistory, Transient
from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, SOUTH, Story, id_of, lab, play

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


@contextlib.contextmanager
def killed_before(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """Have the agent end before it does something to its store."""

    def killed(*_: Any) -> None:
        raise Transient("killed")

    with monkeypatch.context() as patched:
        patched.setattr(EdgeStore, name, killed)
        yield


async def half_load(s: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load all of a snapshot but its end."""
    s.site().store.want_snapshot("a test", s.world.clock.here())
    with killed_before(monkeypatch, "finish_snapshot"):
        await s.step("load")
    assert s.site().store.snapshot_state() is not None


async def retitle(s: Story, text: str) -> None:
    """Change a part that all sites share."""
    s.world.clock.now_ms += 60_000
    given = [text, id_of(7)]
    assert await s.world._execute("*", "UPDATE mes.parts SET title = %s WHERE id = %s", given)


async def add_part(s: Story, number: int, code: str) -> None:
    statement = "INSERT INTO mes.parts (id, site_id, created_at, code) VALUES (%s, '*', %s, %s)"
    assert await s.world._execute("*", statement, [id_of(number), CREATED, code])


async def titles(s: Story) -> set[str]:
    read = "SELECT title FROM parts WHERE id = ?"
    here = [s.site(name).read(read, id_of(7)) for name in (NORTH, SOUTH)]
    there = await s.world.database.rows("SELECT title FROM mes.parts WHERE id = %s", id_of(7))
    return {title for rows in (*here, there) for (title,) in rows}


async def a_new_title_reaches_all(s: Story) -> None:
    """The other site comes home too, and what is written then reaches everybody."""
    await s.step("hello", site=SOUTH)
    await retitle(s, "after the restore")
    await s.step("sequence")
    await s.rest()
    assert await titles(s) == {"after the restore"}


# --- what a site has counts, though no ack of this history says so --------------------------------


@pytest.mark.parametrize("loaded", [False, True])
def test_a_sum_counts_once_where_the_centre_goes_back_after_a_store_did(play, loaded):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, made=10)
        await s.rest()
        s.copy()
        s.change(1, note="lost life")
        await s.rest()
        s.put_back()
        await s.step("hello")  # what is decided has moved into the new epoch, and is not sent yet
        if loaded:
            await s.step("load")
        await s.restore()
        await s.rest()
        assert await s.both(1, "made") == (10,)
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("times", [1, 2])
def test_a_sum_in_a_half_loaded_snapshot_counts_once_however_often_the_centre_goes_back(
    play, monkeypatch, times
):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        await s.plan(1, made=5)
        s.change(1, made=10)
        await s.step("send")
        await s.step("ingest")
        await half_load(s, monkeypatch)
        assert s.shown(1, "made") == (15,)
        for _ in range(times):
            await s.restore()
            for step in ("hello", "send", "ingest"):
                await s.step(step)
        await s.rest()
        assert await s.both(1, "made") == (15,)

    play(story)


def test_a_copy_that_is_put_back_before_what_came_home_is_sent_again_counts_it_once(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, made=10)
        await s.step("drain")
        s.change(1, made=15)  # stays in the log of the copy
        s.copy()
        await s.rest()
        await s.restore()
        await s.step("hello")
        assert await s.stands(1, "made") == (15,)
        s.put_back()
        await s.rest()
        assert await s.both(1, "made") == (15,)

    play(story)


def test_what_was_to_be_done_again_at_a_later_backup_and_was_done_is_not_done_twice(play):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        await s.plan(1, code="C2")  # and the site has not heard of it
        s.order(3, code="C2")
        await s.step("send")
        await s.step("ingest")
        await s.rest(owed=True)
        assert await s.count("mes.sync_parked", "state = 'parked'") == 1
        await s.restore()
        await s.step("hello")  # all is told, and nothing is sent again
        await s.world.centre_is_backed_up()
        s.world.backups = s.world.backups[-1:]
        await s.plan(1, code="C9")
        await s.rest()
        s.change(3, made=12)
        await s.rest()
        await s.plan(3, made=9, note="planned")
        await s.rest()
        before = await s.both(3, "made", "note", "code")
        await s.restore()
        await s.rest()
        assert await s.both(3, "made", "note", "code") == before
        assert await s.conflicts() == []

    play(story)


# --- orders of a lost history are void, whoever told of its rows ----------------------------------


def test_a_site_that_is_cut_off_once_the_centre_has_taken_it_up_hears_of_what_comes_after(
    play, monkeypatch
):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.back_up()
        for k in range(12):
            await s.plan(1, note=f"lost {k}")
            await s.rest()
        s.site().store.want_snapshot("a test", s.world.clock.here())
        await s.restore()
        with killed_before(monkeypatch, "begin_anew"):
            await s.step("hello")
        await s.step("hello")
        await s.plan(1, note="after the restore")
        await s.step("sequence")
        await s.rest()
        assert await s.both(1, "note") == ("after the restore",)

    play(story)


def test_a_site_that_needs_a_snapshot_hears_of_rows_of_which_another_one_told(play):
    async def story(s: Story) -> None:
        await add_part(s, 7, "P")
        await s.back_up()
        for k in range(12):
            await retitle(s, f"lost {k}")
            await s.rest()
        s.site(SOUTH).store.want_snapshot("a test", s.world.clock.here())
        await s.restore()
        for step in ("hello", "load", "send", "ingest"):
            await s.step(step)
        await a_new_title_reaches_all(s)

    play(story)


def test_a_site_whose_feeds_were_pruned_meanwhile_hears_of_rows_of_which_another_one_told(play):
    async def story(s: Story) -> None:
        await add_part(s, 7, "P")
        await s.back_up()
        for k in range(40):
            await retitle(s, f"lost {k}")
        await s.rest()
        await s.restore()
        for k in range(14):  # the feeds pass by where the other site stands
            for step in ("hello", "load", "send", "ingest", "sequence", "publish", "fetch"):
                await s.step(step)
            s.order(20 + k)
            await add_part(s, 100 + k, f"Q{k}")
        await s.step("sequence")
        await s.world.database.rows(
            "DELETE FROM sync.feed f USING sync.feed_head h"
            " WHERE h.scope = f.scope AND f.pos < h.pos RETURNING 1"
        )
        await a_new_title_reaches_all(s)

    play(story)


@pytest.mark.parametrize("again", [False, True])
def test_a_copy_from_before_a_homecoming_gets_what_came_home_though_its_numbers_fit(play, again):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.copy()
        await s.plan(1, note="of the lost time")
        await s.rest()
        await s.restore()
        await s.rest()  # the note has come home
        assert await s.both(1, "note") == ("of the lost time",)
        await s.world.centre_is_backed_up()
        s.world.backups = s.world.backups[-1:]
        s.put_back()
        if again:
            await s.restore()
        await s.rest()
        assert await s.both(1, "note") == ("of the lost time",)

    play(story)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_copy_in_which_a_row_that_came_home_is_new_replaces_nothing_of_it_unrecorded(
    play, loaded
):
    async def story(s: Story) -> None:
        s.order(2)
        await s.back_up()
        s.order(1)
        await s.step("drain")
        s.copy()
        s.change(1, note="of the lost life")
        await s.rest()
        await s.restore()
        await s.step("hello")
        assert await s.stands(1, "note") == ("of the lost life",)
        s.put_back()
        await s.step("hello")
        if loaded:
            await s.step("load")
        seen = s.shown(1, "note")
        s.change(1, note="of the new life")
        await s.rest()
        kept = [('{"note":"of the new life"}', '{"note":"of the lost life"}')]
        told = [(here, central) for _, here, central in await s.conflicts()]
        assert told == ([] if seen == ("of the lost life",) else kept)
        assert loaded == (seen == ("of the lost life",))
        await s.both(1, "note")

    play(story)


@pytest.mark.parametrize("times", [1, 2])
def test_a_row_that_a_snapshot_took_away_is_gone_at_a_centre_that_lost_its_deletion_too(
    play, times
):
    async def story(s: Story) -> None:
        s.order(2)
        await s.back_up()
        s.order(1)
        await s.rest()
        s.site().store.want_snapshot("a test", s.world.clock.here())
        deleted = "DELETE FROM mes.orders WHERE id = %s"
        assert await s.world._execute(NORTH, deleted, [id_of(1)])
        s.write("DELETE FROM orders WHERE id = ?", id_of(1))
        s.order(1, note="made anew")
        await s.step("drain")
        await s.step("hello")
        await s.step("load")  # which does not hold it, and what is made anew shows over that
        assert s.shown(1, "note") == ("made anew",)
        for _ in range(times):
            await s.restore()
            await s.step("hello")
        await s.rest()
        assert await s.count("mes.orders", f"id = '{id_of(1)}'") == 0
        assert s.site().read("SELECT id FROM orders WHERE id = ?", id_of(1)) == []
        assert await s.conflicts() == [("*", '{"note":"made anew"}', "{}")]

    play(story)


# --- what can't be healed is told -----------------------------------------------------------------


def test_a_newer_copy_of_a_life_that_both_ends_lost_is_stopped_with_the_next_step(play):
    """Its n 3 and the one that the centre took since are two, in one epoch."""

    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        older, newer = s.world.folder / "older", s.world.folder / "newer"
        shutil.copytree(s.site().files.copy(), older)
        s.change(1, note="of the lost life")
        await s.rest()
        shutil.copytree(s.site().files.copy(), newer)
        s.world.copies[NORTH] = older
        s.put_back()
        await s.restore()
        await s.rest()
        s.change(1, note="of the life after")
        await s.rest()
        s.world.copies[NORTH] = newer
        s.put_back()
        with pytest.raises(ForkedHistory, match="two lives of one store; put the file back"):
            await s.site().hello()
        assert await s.stands(1, "note") == ("of the life after",)

    play(story)


def test_a_restore_tells_of_facts_that_had_come_home_and_can_not_come_again(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        s.copy()
        await s.world.centre_is_backed_up()
        s.report(9, order=1)
        await s.rest()
        await s.restore()
        await s.step("hello")  # the transaction is told of, and the fact is not sent again yet
        s.put_back()
        await s.rest(owed=True)
        assert await s.count("mes.reports", f"id = '{id_of(9)}'") == 0  # nobody has it any more
        ((found,),) = await s.world.database.rows(
            "SELECT found FROM sync.restore WHERE who = 'edge'"
        )
        assert [each["rows_only"] for each in found["ended"]] == [1]
        ((told,),) = s.site().read("SELECT message FROM _sync_event WHERE code = 'MES-RESTORED'")
        assert "1 transactions after it" in told

    play(story)
