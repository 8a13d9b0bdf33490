"""The centre goes back to a backup, alone or with a store: what may happen by chance, told."""

from __future__ import annotations

import pytest

from tests.sim.story import Story, id_of, lab, play

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


# --- the centre goes back ------------------------------------------------------------------------


def test_what_a_site_sent_since_the_backup_comes_again_and_counts_once(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        s.change(1, made=3, note="since")
        s.order(2, note="new")
        s.report(9, order=2)
        await s.rest()
        s.change(1, made=7)
        await s.rest()
        await s.restore()
        assert await s.stands(1, "made") == (0,)
        s.change(1, made=12)  # nobody has told yet
        await s.rest()
        assert await s.both(1, "made", "note") == (12, "since")
        assert await s.both(2, "note") == ("new",)
        assert await s.count("mes.reports", f"id = '{id_of(9)}'") == 1
        assert await s.conflicts() == []
        assert await s.count("sync.restore", "who = 'centre' AND site = 'NORTH'") == 1
        s.change(1, made=13)
        await s.rest()
        assert await s.both(1, "made") == (13,)
        assert await s.conflicts() == []

    play(story)


def test_what_only_the_centre_wrote_in_the_lost_time_comes_home_from_the_site(play):
    async def story(s: Story) -> None:
        s.order(1, note="first")
        s.order(2)
        await s.rest()
        await s.plan(1, due="in the backup")
        await s.back_up()
        await s.plan(1, due="planned")
        await s.rest()
        s.change(1, note="on top of it")
        await s.rest()
        await s.restore()
        assert await s.stands(1, "due", "note") == ("in the backup", "first")
        await s.rest()
        assert await s.both(1, "due", "note") == ("planned", "on top of it")
        s.change(1, note="goes on")
        await s.rest()
        assert await s.both(1, "note") == ("goes on",)
        assert await s.conflicts() == []

    play(story)


def test_what_is_written_at_the_restored_centre_meets_what_comes_home_column_by_column(play):
    async def story(s: Story) -> None:
        s.order(1, note="held", seat=1)
        await s.back_up()
        await s.plan(1, due="lost")
        await s.rest()
        await s.restore()
        await s.plan(1, note="new")
        await s.plan(1, note="newer")
        await s.rest()
        assert await s.both(1, "due", "note") == ("lost", "newer")
        assert await s.conflicts() == []
        s.change(1, shelf="S")
        await s.rest()
        assert await s.both(1, "due", "note", "shelf") == ("lost", "newer", "S")
        assert await s.conflicts() == []

    play(story)


def test_one_column_written_in_the_lost_time_and_after_it_is_a_conflict_on_record(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.back_up()
        await s.plan(1, note="lost")
        await s.rest()
        s.change(1, seat=5)  # on top of what is lost, and not sent
        await s.step("drain")
        await s.restore()
        await s.plan(1, note="new")
        await s.rest()
        assert await s.both(1, "seat") == (5,)
        ((group, here, central),) = await s.conflicts()
        assert group == "note"
        assert "lost" in here
        assert "new" in central
        await s.both(1, "note")

    play(story)


def test_a_write_that_is_not_decided_is_not_told_as_the_centres(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        await s.plan(1, made=5)
        await s.rest()
        s.change(1, made=7)
        await s.step("drain")  # and not sent
        await s.restore()
        await s.rest()
        assert await s.both(1, "made") == (7,)

    play(story)


def test_what_a_site_wrote_on_a_row_that_it_deletes_meanwhile_is_not_forgotten(play):
    async def story(s: Story) -> None:
        s.order(1, note="in the backup")
        await s.back_up()
        s.change(1, note="since the backup", dose=10)
        s.order(2, note="new since the backup")
        await s.rest()
        for number in (1, 2):
            s.write("DELETE FROM orders WHERE id = ?", id_of(number))
        await s.step("drain")  # and not sent
        await s.restore()
        await s.plan(1, dose=20)  # so that a person has to decide on the deletion
        await s.rest()
        assert await s.both(1, "note") == ("since the backup",)
        assert await s.count("mes.orders", f"id = '{id_of(2)}'") == 0
        s.order(2, note="made anew")
        await s.rest()
        assert await s.both(2, "note") == ("made anew",)

    play(story)


def test_nothing_of_a_site_is_taken_before_it_has_brought_home_what_it_knows(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        await s.plan(1, due="lost")
        await s.rest()
        s.change(1, made=4)  # the next that the centre waits for
        await s.step("send")
        await s.restore()
        assert await s.welcome() == "lost"
        await s.step("ingest")
        assert await s.stands(1, "made") == (0,)
        await s.rest()
        assert await s.both(1, "made") == (4,)

    play(story)


def test_a_server_that_went_back_and_was_started_again_is_healed_as_of_its_first_start(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.back_up()
        await s.plan(1, due="lost")
        await s.rest()
        await s.restore()
        for text in ("one", "two", "three"):
            await s.plan(1, shelf=text)
        await s.world.database_starts()
        await s.world.database_starts()
        await s.rest()
        assert await s.both(1, "due", "shelf") == ("lost", "three")

    play(story)


def test_a_server_that_was_only_started_is_met_and_nobody_brings_anything(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.rest()
        await s.world.database_starts()
        asked: list[str] = []
        known = s.world.broker.between

        async def heard(subject: str) -> None:
            asked.append(subject.rpartition(".")[2])
            assert known is not None
            await known(subject)

        s.world.broker.between = heard
        await s.rest()
        assert s.world.life in [each.life for each in s.site().store.hello().lives]
        assert "home" not in asked
        asked.clear()
        await s.step("hello")
        assert asked == ["hello"]
        assert await s.count("sync.life") == 2
        assert await s.count("sync.restore") == 0

    play(story)


def test_what_was_parked_in_the_lost_time_is_parked_again_once(play):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        await s.plan(1, code="C2")  # and the site has not heard of it
        await s.step("hello")
        s.order(3, code="C2")
        s.order(4, note="beside it")
        await s.step("send")
        await s.step("ingest")
        await s.rest(owed=True)
        before = await s.world.database.rows("SELECT row_id, reason FROM mes.sync_parked")
        assert len(before) == 1
        await s.restore()
        await s.rest(owed=True)
        assert await s.both(4, "note") == ("beside it",)
        assert await s.world.database.rows("SELECT row_id, reason FROM mes.sync_parked") == before
        assert await s.count("mes.orders", f"id = '{id_of(3)}'") == 0

    play(story)


def test_what_was_called_safe_and_is_in_no_backup_is_told_as_missing(play):
    async def story(s: Story) -> None:
        s.world.is_unmarked = True
        s.order(1)
        await s.back_up()
        s.change(1, note="home")
        s.order(2, note="too")
        await s.rest()
        await s.world.safe()
        await s.rest()
        assert s.site().read("SELECT count(*) FROM _sync_out") == [(0,)]
        await s.restore()
        s.change(1, shelf="after")
        await s.rest()
        assert await s.both(1, "note", "shelf") == ("home", "after")
        assert await s.both(2, "note") == ("too",)
        missing = await s.world.database.rows(
            "SELECT max((found ->> 'missing')::int) FROM sync.restore"
        )
        assert missing[0][0] > 0

    play(story)


def test_what_is_called_safe_goes_back_with_the_centre(play):
    async def story(s: Story) -> None:
        s.world.is_unmarked = True
        s.order(1)
        await s.back_up()
        s.change(1, note="home")
        await s.rest()
        await s.world.safe()
        for step in ("sequence", "publish", "fetch"):
            await s.step(step)
        at = s.site().store.position()
        assert at.safe_n == at.last_n
        await s.restore()
        await s.step("hello")
        assert s.site().store.position().safe_n == at.last_n - 1
        await s.rest()
        assert await s.both(1, "note") == ("home",)

    play(story)


def test_only_what_the_backup_lacks_is_told_as_included(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.back_up()
        n = s.site().store.position().last_n
        s.change(1, note="since")
        await s.rest()
        await s.restore()
        await s.rest()
        noted = await s.world.database.rows("SELECT n FROM sync.included WHERE site = 'NORTH'")
        assert noted == [(n + 1,)]

    play(story)


# --- both go back --------------------------------------------------------------------------------


def test_a_centre_that_no_longer_knows_of_a_sites_new_epoch_takes_it_up(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.rest()
        s.copy()
        await s.world.centre_is_backed_up()
        s.change(1, note="of the lost life")
        await s.rest()
        s.put_back()
        s.change(1, shelf="in the new epoch")
        await s.rest()
        await s.restore()
        await s.rest()
        assert await s.both(1, "note", "shelf") == ("of the lost life", "in the new epoch")
        assert await s.count("sync.epoch", "site = 'NORTH' AND closed_at_n IS NULL") == 1
        assert await s.conflicts() == []

    play(story)


def test_a_store_and_the_centre_that_both_went_back_come_to_agree(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.back_up()
        s.change(1, note="in the copy")
        await s.rest()
        s.copy()
        s.change(1, shelf="lost with both")
        await s.rest()
        s.put_back()
        await s.restore()
        s.change(1, seat=3)
        await s.rest()
        assert await s.both(1, "note", "shelf", "seat") == ("in the copy", None, 3)

    play(story)
