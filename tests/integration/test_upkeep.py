"""What the centre keeps is bounded, and keeping it so costs what is deleted, not what is kept."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from central import upkeep
from central.retention import Kept
from central.roles import as_role
from central.upkeep import REFUSED_DAYS, REFUSED_ROWS_MAX, SLICE_ROWS, advance_safe, keep_up, prune
from shared.errors import MalformedMessage
from tests.integration.apply_world import world  # noqa: F401
from tests.integration.central_world import connect
from tests.integration.rollup_world import as_ingest
from tests.integration.union_world import a_plant, a_report, folds_all, ingest, inserts

if TYPE_CHECKING:
    from tests.integration.apply_world import World

EPOCH = "018f4b7e-0000-7000-8000-000000000001"
DAY_S = 86_400.0


async def applied(world: World, site: str, *, count: int, days_ago: str) -> None:
    """Have a site's chain as it is after so many transactions; ``n`` is a number of one."""
    await world.admin.execute(
        f"""INSERT INTO sync.applied (tx_id, site, epoch, n, hash, applied_at)
            SELECT gen_random_uuid(), '{site}', '{EPOCH}', n, '',
                   now() - interval '1 day' * {days_ago}
            FROM generate_series(1, {count}) AS n"""
    )
    await world.admin.execute(
        f"INSERT INTO sync.epoch (site, epoch, last_n) VALUES ('{site}', '{EPOCH}', {count})"
    )


async def safe(world: World) -> dict[str, int]:
    return dict(await world.rows("SELECT site, safe_n FROM sync.epoch"))


async def test_upkeep_mends_what_is_stale(world):
    await a_plant(world)
    chance = random.Random(1)
    await inserts(world, [a_report(chance) for _ in range(20)])
    await folds_all(world)
    await as_ingest(world, "DELETE FROM mes.job_responses")
    await folds_all(world)
    query = "SELECT count(*) FROM mes.order_lives"
    assert await world.value(query) > 0
    kept = Kept(version_days=0, history_days=0, known_days=0)
    async with await ingest(world) as connection:
        keeping = asyncio.create_task(
            keep_up(connection, safe_after_s=DAY_S, feed_days=1, kept=kept)
        )
        for _ in range(500):
            if not await world.value(query):
                break
            await asyncio.sleep(0.02)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert await world.value(query) == 0


async def test_safe_is_what_was_applied_long_enough_ago_of_each_site(world):
    await applied(world, "SITE_001", count=100, days_ago="(100 - n) / 10.0")
    await applied(world, "SITE_002", count=10, days_ago="0")
    await applied(world, "SITE_003", count=10, days_ago="9")
    assert await advance_safe(world.admin, DAY_S) == 2
    assert await safe(world) == {"SITE_001": 90, "SITE_002": 0, "SITE_003": 10}
    assert await advance_safe(world.admin, DAY_S) == 0


async def test_a_chain_that_is_being_applied_to_holds_up_no_other(world):
    await applied(world, "SITE_001", count=3, days_ago="9")
    await applied(world, "SITE_002", count=3, days_ago="9")
    async with connect(world.url, autocommit=False) as busy:
        await busy.execute("SELECT FROM sync.epoch WHERE site = 'SITE_001' FOR UPDATE")
        await world.admin.execute("SET lock_timeout = '2s'")
        assert await advance_safe(world.admin, DAY_S) == 1
        assert await safe(world) == {"SITE_001": 0, "SITE_002": 3}
    assert await advance_safe(world.admin, DAY_S) == 1


async def test_old_transactions_are_forgotten_but_for_the_last_and_those_that_are_not_safe(world):
    await applied(world, "SITE_001", count=3 * SLICE_ROWS, days_ago="99")
    await applied(world, "SITE_002", count=5, days_ago="99")
    await world.admin.execute(
        f"UPDATE sync.epoch SET safe_n = last_n - {2 * SLICE_ROWS} WHERE site = 'SITE_001'"
    )
    pruned = await prune(world.admin, 14)
    assert pruned["applied"] == SLICE_ROWS - 1
    assert (
        await world.value("SELECT min(n) FROM sync.applied WHERE site = 'SITE_001'") == SLICE_ROWS
    )
    assert (await prune(world.admin, 14))["applied"] == 0


async def test_entries_are_pruned_by_their_age_but_never_the_last_of_a_feed(world):
    for scope, days in (("SITE_001", 99), ("SITE_002", 1)):
        await world.admin.execute(
            f"""INSERT INTO sync.feed (scope, pos, previous, hash, body, made_at)
                SELECT '{scope}', n, '', '', '', now() - interval '{days} days'
                FROM generate_series(1, {2 * SLICE_ROWS + 1}) AS n"""
        )
        await world.admin.execute(
            f"INSERT INTO sync.feed_head (scope, pos) VALUES ('{scope}', {2 * SLICE_ROWS + 1})"
        )
    assert (await prune(world.admin, 14))["feed"] == 2 * SLICE_ROWS
    assert dict(await world.rows("SELECT scope, count(*) FROM sync.feed GROUP BY scope")) == {
        "SITE_001": 1,
        "SITE_002": 2 * SLICE_ROWS + 1,
    }


