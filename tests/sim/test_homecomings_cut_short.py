"""What a site had brought home, or not yet, when it was cut off and its store was put back."""

from __future__ import annotations

from typing import Any

import pytest

import edge.homecoming
from central import upkeep
from shared.errors import Transient
from tests.sim.story import Story, id_of, lab, play
from tests.sim.test_restores_in_a_row import killed_before

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def cut_before(s: Story, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Have a site say hello, and its agent end before it asks one question."""
    ask = edge.homecoming._ask

    async def asked(link: Any, site: str, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
        if verb == what:
            raise Transient("killed")
        return await ask(link, site, verb, fields)

    with monkeypatch.context() as patched:
        patched.setattr(edge.homecoming, "_ask", asked)
        await s.step("hello")


def test_a_copy_put_back_while_its_rows_come_home_gets_those_that_had(play, monkeypatch):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.copy()
        await s.plan(1, note="of the lost time")
        await s.rest()
        await s.restore()
        with killed_before(monkeypatch, "included"):
            await s.step("hello")
        assert await s.stands(1, "note") == ("of the lost time",)
        s.put_back()
        await s.rest()
        assert await s.both(1, "note") == ("of the lost time",)

    play(story)


@pytest.mark.parametrize("verb", ["included", "take_up"])
def test_what_was_parked_is_parked_again_wherever_its_homecoming_was_cut(play, monkeypatch, verb):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.rest()
        await s.world.centre_is_backed_up()
        await s.plan(1, code="C2")  # and the site has not heard of it
        s.order(3, code="C2")
        await s.step("drain")
        s.copy()
        await s.rest(owed=True)
        await s.restore()
        await cut_before(s, monkeypatch, verb)
        s.put_back()
        await s.rest(owed=True)
        assert await s.count("mes.sync_parked", f"state = 'parked' AND row_id = '{id_of(3)}'") == 1

    play(story)


def test_what_was_parked_is_parked_again_where_only_its_first_question_came(play, monkeypatch):
    """Whatever a release of the edge asks first of transactions, it is whole by itself."""

    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.rest()
        await s.world.centre_is_backed_up()
        await s.plan(1, code="C2")
        s.order(3, code="C2")
        await s.step("drain")
        s.copy()
        await s.rest(owed=True)
        await s.restore()
        asked: list[str] = []
        ask = edge.homecoming._ask

        async def once(link: Any, site: str, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
            if verb in ("included", "again", "take_up"):
                if asked:
                    raise Transient("killed")
                asked.append(verb)
            return await ask(link, site, verb, fields)

        with monkeypatch.context() as patched:
            patched.setattr(edge.homecoming, "_ask", once)
            await s.step("hello")
        assert await s.count("sync.included") == 1
        s.put_back()
        await s.rest(owed=True)
        assert await s.count("mes.sync_parked", f"state = 'parked' AND row_id = '{id_of(3)}'") == 1

    play(story)


def test_a_sum_counts_once_though_its_homecoming_was_cut_before_its_end(play, monkeypatch):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, made=10)
        await s.step("drain")
        s.copy()
        await s.rest()
        await s.restore()
        await cut_before(s, monkeypatch, "take_up")
        assert await s.stands(1, "made") == (10,)
        s.put_back()
        await s.rest()
        assert await s.both(1, "made") == (10,)

    play(story)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_sum_that_moved_to_a_new_epoch_counts_once_however_late_it_comes(play, is_late):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, made=10)
        await s.rest()
        s.copy()
        s.change(1, note="x")
        await s.rest()
        await s.restore()
        await s.step("hello")  # home, and included
        s.put_back()
        await s.step("hello")  # in the next epoch
        if is_late:
            await s.world.database.rows(
                "UPDATE sync.included SET at = now() - interval '29 days' RETURNING 1"
            )
            assert (await upkeep.prune(s.world.database.publishing, 14))["included"] == 0
        await s.rest()
        assert await s.both(1, "made") == (10,)

    play(story)


def test_a_copy_of_an_epoch_into_which_what_came_home_had_moved_finds_its_fork(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.copy()
        s.change(1, note="came home")
        await s.rest()
        await s.restore()
        await s.step("hello")  # its row is home, and nothing is sent again
        await s.world.centre_is_backed_up()
        s.world.backups = s.world.backups[-1:]
        await s.rest()
        s.copy()
        s.change(1, seat=1)
        await s.rest()
        s.put_back()
        await s.rest()  # all that it has moves into the next epoch
        s.copy()
        s.change(1, due="of the last life")
        await s.rest()
        await s.restore()
        await s.step("hello")
        s.put_back()
        await s.rest()
        assert await s.both(1, "note", "seat", "due") == ("came home", 1, "of the last life")
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("by_site", [False, True])
def test_an_older_copy_undoes_nothing_that_came_home_before_it(play, by_site, loaded):
    """It, too, is newer than the backup, and brings home what it knows."""

    async def story(s: Story) -> None:
        # What it wrote is decided, by rows that came home, before any ack tells so.
        s.world.check_own_writes = lambda *_: None  # type: ignore[method-assign]
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        if by_site:
            s.change(1, note="earlier")
        else:
            await s.plan(1, note="earlier")
        await s.rest()
        s.copy()
        s.change(1, note="later", due="a day")
        await s.rest()
        await s.restore()
        await s.step("hello")
        if loaded:
            await s.rest()
        s.put_back()
        await s.rest()
        assert await s.both(1, "note", "due") == ("later", "a day")
        assert await s.conflicts() == []

    play(story)


def test_what_a_site_wrote_after_its_homecoming_comes_home_from_a_backup_amid_that(
    play, monkeypatch
):
    """Its orders are void until its snapshot is loaded, so it tells of both histories as of one.

    What it had brought home before is taken for written beside it, and one of both is on record.
    """

    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        await s.plan(1, note="of the lost time")
        s.change(1, seat=1)
        await s.rest()
        await s.restore()
        await s.step("hello")
        await s.world.centre_is_backed_up()
        s.world.backups = s.world.backups[-1:]
        s.change(1, note="after it", made=3)
        for step in ("drain", "send", "ingest", "sequence"):
            await s.step(step)
        with killed_before(monkeypatch, "finish_snapshot"):
            await s.step("load")  # which tells that it was decided
        await s.restore()
        await s.rest()
        note, *others = await s.both(1, "note", "seat", "made")
        assert others == [1, 3]
        assert note == "of the lost time"
        assert await s.conflicts() == [
            ("note", '{"note":"after it"}', '{"note":"of the lost time"}')
        ]

    play(story)
