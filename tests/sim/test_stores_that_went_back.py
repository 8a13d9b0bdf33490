"""A store goes back to an older copy of itself: what the campaign meets by chance, told."""

from __future__ import annotations

import shutil

import pytest

from tests.sim.catalogue import GOOD_MAX
from tests.sim.story import NORTH, Story, id_of, lab, play

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


# --- a store goes back ---------------------------------------------------------------------------


def test_what_a_lost_life_and_the_store_after_it_wrote_is_in_conflict(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.rest()
        s.copy()
        n = s.site().store.position().last_n
        s.change(1, due="of the lost life")
        await s.rest()
        s.put_back()
        s.change(1, due="after the copy")
        await s.step("drain")
        s.change(1, seat=4)
        await s.rest()
        ((group, here, central),) = await s.conflicts()
        assert group == "due"
        assert "after the copy" in here
        assert "of the lost life" in central
        # What stands was not the site's own any more, so the policy decides.
        assert await s.both(1, "due", "seat") == ("of the lost life", 4)
        assert s.site().read("SELECT fork_n, closed_n FROM _sync_epoch") == [(n, n + 1)]

    play(story)


def test_a_store_that_has_sent_again_as_much_as_its_lost_life_is_found(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.rest()
        s.copy()
        s.change(1, note="of the lost life")
        await s.rest()
        s.put_back()
        for k in range(3):  # beyond what the centre knows
            s.change(1, seat=k)
            await s.step("drain")
        await s.rest()
        assert await s.both(1, "note", "seat") == ("of the lost life", 2)
        assert await s.count("sync.epoch", "site = 'NORTH'") == 2
        assert await s.conflicts() == []

    play(story)


def test_a_store_that_is_put_back_twice_to_one_copy_closes_both_lives(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.rest()
        s.copy()
        for k, text in enumerate(("first life", "second life")):
            s.change(1, note=text, seat=k)
            await s.rest()
            s.put_back()
        s.change(1, note="third life")
        await s.rest()
        assert await s.both(1, "note", "seat") == ("third life", 1)
        assert await s.count("sync.epoch", "site = 'NORTH'") == 3
        assert await s.count("sync.epoch", "site = 'NORTH' AND closed_at_n IS NULL") == 1

    play(story)


def test_undecided_writes_of_a_copy_go_on_in_the_new_epoch_and_stay_in_sight(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        s.order(2)
        await s.rest()
        s.change(1, shelf="in the copy")
        await s.step("drain")
        s.copy()
        s.change(2, note="of the lost life")
        await s.step("send")
        await s.step("ingest")
        s.put_back()
        await s.step("hello")
        assert s.shown(1, "shelf") == ("in the copy",)
        assert s.site().store.position().acked_n == 0
        await s.rest()
        assert await s.both(1, "shelf") == ("in the copy",)
        assert await s.both(2, "note") == ("of the lost life",)
        assert await s.conflicts() == []
        assert s.site().read("SELECT count(*) FROM _sync_pending") == [(0,)]

    play(story)


def test_undecided_writes_that_no_lost_life_has_sent_are_decided_in_the_new_epoch(play):
    async def story(s: Story) -> None:
        s.order(1)
        s.order(2)
        await s.rest()
        older, newer = s.world.folder / "older", s.world.folder / "newer"
        shutil.copytree(s.site().files.copy(), older)
        s.change(1, shelf="in the newer copy")
        await s.step("drain")
        shutil.copytree(s.site().files.copy(), newer)
        s.world.copies[NORTH] = older
        s.put_back()
        s.change(2, note="of the life between")
        await s.rest()
        s.world.copies[NORTH] = newer
        s.put_back()
        await s.step("hello")
        last_n = s.site().store.position().last_n
        assert s.site().read("SELECT n FROM _sync_pending") == [(last_n,)]
        await s.rest()
        assert await s.both(1, "shelf") == ("in the newer copy",)
        assert await s.both(2, "note") == ("of the life between",)
        assert s.site().read("SELECT count(*) FROM _sync_pending") == [(0,)]

    play(story)


def test_what_both_have_beyond_the_ack_is_common_when_a_store_goes_back(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        acked_n = s.site().store.position().acked_n
        for k in range(3):
            s.change(1, seat=k)
            await s.step("send")
            await s.step("ingest")
        s.copy()
        s.change(1, note="of the lost life")
        await s.rest()
        s.put_back()
        await s.rest()
        assert s.site().read("SELECT fork_n, closed_n FROM _sync_epoch") == [
            (acked_n + 3, acked_n + 4)
        ]
        assert await s.both(1, "seat", "note") == (2, "of the lost life")

    play(story)


def test_what_a_lost_life_wrote_on_rows_of_which_the_outbox_has_nothing_comes_home(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await s.rest()
        await s.world.safe()
        await s.rest()
        assert s.site().read("SELECT count(*) FROM _sync_out") == [(0,)]
        s.copy()
        s.change(1, note="of the lost life")
        await s.rest()
        s.put_back()
        await s.rest()
        assert await s.both(1, "note") == ("of the lost life",)

    play(story)


def test_a_row_of_the_lost_life_that_a_person_let_go_of_goes_from_the_copy_as_well(play):
    async def story(s: Story) -> None:
        await s.rest()
        s.order(2)
        s.report(9, order=2, good=GOOD_MAX + 1)
        s.copy()  # with what is not drained yet
        await s.step("send")
        await s.step("ingest")
        s.put_back()
        await s.rest(owed=True)
        assert await s.let_go()
        await s.rest(owed=True)
        assert s.site().read("SELECT 1 FROM orders WHERE id = ?", id_of(2)) == []

    play(story)


def test_a_row_that_only_a_lost_life_sent_goes_where_a_person_let_go_of_it_before(play):
    async def story(s: Story) -> None:
        await s.rest()
        s.order(2)
        s.report(9, order=2, good=GOOD_MAX + 1)
        s.copy()  # with what is not drained yet
        await s.step("send")
        s.put_back()
        await s.step("ingest")
        assert len(await s.let_go()) == 2
        await s.step("sequence")  # that the row is gone is told before the snapshot is
        await s.rest(owed=True)
        assert await s.count("mes.orders", f"id = '{id_of(2)}'") == 0
        assert s.site().read("SELECT 1 FROM orders WHERE id = ?", id_of(2)) == []

    play(story)


@pytest.mark.parametrize("drained", [False, True])
def test_a_write_of_which_the_lost_life_was_told_that_it_is_parked_goes_out_of_sight(play, drained):
    """The row's head is the one that the write was made on: nothing newer comes for it."""

    async def story(s: Story) -> None:
        s.order(1)
        s.order(2)
        await s.rest()
        await s.plan(1, note="held")  # a head with an order
        await s.rest()
        await s.plan(2, code="C3")  # and the site has not heard of it
        s.change(1, code="C3", note="parked")
        if drained:
            await s.step("drain")
        s.copy()
        await s.step("send")
        await s.step("ingest")
        assert await s.count("mes.sync_parked") == 1
        s.put_back()
        await s.rest(owed=True)
        assert await s.both(1, "code", "note") == (None, "held")
        assert await s.both(2, "code") == ("C3",)

    play(story)
