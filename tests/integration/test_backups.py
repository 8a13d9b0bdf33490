"""``safe`` follows the oldest backup that may be restored (rule 8), whatever is said of backups."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from central import backups
from central.backups import (
    MARK_LOCK,
    Mark,
    NotMarked,
    UnknownBackup,
    read_backups,
    read_summary,
    set_mark,
    told_to_site,
)
from central.upkeep import advance_safe
from tests.integration.apply_world import world  # noqa: F401
from tests.integration.central_world import connect

if TYPE_CHECKING:
    from tests.integration.apply_world import World

DAY_S = 86_400.0
BEGUN, FINISHED, FAILED, GONE = Mark.BEGUN, Mark.FINISHED, Mark.FAILED, Mark.GONE


async def mark(world: World, name: str, *marks: Mark) -> None:
    for each in marks:
        assert await set_mark(world.admin, name, each)


async def write(world: World, site, count: int = 1) -> None:
    for _ in range(count):
        await site.writes(site.insert("work_orders", site.order()))


async def safe(world: World, *, safe_after_s: float = 0.0) -> dict[str, int]:
    """Do a step of the upkeep and return what it leaves."""
    await advance_safe(world.admin, safe_after_s)
    return dict(await world.rows("SELECT site, safe_n FROM sync.epoch"))


async def backup(world: World, name: str) -> None:
    await mark(world, name, BEGUN, FINISHED)


# --- what safe follows ---------------------------------------------------------------------------


async def test_safe_is_where_the_oldest_finished_backup_began(world):
    one, two = world.site("SITE_001"), world.site("SITE_002")
    await write(world, one, 3)
    await write(world, two, 1)
    await mark(world, "mon", BEGUN)
    await write(world, one, 2)
    await mark(world, "mon", FINISHED)
    await backup(world, "tue")
    assert await safe(world) == {"SITE_001": 3, "SITE_002": 1}
    await mark(world, "mon", GONE)
    assert await safe(world) == {"SITE_001": 5, "SITE_002": 1}


async def test_a_backup_that_was_begun_does_not_lift_safe(world):
    site = world.site()
    await write(world, site, 2)
    await backup(world, "mon")
    await safe(world)
    await write(world, site, 2)
    await mark(world, "tue", BEGUN)
    await mark(world, "mon", GONE)
    assert await safe(world) == {"SITE_001": 2}
    await mark(world, "tue", FINISHED)
    assert await safe(world) == {"SITE_001": 4}


async def test_age_counts_until_a_first_backup_is_finished_but_not_beyond_one_that_is_taken(world):
    site = world.site()
    await write(world, site, 2)
    await mark(world, "first", BEGUN)
    await write(world, site, 2)
    assert await safe(world, safe_after_s=DAY_S) == {"SITE_001": 0}
    assert await safe(world) == {"SITE_001": 2}
    await mark(world, "first", FAILED)
    assert await safe(world) == {"SITE_001": 4}


async def test_a_long_backup_that_began_before_a_shorter_one_is_waited_for(world):
    site = world.site()
    await write(world, site, 2)
    await mark(world, "long", BEGUN)
    await write(world, site, 2)
    await backup(world, "short")
    assert await safe(world) == {"SITE_001": 2}
    await mark(world, "long", FINISHED)
    assert await safe(world) == {"SITE_001": 2}
    await mark(world, "long", GONE)
    assert await safe(world) == {"SITE_001": 4}


async def test_safe_stands_still_when_all_backups_are_gone(world):
    site = world.site()
    await write(world, site, 2)
    await backup(world, "mon")
    assert await safe(world) == {"SITE_001": 2}
    await write(world, site, 3)
    await mark(world, "mon", GONE)
    assert await safe(world) == {"SITE_001": 2}
    told = await told_to_site(world.admin, "SITE_001", late_hours=26, now_ms=0)
    assert (told["marked"], told["newest_ms"], told["through_ms"]) == (True, None, None)
    assert told["why"].startswith("no backup is left")


async def test_a_chain_that_was_opened_after_the_oldest_backup_has_nothing_safe(world):
    await write(world, world.site("SITE_001"), 2)
    await backup(world, "mon")
    await write(world, world.site("SITE_002"), 2)
    await backup(world, "tue")
    assert await safe(world) == {"SITE_001": 2, "SITE_002": 0}
    await mark(world, "mon", GONE)
    assert await safe(world) == {"SITE_001": 2, "SITE_002": 2}


async def test_safe_never_goes_back_by_a_mark(world):
    site = world.site()
    await write(world, site, 4)
    assert await safe(world) == {"SITE_001": 4}
    await world.admin.execute("UPDATE sync.epoch SET last_n = 2")  # as a lost tail would leave it
    await backup(world, "mon")
    assert await safe(world) == {"SITE_001": 4}


async def test_safe_is_never_beyond_what_was_applied(world):
    site = world.site()
    await write(world, site, 4)
    await backup(world, "mon")
    await world.admin.execute("UPDATE sync.epoch SET last_n = 3")
    assert await safe(world) == {"SITE_001": 3}


async def test_a_chain_that_is_being_applied_to_holds_up_no_other(world):
    for name in ("SITE_001", "SITE_002"):
        await write(world, world.site(name), 1)
    await backup(world, "mon")
    async with connect(world.url, autocommit=False) as busy:
        await busy.execute("SELECT FROM sync.epoch WHERE site = 'SITE_001' FOR UPDATE")
        await world.admin.execute("SET lock_timeout = '2s'")
        assert await safe(world) == {"SITE_001": 0, "SITE_002": 1}
    assert await safe(world) == {"SITE_001": 1, "SITE_002": 1}


async def test_nothing_becomes_safe_while_a_backup_is_being_marked(world):
    """Else age could let go of what the mark, which began before, does not name."""
    await write(world, world.site(), 2)
    async with connect(world.url, autocommit=False) as marking:
        await marking.execute("SELECT pg_advisory_xact_lock(%s)", [MARK_LOCK])
        await world.admin.execute("SET lock_timeout = '2s'")
        assert await safe(world) == {"SITE_001": 0}
    assert await safe(world) == {"SITE_001": 2}


async def test_a_mark_waits_for_what_is_becoming_safe(world):
    await write(world, world.site(), 1)
    async with connect(world.url, autocommit=False) as upkeep, connect(world.url) as marking:
        await upkeep.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [MARK_LOCK])
        begun = asyncio.create_task(set_mark(marking, "mon", BEGUN))
        await asyncio.wait([begun], timeout=0.3)
        assert not begun.done()
        await upkeep.rollback()
        assert await begun


async def test_a_transaction_under_way_at_the_mark_is_not_counted_as_inside(world):
    site = world.site()
    await write(world, site, 1)
    async with connect(world.url, autocommit=False) as applying:
        await applying.execute("UPDATE sync.epoch SET last_n = 2")
        await mark(world, "mon", BEGUN)
        await applying.commit()
    await mark(world, "mon", FINISHED)
    assert await safe(world) == {"SITE_001": 1}


# --- what may be said of a backup ----------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [[BEGUN], [BEGUN, FINISHED], [BEGUN, FAILED], [BEGUN, FINISHED, GONE]]
)
async def test_every_mark_may_be_said_twice(world, said):
    await mark(world, "mon", *said)
    before = await read_backups(world.admin)
    assert not await set_mark(world.admin, "mon", said[-1])
    assert await read_backups(world.admin) == before


async def test_a_second_mark_of_a_backup_that_is_being_taken_keeps_the_first_positions(world):
    site = world.site()
    await write(world, site, 1)
    await mark(world, "mon", BEGUN)
    await write(world, site, 1)
    assert not await set_mark(world.admin, "mon", BEGUN)
    await mark(world, "mon", FINISHED)
    assert await safe(world) == {"SITE_001": 1}


async def test_a_backup_that_failed_is_begun_again_from_where_things_stand_then(world):
    site = world.site()
    await write(world, site, 1)
    await mark(world, "mon", BEGUN, FAILED)
    await write(world, site, 1)
    await mark(world, "mon", BEGUN, FINISHED)
    assert await safe(world) == {"SITE_001": 2}


@pytest.mark.parametrize(
    ("said", "then", "error", "words"),
    [
        ([], FINISHED, UnknownBackup, "backup mark mon`, then take it"),
        ([], FAILED, UnknownBackup, "no backup mon was begun"),
        ([], GONE, UnknownBackup, "no backup mon was begun"),
        ([BEGUN], GONE, NotMarked, "backup mark mon --failed"),
        ([BEGUN, FINISHED], BEGUN, NotMarked, "a name of its own, such as mon-2"),
        ([BEGUN, FINISHED], FAILED, NotMarked, "backup mark mon --gone"),
        ([BEGUN, FAILED], FINISHED, NotMarked, "take another backup"),
        ([BEGUN, FINISHED, GONE], BEGUN, NotMarked, "a name of its own, such as mon-2"),
        ([BEGUN, FINISHED, GONE], FINISHED, NotMarked, "take another backup"),
    ],
)
async def test_what_can_t_be_said_of_a_backup_is_refused_with_what_to_do(
    world, said, then, error, words
):
    await mark(world, "mon", *said)
    before = await read_backups(world.admin)
    with pytest.raises(error, match=words):
        await set_mark(world.admin, "mon", then)
    assert await read_backups(world.admin) == before


async def test_positions_are_kept_only_while_a_backup_may_be_restored(world):
    await write(world, world.site(), 1)
    await backup(world, "mon")
    await mark(world, "tue", BEGUN, FAILED)
    assert await world.rows("SELECT backup, last_n FROM sync.backup_position") == [("mon", 1)]
    await mark(world, "mon", GONE)
    assert not await world.rows("SELECT FROM sync.backup_position")


async def test_what_counts_is_found_without_reading_years_of_backups_that_are_gone(world):
    await world.admin.execute(
        "INSERT INTO sync.backup (name, begun_at, finished_at, gone_at)"
        " SELECT 'old-' || n, now(), now(), now() FROM generate_series(1, 20000) AS n"
    )
    await world.admin.execute("ANALYZE sync.backup")
    await mark(world, "new", BEGUN, FINISHED)
    await mark(world, "next", BEGUN)
    seen = await read_summary(world.admin)
    assert seen.newest is seen.oldest is not None
    assert (seen.newest.name, seen.restorable, seen.ever_finished) == ("new", 1, True)
    assert seen.unended is not None
    assert seen.unended.name == "next"
    cursor = await world.admin.execute(f"EXPLAIN {backups._COUNTING}")
    plan = "\n".join(line for (line,) in await cursor.fetchall())
    assert "backup_that_counts" in plan
    await mark(world, "new", GONE)
    seen = await read_summary(world.admin)
    assert (seen.newest, seen.restorable, seen.ever_finished) == (None, 0, True)


# --- protected until -----------------------------------------------------------------------------


async def test_a_site_is_told_until_when_its_writes_are_in_the_oldest_backup(world):
    site = world.site()
    await write(world, site, 2)
    through_ms = site.at_ms
    await backup(world, "mon")
    await write(world, site, 1)
    await backup(world, "tue")
    newest = (await read_summary(world.admin)).newest
    assert newest is not None
    now_ms = round(newest.begun_at.timestamp() * 1000)
    told = await told_to_site(world.admin, "SITE_001", late_hours=26, now_ms=now_ms)
    assert told == {"marked": True, "through_ms": through_ms, "newest_ms": now_ms, "why": ""}
    unheard = await told_to_site(world.admin, "SITE_002", late_hours=26, now_ms=now_ms)
    assert unheard["through_ms"] is None
    late = await told_to_site(world.admin, "SITE_001", late_hours=26, now_ms=now_ms + 97_200_000)
    assert late["why"] == "the newest backup, tue, is 27 h old"


NEW_YEAR_MS = round(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("drained_ms", "through_ms"),
    [(NEW_YEAR_MS - 300, NEW_YEAR_MS - 300), (NEW_YEAR_MS + 5, NEW_YEAR_MS), (None, None)],
)
async def test_a_site_is_complete_in_a_backup_until_it_looked_for_its_hello_and_had_nothing_left(
    world, drained_ms, through_ms
):
    site = world.site()
    await write(world, site, 2)
    await world.admin.execute(
        "UPDATE sync.site SET hello_at = '2027-01-01T00:00:00Z', hello = jsonb_build_object("
        "'n', 2, 'epoch', %s::text, 'drained_ms', %s::bigint) WHERE site = 'SITE_001'",
        [site.epoch, drained_ms],
    )
    await backup(world, "mon")
    told = await told_to_site(world.admin, "SITE_001", late_hours=26, now_ms=0)
    assert told["through_ms"] == (site.at_ms if through_ms is None else through_ms)


async def test_while_no_backup_was_finished_a_site_is_told_so(world):
    await mark(world, "mon", BEGUN)
    told = await told_to_site(world.admin, "SITE_001", late_hours=26, now_ms=0)
    assert told == {"marked": False, "through_ms": None, "newest_ms": None, "why": ""}
