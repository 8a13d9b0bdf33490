"""What a restore leaves behind at the centre is bounded, and finding what is lost reads little."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from central.store import epochs, homecoming
from central.upkeep import SLICE_ROWS, prune
from sync.handshake import Closure
from tests.integration.apply_world import world  # noqa: F401
from tests.integration.central_world import connect

if TYPE_CHECKING:
    from tests.integration.apply_world import World

SITE, EPOCH, GONE = "SITE_001", str(uuid.uuid4()), str(uuid.uuid4())


async def epoch(world: World, name: str, last_n: int, closed_n: int | None = None) -> None:
    await world.admin.execute(
        b"INSERT INTO sync.epoch (site, epoch, last_n, closed_at_n) VALUES (%s, %s, %s, %s)",
        [SITE, name, last_n, closed_n],
    )


async def came_home(world: World, of: str, numbers: str, *, days_ago: int) -> None:
    """Note transactions of an epoch as ones whose rows came home, with a row each to be again."""
    at = f"now() - interval '{days_ago} days'"
    await world.admin.execute(
        f"""WITH i AS (
                INSERT INTO sync.included (site, tx_id, epoch, n, hash, at)
                SELECT '{SITE}', gen_random_uuid(), '{of}', n, '', {at}
                FROM generate_series({numbers}) AS n RETURNING tx_id, at)
            INSERT INTO sync.again (site, tx_id, table_name, row_id, at)
            SELECT '{SITE}', tx_id, 'work_orders', 'x', at FROM i"""
    )


async def left(world: World, table: str) -> int:
    return await world.value(f"SELECT count(*) FROM sync.{table}")


async def forgotten(world: World) -> list[int]:
    """Return of how many transactions each line tells that they never came again."""
    lines = await world.rows("SELECT (found ->> 'forgotten')::int FROM sync.restore")
    return [count for (count,) in lines]


async def test_what_came_home_is_forgotten_once_it_came_again_and_no_copy_may(world):
    await epoch(world, EPOCH, 20 * SLICE_ROWS)
    await epoch(world, GONE, 5, closed_n=5)
    await came_home(world, EPOCH, f"1, {20 * SLICE_ROWS + 3}", days_ago=29)
    await came_home(world, GONE, "4, 9", days_ago=29)
    await came_home(world, EPOCH, "900001, 900004", days_ago=27)
    pruned = await prune(world.admin, 14)
    assert (pruned["included"], pruned["again"]) == (20 * SLICE_ROWS + 2, 20 * SLICE_ROWS + 2)
    for table in ("included", "again"):  # seven have not come again, four are young
        assert await left(world, table) == 11


async def test_what_came_home_is_forgotten_when_it_came_again_in_a_later_epoch(world):
    await epoch(world, GONE, 0, closed_n=0)
    await came_home(world, GONE, "1, 3", days_ago=29)
    await world.admin.execute(
        f"""INSERT INTO sync.applied (tx_id, site, epoch, n, hash, hlc, applied_at)
            SELECT tx_id, site, '{EPOCH}', n, '', 1, now() - interval '29 days'
            FROM sync.included WHERE n < 3"""
    )
    await epoch(world, EPOCH, 3)
    await world.admin.execute("UPDATE sync.epoch SET safe_n = 3")
    pruned = await prune(world.admin, 14)
    assert (pruned["included"], pruned["applied"]) == (2, 2)
    assert await left(world, "included") == 1


async def test_people_are_told_of_what_came_home_and_is_forgotten_though_it_never_came_again(world):
    await epoch(world, GONE, 5, closed_n=5)
    await came_home(world, GONE, "4, 9", days_ago=401)
    await came_home(world, GONE, "10, 11", days_ago=399)
    assert (await prune(world.admin, 14))["included"] == 6
    assert await left(world, "included") == 2
    site, who, why, found = await world.one("SELECT site, who, why, found FROM sync.restore")
    assert (site, who, found) == (SITE, "centre", {"forgotten": 4})
    assert "4 transactions of SITE_001 whose rows came home 400 days ago" in why


async def test_of_what_never_came_again_one_line_tells_however_much_it_is(world):
    await epoch(world, GONE, 0, closed_n=0)
    await came_home(world, GONE, f"1, {20 * SLICE_ROWS + 3}", days_ago=401)
    assert (await prune(world.admin, 14))["included"] == 20 * SLICE_ROWS + 3
    assert await forgotten(world) == [20 * SLICE_ROWS + 3]


async def test_what_moved_on_and_never_came_again_is_forgotten_and_told_of_once(world):
    await epoch(world, GONE, 0, closed_n=0)
    await epoch(world, EPOCH, 0)
    await came_home(world, GONE, "1, 4", days_ago=401)
    for after, days in ((2, 401), (3, 399)):
        await world.admin.execute(
            f"""INSERT INTO sync.included (site, tx_id, epoch, n, hash, at)
                SELECT site, tx_id, '{EPOCH}', n, '', now() - interval '{days} days'
                FROM sync.included WHERE epoch = '{GONE}' AND n = {after}"""
        )
    assert (await prune(world.admin, 14))["included"] == 4
    assert await forgotten(world) == [3]
    await world.admin.execute("UPDATE sync.included SET at = at - interval '2 days'")
    assert (await prune(world.admin, 14))["included"] == 2
    assert sorted(await forgotten(world)) == [1, 3]


async def test_nobody_is_told_of_what_lies_beyond_a_fork_and_never_came_again(world):
    await epoch(world, GONE, 5, closed_n=5)
    await came_home(world, GONE, "6, 9", days_ago=401)
    await world.admin.execute("UPDATE sync.epoch SET fork_n = 7")
    assert (await prune(world.admin, 14))["included"] == 4
    assert await forgotten(world) == [2]
    await came_home(world, GONE, "8, 9", days_ago=401)
    assert (await prune(world.admin, 14))["included"] == 2
    assert await forgotten(world) == [2]


async def test_what_moved_on_from_a_copy_that_is_put_back_twice_is_not_lost(world):
    """In the second epoch, too, only its rows had come home, when the same copy is put back."""
    moved, beyond = str(uuid.uuid4()), str(uuid.uuid4())
    for name, n, tx_id in ((GONE, 1, moved), (EPOCH, 1, moved), (EPOCH, 2, beyond)):
        await epoch(world, name, 0) if n == 1 else None
        links = [(n, tx_id, b"")]
        await homecoming.include(world.admin, homecoming.Told(SITE), epoch=name, links=links)
    await world.admin.execute(
        f"""INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin, at_ms)
            SELECT '{SITE}', 1, gen_random_uuid(), nextval('sync.version_order'), version, 'U', 1,
                   '{SITE}', 0 FROM unnest('{{{moved},{beyond}}}'::uuid[]) AS version"""
    )
    kept = epochs.Fork(SITE, GONE, 1, None, "")
    await epochs.close_chain(world.admin, SITE, Closure(EPOCH, 0, 0), kept=kept)
    lost = await world.rows("SELECT version::text FROM sync.version WHERE lost")
    assert lost == [(beyond,)]


async def test_words_on_shared_rows_are_told_apart_for_as_long(world):
    for days in (27, 29):
        await world.admin.execute(
            f"""INSERT INTO sync.tip (site_id, table_no, id, ord, lost_ord, history, at)
                SELECT '*', 1, gen_random_uuid(), 1, 1, gen_random_uuid(),
                       now() - interval '{days} days' FROM generate_series(1, {SLICE_ROWS + 1})"""
        )
    assert (await prune(world.admin, 14))["tips"] == SLICE_ROWS + 1
    assert await world.value("SELECT count(*) FROM sync.tip") == SLICE_ROWS + 1


async def test_what_was_withheld_is_forgotten_once_somebody_has_decided(world):
    for state, days in (("open", 900), ("taken", 29), ("home", 27)):
        await world.admin.execute(
            f"""INSERT INTO sync.withheld (id, site, owner, table_name, row_id, version, history,
                    lost_ord, told, is_beside, is_whole, noted_at, state, settled_at)
                SELECT gen_random_uuid(), '{SITE}', '*', 'persons', gen_random_uuid(),
                       gen_random_uuid(), gen_random_uuid(), 1, '{{}}', false, true,
                       now() - interval '900 days', '{state}',
                       CASE '{state}' WHEN 'open' THEN NULL
                            ELSE now() - interval '{days} days' END"""
        )
    assert (await prune(world.admin, 14))["withheld"] == 1
    left = await world.rows("SELECT state FROM sync.withheld ORDER BY state")
    assert left == [("home",), ("open",)]


async def test_closing_an_epoch_reads_the_latest_versions_only(world):
    hour = "now() - interval '1 hour' *"
    await epoch(world, EPOCH, 20)
    await world.admin.execute(
        f"""INSERT INTO sync.version
                (site_id, table_no, id, ord, version, op, mask, origin, at_ms, hlc)
            SELECT '{SITE}', 1, gen_random_uuid(), n, gen_random_uuid(), 'I', 0, '{SITE}', 0, n
            FROM generate_series(1, 60000) AS n"""
    )
    await world.admin.execute(
        f"""INSERT INTO sync.applied (tx_id, site, epoch, n, hash, hlc, applied_at)
            SELECT gen_random_uuid(), '{SITE}', '{EPOCH}', n, '', 59000 + n * 50, {hour} (20 - n)
            FROM generate_series(1, 20) AS n"""
    )
    await world.admin.execute(
        f"INSERT INTO sync.order_mark (at, ord) SELECT {hour} k, 60000 - k * 1000"
        " FROM generate_series(1, 20) AS k"
    )
    await world.admin.execute("VACUUM ANALYZE sync.version")
    async with connect(world.url, autocommit=False) as connection:
        await epochs.close_chain(connection, SITE, Closure(EPOCH, 18, 20))
        seen = await connection.execute(
            "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relname = 'version'"
        )
        whole, some = await seen.fetchone() or (0, 0)
        await connection.commit()
    assert whole == 0
    assert some < 20_000
    assert await world.one("SELECT count(*), min(hlc) FROM sync.version WHERE lost") == (51, 59950)
