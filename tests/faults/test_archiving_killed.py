"""Whoever archives a month is killed -9, anywhere: every row is read once, before and after."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.archive import archive, attach, detach, drop
from central.archive_reading import ArchiveMoves, Wanted, read
from tests.integration.apply_world import world
from tests.integration.archive_world import MONTH, OLD, TABLE, Archive, archive_of, ids, old
from tests.integration.central_world import appears

if TYPE_CHECKING:
    from asyncio.subprocess import Process

__all__ = ["old", "world"]

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

ROOT = Path(__file__).parents[2]
ONE = (TABLE, "--site", "SITE_001", "--month", MONTH)


async def command(old: Archive, *arguments: str) -> Process:
    environment = os.environ | {  # noqa: TID251
        "MES_DATABASE_URL": old.world.url,
        "MES_ARCHIVE_DIR": str(old.root),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "central", "partitions", *arguments,
        cwd=ROOT, env=environment, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def readable(old: Archive) -> list[str]:
    """Return the ids of the rows of the month, wherever they are, as the API reads them."""
    wanted = Wanted(
        since=datetime(2024, 2, 1, tzinfo=UTC), before=datetime(2024, 3, 1, tzinfo=UTC),
        rows_max=100_000,
    )  # fmt: skip
    table = old.world.catalog.table(TABLE)
    rows = await read(old.world.admin, old.root, table, ["SITE_001"], wanted)
    return [str(row[0]) for row in rows]


async def test_every_row_is_read_once_however_often_the_archiving_is_killed(old: Archive, seed):
    chance = random.Random(seed)
    rows = old.reports(3000, start=5)
    assert (await old.sends(*rows)).parked == 0
    expected = sorted(ids(rows) | ids(old.reports(40)))
    start_s = await started_in(old)
    steps = [("archive", *ONE), ("drop", *ONE, "--yes"), ("attach", *ONE)]
    kills = 0
    for _ in range(5):  # a machine that is quicker than when it was measured is killed less
        for step in steps:
            kills += await killed_until_done(old, step, expected, start_s, chance)
        if kills > 2:
            break
    assert kills > 2
    assert sorted(await old.live()) == expected
    assert await old.reports_counted() == len(expected)
    await old.sums_are_right()


async def killed_until_done(
    old: Archive, step: tuple[str, ...], expected: list[str], start_s: float, chance: random.Random
) -> int:
    """Run a step until it is done, look at all rows after each kill, and count the kills."""
    for attempt in range(12):
        process = await command(old, *step)
        try:
            # First before it can have done anything, then a little later each time.
            async with asyncio.timeout(start_s * (chance.uniform(0.5, 0.9) + attempt * 0.2)):
                await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        else:
            said = (await process.stderr.read()).decode() if process.stderr else ""
            assert process.returncode in (0, 75), said
        await gone(old)
        try:
            assert await readable(old) == expected
        except ArchiveMoves:  # half detached: told, and not passed over
            assert await old.state() == "detaching"
        if process.returncode == 0:
            return attempt
    raise AssertionError(f"{step} was never done")


async def started_in(old: Archive) -> float:
    """Return the seconds that a command takes which has next to nothing to do."""
    began = time.monotonic()
    assert await (await command(old, "status")).wait() == 0
    return time.monotonic() - began


async def gone(old: Archive) -> None:
    """Wait until PostgreSQL has noticed that nobody is there any more."""
    await appears(
        old.world.url,
        """SELECT 1 WHERE NOT EXISTS (
                   SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (
                       SELECT oid FROM pg_database WHERE datname = current_database()))""",
    )


async def test_a_file_that_was_half_written_is_written_over(old: Archive):
    await detach(old.bench, OLD)
    old.path(1).parent.mkdir(parents=True)
    old.path(1).with_name(f"{old.path(1).name}.writing").write_bytes(b"PAR1 half of")
    await archive(old.bench, OLD)
    assert len(await readable(old)) == 40
    assert list(old.path(1).parent.glob("*.writing")) == []


async def test_a_file_that_was_never_recorded_counts_for_nothing(old: Archive):
    """The power went between the name of the file and the commit of its record."""
    await detach(old.bench, OLD)
    await old.world.admin.execute(
        "CREATE FUNCTION sync.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'off'; END $$"
    )
    await old.world.admin.execute(
        "CREATE TRIGGER no BEFORE INSERT ON sync.archive_key EXECUTE FUNCTION sync.no()"
    )
    with pytest.raises(psycopg.errors.RaiseException):
        await archive(old.bench, OLD)
    assert old.path(1).exists()
    assert await old.state() == "detached"
    assert len(await readable(old)) == 40
    await old.world.admin.execute("DROP TRIGGER no ON sync.archive_key")
    await archive(old.bench, OLD)
    assert len(await readable(old)) == 40


async def test_a_part_that_was_detached_and_not_put_aside_takes_late_rows(old: Archive):
    await old.sends(*old.reports(1, start=2), day="2024-03-05")
    await old.world.admin.execute(
        "INSERT INTO sync.archive (table_name, site_id, month, state) VALUES (%s, %s, %s, %s)",
        [TABLE, "SITE_001", MONTH, "detaching"],
    )
    await old.world.admin.execute(
        f"ALTER TABLE mes.{TABLE}__site_001 DETACH PARTITION mes.{OLD.name} CONCURRENTLY".encode()
    )
    with pytest.raises(ArchiveMoves):
        await readable(old)
    assert (await old.sends(*old.reports(2, start=7))).parked == 0
    assert await detach(old.bench, OLD) is True
    assert await archive(old.bench, OLD) is True
    assert (await old.month()).rows == 42
    assert await old.reports_counted() == 43
    await old.sums_are_right()


async def test_a_month_that_comes_back_is_there_in_full_or_not_at_all(old: Archive):
    await old.goes()
    await old.world.admin.execute(
        "CREATE FUNCTION sync.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'off'; END $$"
    )
    await old.world.admin.execute(
        "CREATE TRIGGER no BEFORE DELETE ON sync.archive_key EXECUTE FUNCTION sync.no()"
    )
    with pytest.raises(psycopg.errors.RaiseException):
        await attach(old.bench, OLD)
    assert await old.live() == set()
    assert len(await readable(old)) == 40
    assert await old.reports_counted() == 40
    await old.world.admin.execute("DROP TRIGGER no ON sync.archive_key")
    await old.sends(*old.reports(40))
    assert await old.live() == set()
    await attach(old.bench, OLD)
    assert len(await old.live()) == 40
    await old.sums_are_right()


async def test_a_connection_that_is_cut_leaves_no_month_locked(old: Archive):
    async with archive_of(old.world, old.root) as other:
        pid = other.bench.connection.info.backend_pid
        report = await psycopg.AsyncConnection.connect(old.world.url)
        await report.execute(f"SELECT count(*) FROM mes.{TABLE}".encode())
        going = asyncio.create_task(detach(other.bench, OLD))
        await appears(old.world.url, "SELECT 1 FROM pg_inherits WHERE inhdetachpending")
        await old.world.admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.OperationalError):
            await going
        await report.close()
        await detach(old.bench, OLD)
        await archive(old.bench, OLD)
        await drop(old.bench, OLD)
        assert len(await readable(old)) == 40
