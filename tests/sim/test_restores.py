"""Stores and the centre go back to older copies: told step by step, on the campaign's world.

What the campaign meets by chance stands here in a few lines each, so that whoever breaks a rule of
the handshake is told which. Real stores, a real PostgreSQL; restores are as ``Starts`` has them.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from sync import codec
from tests.sim.campaign import Lab
from tests.sim.catalogue import CREATED, GOOD_MAX, NEW
from tests.sim.narrow import narrow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sim.site import Site
    from tests.sim.world import World

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]
NORTH, SOUTH = "NORTH", "SOUTH"
#: Two sites of the newest release on a centre of the same; the tests tell all else themselves.
CONFIG = 1


@pytest.fixture(scope="module")
def lab(_superuser_url):
    with Lab(_superuser_url) as lab:
        yield lab


def id_of(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-000000000000"


class Story:
    """A world whose steps are told."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.oracle.is_blind = True  # what must stand, the test says
        world.is_unmarked = False
        world.settling = True  # nobody writes but who is told to

        async def nothing() -> None:
            """Let nothing arrive that is not told to."""

        world._all_hear = nothing  # type: ignore[method-assign]

    def site(self, name: str = NORTH) -> Site:
        return self.world.sites[name]

    def write(self, text: str, *given: Any, site: str = NORTH) -> None:
        self.world.clock.now_ms += 60_000
        refused = self.site(site).write([(text, given)])
        assert not refused, refused

    def order(self, number: int, site: str = NORTH, **values: Any) -> None:
        names = ("id", "site_id", "created_at", "state", "holds", "made", *values)
        given = (id_of(number), site, CREATED, "planned", "[]", 0, *values.values())
        holes = ", ".join("?" * len(names))
        self.write(f"INSERT INTO orders ({', '.join(names)}) VALUES ({holes})", *given, site=site)

    def change(self, number: int, site: str = NORTH, **values: Any) -> None:
        listed = ", ".join(f"{name} = ?" for name in values)
        self.write(
            f"UPDATE orders SET {listed} WHERE id = ?", *values.values(), id_of(number), site=site
        )

    async def plan(self, number: int, **values: Any) -> None:
        """A program of the centre changes an order."""
        self.world.clock.now_ms += 60_000
        listed = ", ".join(f"{name} = %s" for name in values)
        text = f"UPDATE mes.orders SET {listed} WHERE id = %s"
        assert await self.world._execute(NORTH, text, [*values.values(), id_of(number)])

    async def rest(self, *, owed: bool = False) -> None:
        """Let all come to rest, and compare what no restore may part."""
        await self.world._rounds()
        await self.world.oracle.follow()
        await self.world.hear_entries()
        await self.world._feeds_are_the_centres()
        await self.world._sites_hold_their_share()
        if not owed:
            await self.world._nothing_is_owed()

    async def step(self, name: str, site: str = NORTH) -> None:
        await self.world.step(name, 4, site=site)

    async def welcome(self, site: str = NORTH) -> str:
        """Return what the centre answers to a site's hello, and do nothing of it."""
        said, agent = self.site(site).store.hello(with_order=True), self.site(site).agent
        fields = said.fields() | agent._handshake.about
        fields |= {"now_ms": self.world.clock.now_ms, "sent_n": 0}
        assert self.world.centre.control is not None
        answer = await self.world.centre.control.answer(
            f"ctl.{site}.hello", codec.encode_control(fields)
        )
        return str(codec.decode_control(answer)["verdict"])

    async def restore(self) -> None:
        await self.world.centre_is_restored()

    def copy(self, site: str = NORTH) -> None:
        self.world.copies[site] = self.site(site).files.copy()

    def put_back(self, site: str = NORTH) -> None:
        there = self.site(site)
        there.close()
        there.files.put(self.world.copies[site])
        there.open()
        self.world.went_back(there)

    # --- what stands -----------------------------------------------------------------------------

    def shown(self, number: int, *names: str, site: str = NORTH) -> tuple[Any, ...]:
        listed = ", ".join(names)
        ((*found,),) = self.site(site).read(
            f"SELECT {listed} FROM orders WHERE id = ?", id_of(number)
        )
        return tuple(found)

    async def stands(self, number: int, *names: str) -> tuple[Any, ...]:
        ((*found,),) = await self.world.database.rows(
            f"SELECT {', '.join(names)} FROM mes.orders WHERE id = %s", id_of(number)
        )
        return tuple(found)

    async def both(self, number: int, *names: str) -> tuple[Any, ...]:
        there = await self.stands(number, *names)
        assert there == self.shown(number, *names)
        return there

    async def count(self, table: str, where: str = "true") -> int:
        ((count,),) = await self.world.database.rows(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(count)

    async def conflicts(self) -> list[tuple[str, Any, Any]]:
        rows = await self.world.database.rows(
            "SELECT column_group, here_value::text, central_value::text FROM mes.sync_conflicts"
            " ORDER BY id"
        )
        return [(group, here, central) for group, here, central in rows]


@pytest.fixture
def play(lab):
    """Plays a story on a world of its own."""

    def played(story: Callable[[Story], Awaitable[None]]) -> None:
        world = lab.world(CONFIG)

        async def run() -> None:
            with narrow(world.clock, is_small=False):
                try:
                    for site in world.sites.values():
                        site.restart(NEW)
                    world.clock.skew = dict.fromkeys(world.sites, 0)
                    await world.start()
                    await story(Story(world))
                finally:
                    await world.close()

        try:
            lab.runner.run(run())
        finally:
            shutil.rmtree(world.folder)

    return played


# --- the centre goes back ------------------------------------------------------------------------


def test_what_a_site_sent_since_the_backup_comes_again_and_counts_once(play):
    async def story(s: Story) -> None:
        s.order(1)
        await s.rest()
        await s.world.centre_is_backed_up()
        s.change(1, made=3, note="since")
        s.order(2, note="new")
        s.write(
            "INSERT INTO reports (id, site_id, created_at, order_id, good) VALUES (?, ?, ?, ?, 7)",
            id_of(9), NORTH, CREATED, id_of(2),
        )  # fmt: skip
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        assert s.world.life in s.site().store.hello().lives
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
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
        await s.rest()
        await s.world.centre_is_backed_up()
        n = s.site().store.position().last_n
        s.change(1, note="since")
        await s.rest()
        await s.restore()
        await s.rest()
        noted = await s.world.database.rows("SELECT n FROM sync.included WHERE site = 'NORTH'")
        assert noted == [(n + 1,)]

    play(story)


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
        s.write(
            "INSERT INTO reports (id, site_id, created_at, order_id, good) VALUES (?, ?, ?, ?, ?)",
            id_of(9), NORTH, CREATED, id_of(2), GOOD_MAX + 1,
        )  # fmt: skip
        s.copy()  # with what is not drained yet
        await s.step("send")
        await s.step("ingest")
        s.put_back()
        await s.rest(owed=True)
        tickets = await s.world.database.rows(
            "SELECT id::text FROM mes.sync_parked ORDER BY table_name"
        )
        assert [await s.world.centre.by_hand.discard(each, "a person") for (each,) in tickets]
        await s.rest(owed=True)
        assert s.site().read("SELECT 1 FROM orders WHERE id = ?", id_of(2)) == []

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
        await s.rest()
        await s.world.centre_is_backed_up()
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
