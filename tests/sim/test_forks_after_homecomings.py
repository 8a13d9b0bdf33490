"""A store goes back to a copy once rows have come home to a centre that went back."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from central.picture import read_picture
from central.status import judge
from shared.errors import ForkedHistory
from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, Story, id_of, lab, play

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def brought_home(s: Story) -> None:
    """Have the centre go back, and all that the site knows come home, before it is sent again."""
    await s.restore()
    await s.step("hello")


# --- what the copy holds of what came home is the store's own -----------------------------------


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("acked", [False, True])
def test_a_write_on_an_own_one_that_came_home_stands_though_the_store_went_back(play, early, acked):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, note="kept", due="d3")
        await s.step("drain")
        if acked:  # in the lost time: the copy knows more than the backup, and tells it as well
            await s.rest()
        s.copy()
        await s.rest()
        s.change(1, seat=4)  # the lost life
        await s.rest()
        await brought_home(s)
        s.put_back()
        if early:
            s.change(1, note="later", due="d5")
        await s.step("hello")
        if not early:
            s.change(1, note="later", due="d5")
        await s.rest()
        assert await s.both(1, "note", "due", "seat") == ("later", "d5", 4)
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("loaded", [True, False])
def test_a_sum_and_a_set_that_came_home_and_go_on_in_a_copy_are_in_no_conflict(play, early, loaded):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, made=10, holds='["a"]')
        await s.step("drain")
        s.copy()
        await s.rest()
        s.change(1, seat=4)
        await s.rest()
        await brought_home(s)
        s.put_back()
        if early:
            s.change(1, made=15, holds="[]")
        await s.step("hello")
        if loaded:
            await s.step("load")
        if not early:
            s.change(1, made=15, holds="[]")
        await s.rest()
        assert await s.both(1, "made", "holds", "seat") == (15, "[]", 4)
        assert await s.conflicts() == []

    play(story)


def test_what_the_lost_life_made_of_an_own_write_that_came_home_is_still_in_conflict(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, note="kept", due="kept", made=10)
        await s.step("drain")
        s.copy()
        await s.rest()
        s.change(1, note="lost life", due="lost life", made=12)
        await s.rest()
        await brought_home(s)
        s.put_back()
        s.change(1, note="later", due="later", made=15)
        await s.rest()
        # Of a date the centre's word stands, and this is what it has.
        assert await s.both(1, "note", "due", "made") == ("later", "lost life", 17)
        assert {group for group, _, _ in await s.conflicts()} == {"note", "due", "made"}

    play(story)


@pytest.mark.parametrize("early", [True, False])
def test_a_row_that_came_home_and_was_made_in_the_copy_may_be_changed_there(play, early):
    async def story(s: Story) -> None:
        s.order(2)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.order(1, note="made")
        await s.step("drain")
        s.change(1, due="d1")
        await s.step("drain")
        s.copy()
        await s.rest()
        s.change(1, made=4)
        await s.rest()
        await brought_home(s)
        s.put_back()
        if early:
            s.change(1, note="later", due="d5")
        await s.step("hello")
        if not early:
            s.change(1, note="later", due="d5")
        await s.rest()
        assert await s.both(1, "note", "due", "made") == ("later", "d5", 4)
        assert await s.conflicts() == []

    play(story)


def test_a_write_on_an_own_one_stands_though_the_centre_had_the_last_word_that_came_home(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, note="kept")
        await s.step("drain")
        s.copy()
        await s.rest()
        await s.plan(1, due="planned")
        await s.rest()
        await brought_home(s)
        s.put_back()
        s.change(1, note="later")
        await s.rest()
        assert await s.both(1, "note", "due") == ("later", "planned")
        assert await s.conflicts() == []

    play(story)


@pytest.mark.parametrize("sent", [1, 2])
def test_a_copy_goes_on_where_what_came_home_is_already_sent_again(play, sent):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, note="kept")
        await s.step("drain")
        s.copy()
        await s.rest()
        s.change(1, seat=4)
        await s.rest()
        await brought_home(s)
        for _ in range(sent):
            await s.step("send")
            await s.step("ingest")
        s.put_back()
        s.change(1, note="later")
        await s.rest()
        assert await s.both(1, "note", "seat") == ("later", 4)
        assert await s.conflicts() == []

    play(story)


def test_a_copy_that_is_put_back_twice_has_its_writes_told_apart_once(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, note="kept")
        await s.step("drain")
        s.copy()
        await s.rest()
        s.change(1, seat=4)
        await s.rest()
        await brought_home(s)
        for k in range(2):
            s.put_back()
            s.change(1, note=f"later {k}")
            await s.rest()
        assert (await s.both(1, "seat"))[0] == 4
        versions = "SELECT version, count(*) FROM sync.version WHERE id = %s GROUP BY version"
        counts = await s.world.database.rows(versions, id_of(1))
        assert {count for _, count in counts} == {1}

    play(story)


def test_the_reports_count_only_what_the_store_no_longer_has_of_what_came_home(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, note="kept")
        await s.step("drain")
        s.copy()
        await s.rest()
        s.change(1, seat=4)
        await s.rest()
        await brought_home(s)
        s.put_back()
        await s.rest()
        ((found,),) = await s.world.database.rows(
            "SELECT found FROM sync.restore WHERE who = 'edge'"
        )
        assert [each["rows_only"] for each in found["ended"]] == [1]
        ((told,),) = s.site().read("SELECT message FROM _sync_event WHERE code = 'MES-RESTORED'")
        assert "1 transactions after it" in told

    play(story)


def test_a_write_that_waited_on_an_own_one_stands_once_that_came_home(play):
    """Both waited at the backup, and the first took effect in the lost time."""

    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        s.write(
            "INSERT INTO steps (id, site_id, created_at, order_id) VALUES (?, ?, ?, ?)",
            id_of(50), NORTH, CREATED, id_of(9),
        )  # fmt: skip
        await s.step("drain")
        s.write("UPDATE steps SET order_id = ? WHERE id = ?", id_of(8), id_of(50))
        await s.world._rounds()  # what waits stands at the site alone
        assert await s.count("sync.waiting") == 2
        await s.world.centre_is_backed_up()
        s.order(9)
        await s.world._rounds()
        await s.restore()
        await s.world._rounds()
        s.order(8)
        await s.rest()
        assert await s.count("mes.steps", f"order_id = '{id_of(8)}'") == 1
        assert await s.conflicts() == []

    play(story)


# --- two lives of one store ---------------------------------------------------------------------


def kept(s: Story, name: str) -> Path:
    """Return a copy of the site's store that stays."""
    folder = s.world.folder / name
    shutil.copytree(s.site().files.copy(), folder)
    return folder