async def test_upkeep_with_nothing_to_do_reads_little_of_what_is_kept(world):
    for site in ("SITE_001", "SITE_002", "SITE_003"):
        await applied(world, site, count=40_000, days_ago="0.5")
        await world.admin.execute(
            f"""INSERT INTO sync.feed (scope, pos, previous, hash, body)
                SELECT '{site}', n, '', '', '' FROM generate_series(1, 40000) AS n"""
        )
        await world.admin.execute(
            f"INSERT INTO sync.feed_head (scope, pos) VALUES ('{site}', 40000)"
        )
    await world.admin.execute("ANALYZE sync.applied, sync.feed, sync.epoch, sync.feed_head")
    given = {"slice": SLICE_ROWS, "days": 14}
    for statement in (upkeep._FEED, upkeep._APPLIED):
        cursor = await world.admin.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given)
        assert _rows_read((await cursor.fetchone())[0][0]["Plan"]) <= 10 * SLICE_ROWS
    async with connect(as_role(world.url, "mes_ingest")) as connection:
        await advance_safe(connection, DAY_S)
        seen = await connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relname = 'applied'"
        )
        assert (await seen.fetchone() or [0])[0] < 1_000


def _rows_read(plan: dict) -> float:
    own = plan["Actual Rows"] * plan["Actual Loops"] if "Scan" in plan["Node Type"] else 0
    removed = plan.get("Rows Removed by Filter", 0) * plan["Actual Loops"]
    return own + removed + sum(map(_rows_read, plan.get("Plans", [])))


async def test_parts_of_what_is_applied_are_let_go_of_and_no_others(world):
    await applied(world, "SITE_001", count=3, days_ago="0")
    await world.admin.execute(
        f"""INSERT INTO sync.part (site, epoch, n, part, message, stored_at_ms)
            SELECT 'SITE_001', '{EPOCH}', n, 0, '', 1 FROM generate_series(2, 5) AS n"""
    )
    assert (await prune(world.admin, 14))["parts"] == 2
    assert await world.rows("SELECT n FROM sync.part ORDER BY n") == [(4,), (5,)]


# --- what nobody can read -----------------------------------------------------------------------


async def test_a_site_that_sends_rubbish_for_ever_fills_no_disk_and_is_told_so(world):
    why = MalformedMessage("no frame")
    for number in range(40):
        await world.store.quarantine("SITE_001", number.to_bytes(4, "big") + bytes(1 << 20), why, 7)
    kept = await world.rows("SELECT octet_length(payload), message FROM sync.refused ORDER BY id")
    assert sum(size for size, _ in kept) <= 33 << 20
    assert len(kept) == 40
    assert kept[-1] == (0, "no frame (bytes not kept: 32 MiB are)")
    await world.store.quarantine("SITE_002", b"other", why, 7)
    assert await world.value("SELECT payload FROM sync.refused WHERE site = 'SITE_002'") == b"other"


async def test_only_the_latest_refused_messages_stay_and_all_that_was_accepted(world):
    await world.admin.execute(
        """INSERT INTO sync.refused (site, reason, message, sha256, payload, stored_at_ms)
            SELECT 'SITE_001', CASE WHEN n <= 3 THEN 'fault' ELSE 'MalformedMessage' END, '',
                   int4send(n), '', 1
            FROM generate_series(1, 20004) AS n"""
    )
    await world.store.quarantine("SITE_001", b"one more", MalformedMessage("no"), 7)
    assert await world.value("SELECT count(*) FROM sync.refused") == 20_004
    assert (await prune(world.admin, 14))["refused"] == 20_001 - REFUSED_ROWS_MAX
    assert await world.value("SELECT count(*) FROM sync.refused WHERE reason = 'fault'") == 3
    await world.admin.execute(
        f"UPDATE sync.refused SET refused_at = now() - interval '{REFUSED_DAYS + 1} days'"
    )
    assert (await prune(world.admin, 14))["refused"] == REFUSED_ROWS_MAX
    assert await world.value("SELECT count(*) FROM sync.refused") == 3


# --- marks ----------------------------------------------------------------------------------------


async def test_an_hour_that_is_touched_again_and_again_is_marked_once(world):
    site = world.site()
    for _ in range(3):
        await site.writes(site.insert("job_responses", site.report()))
    assert await world.value("SELECT count(*) FROM sync.rollup_mark") == 1