def put(s: Story, folder: Path) -> None:
    s.world.copies[NORTH] = folder
    s.put_back()


async def told_of(s: Story) -> dict[str, str]:
    """Return the codes that the centre's status shows of the site, with what it says."""
    picture = await read_picture(s.world.database.admin, s.world.database.catalog, None)
    reasons = [site.reasons for site in judge(picture).sites if site.picture.site == NORTH]
    return {reason.code: reason.message for reason in reasons[0]}


@pytest.mark.parametrize("way_out", ["right file", "new store"])
def test_the_centre_names_two_lives_of_a_store_until_the_right_one_says_hello(play, way_out):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        older = kept(s, "older")
        s.change(1, note="of the lost life")
        await s.rest()
        newer = kept(s, "newer")
        put(s, older)
        await s.restore()
        await s.rest()
        s.change(1, note="of the life after")
        await s.rest()
        right = kept(s, "right")
        put(s, newer)
        for _ in range(2):
            with pytest.raises(ForkedHistory, match="two lives of one store") as stopped:
                await s.site().hello()
        told = await told_of(s)
        assert told["MES-TWO-LIVES"] == str(stopped.value)
        assert not told.keys() & {"MES-TWO-STORES", "MES-STOPPED"}
        if way_out == "new store":
            right = s.world.folder / "empty"
            right.mkdir()
        put(s, right)
        await s.rest()
        assert "MES-TWO-LIVES" not in await told_of(s)
        s.change(1, note="goes on")
        await s.rest()
        assert await s.both(1, "note") == ("goes on",)

    play(story)
