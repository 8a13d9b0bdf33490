"""Months of facts taken out of their tables, archived in files, dropped, and brought back.

A month goes detached -> archived -> dropped; ``sync.archive`` says where it is. Each step may be
cut off anywhere, and done again: it goes on from what it finds. No row is given up before it was
read back from a file that has its final name: what the file holds, what stood aside and what is
dropped are the same number of rows with the same sum of hashes.

Rows that come late for such a month go into a partition of its own, made for them. It refuses what
the archive has (``sync.refuse_archived``), and is detached and archived in its turn: into a new
file, which holds the old one's rows as well.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from central.archive_bench import NotArchivable, NotYet, alone, as_ingest, note_time, shortly
from central.archive_contents import ArchiveDamaged, Contents
from central.archive_file import check_bytes, columns_in, read_whole
from central.archive_loading import aside_columns, contents, copy_aside, copy_file
from central.archive_state import (
    ASIDE,
    Month,
    Standing,
    State,
    file_name,
    find,
    record,
    standing,
)
from central.archive_writing import keep_keys, write_next
from central.capture import INGEST
from central.partitions import ensure
from central.roles import API, OWNER
from central.row_security import OF_ASKED
from shared.observe import note

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.archive_bench import Bench
    from central.archive_writing import Written
    from central.partitions import Partition
    from shared.catalog import Table

_log = logging.getLogger(__name__)

#: How long a detaching waits for whoever reads the table.
_DETACH_MAX_S: Final = 600

# --- detach ------------------------------------------------------------------------------------


async def detach(bench: Bench, partition: Partition) -> bool:
    """Take a month out of its table without holding up who reads or writes it; False if it is out.

    Cut off, it is called again and goes on. Its sums in rollups stay.
    """
    bench.may_leave(partition)
    async with alone(bench, partition):
        return await _detach(bench.connection, partition)


async def _detach(connection: AsyncConnection[Any], partition: Partition) -> bool:
    month = await find(connection, partition)
    stands = await standing(connection, partition)
    is_aside = month is not None and month.state in (State.DETACHED, State.ARCHIVED)
    if stands is Standing.ABSENT:
        if is_aside or (month is not None and month.state is State.DROPPED):
            return False
        raise NotArchivable(
            f"there is no part {partition.name}; see `mes-central partitions status`"
        )
    if is_aside:
        raise NotYet(
            f"rows came late for {partition.name} after it was detached: archive and drop what"
            " stands aside, then detach these"
        )
    if stands is Standing.ATTACHED:
        await record(connection, partition, state=State.DETACHING)
        await _alter(connection, partition, "CONCURRENTLY")
    elif stands is Standing.PENDING:
        await _alter(connection, partition, "FINALIZE")
    await _put_aside(connection, partition)
    return True


async def _alter(connection: AsyncConnection[Any], partition: Partition, how: str) -> None:
    """Detach, outside a transaction: it waits for all who read the table, and nobody for it.

    Nothing before it may lock the part itself: whoever came then would wait behind the longest
    report. Where it waits for too long it is left pending, and the next call goes on from there.
    """
    parent = f"{partition.table}__{partition.site.lower()}"
    await connection.execute(f"SET ROLE {OWNER}".encode())
    await connection.execute(f"SET lock_timeout = '{_DETACH_MAX_S}s'".encode())
    try:
        await connection.execute(
            f'ALTER TABLE mes."{parent}" DETACH PARTITION mes."{partition.name}" {how}'.encode()
        )
    finally:
        await as_ingest(connection)


async def _put_aside(connection: AsyncConnection[Any], partition: Partition) -> None:
    """Free the name for late rows: whoever still writes to it finds no table, and makes one.

    The API goes on reading the rows, of its users' sites, by a policy of their own.
    """
    name = f'{ASIDE}."{partition.name}"'
    sites = OF_ASKED.holds.format(column="site_id")
    moved = [
        f'ALTER TABLE mes."{partition.name}" SET SCHEMA {ASIDE}',
        f"DROP TRIGGER IF EXISTS a_refuse_archived ON {name}",
        f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {name} FROM {INGEST}",
        f"CREATE POLICY read_by_asked ON {name} FOR SELECT TO {API} USING ({sites})",
        f"GRANT SELECT ON {name} TO {API}",
    ]

    async def noted() -> None:
        await record(connection, partition, state=State.DETACHED)
        await note_time(connection, partition, "detached_at")

    await shortly(connection, moved, also=noted)


# --- archive and verify ------------------------------------------------------------------------


async def archive(bench: Bench, partition: Partition) -> bool:
    """Write a month that was detached into a file and verify it; False if it is in one already.

    Rows that are in a file of the month are in the new one as well; the old one stays where it is.
    """
    table, root = bench.table(partition), bench.root
    bench.check_stay(table)
    connection = bench.connection
    async with alone(bench, partition):
        month = await find(connection, partition)
        if month is None or month.state in (State.ATTACHED, State.DETACHING):
            raise NotYet(
                f"{partition.name} is not detached; `mes-central partitions detach` does it"
            )
        if month.state is not State.DETACHED:
            return False
        digest = bench.shelf.catalog.digest
        written = await write_next(connection, root, table, month, digest, bench.tell)
        async with connection.transaction():
            await keep_keys(connection, table, partition, month.generation + 1)
            await record(connection, partition, **_archived(month, written, digest))
            await connection.execute(
                "UPDATE sync.archive SET archived_at = now(), verified_at = now()"
                " WHERE (table_name, site_id, month) = (%s, %s, %s)",
                [partition.table, partition.site, partition.month],
            )
    note(_log, "month archived", file=str(written.path), rows=written.sealed.contents.rows)
    return True


def _archived(month: Month, written: Written, digest: str) -> dict[str, Any]:
    sealed, aside = written.sealed, written.aside
    return {
        "state": State.ARCHIVED, "generation": month.generation + 1,
        "file": file_name(month.partition, month.generation + 1), "catalogue": digest,
        "rows": sealed.contents.rows, "sum": sealed.contents.sum,
        "bytes": sealed.bytes, "sha256": sealed.sha256,
        "aside_rows": aside.rows, "aside_sum": aside.sum,
    }  # fmt: skip


async def verify(bench: Bench, partition: Partition) -> Month:
    """Read a month's file as a whole, and hold it against what was recorded; raise ArchiveDamaged.

    Return the month. Also what still stands aside has to be what the file was written from.
    """
    table = bench.table(partition)
    async with alone(bench, partition):
        return await _verify(bench, table, partition)


async def _verify(bench: Bench, table: Table, partition: Partition) -> Month:
    connection = bench.connection
    month = await find(connection, partition)
    if month is None or not month.counts:
        raise NotYet(f"{partition.name} is in no file; `mes-central partitions archive` makes one")
    path = month.path(bench.root)
    bench.tell("verifying", month.contents.rows)
    await asyncio.to_thread(check_bytes, path, month.sha256)
    found = await asyncio.to_thread(read_whole, path, table)
    if found.contents != month.contents:
        raise ArchiveDamaged(f"{path} holds {found.contents}, and {month.contents} was recorded")
    if month.state is State.ARCHIVED:
        columns = await aside_columns(connection, table, partition)
        aside = await contents(connection, f'{ASIDE}."{partition.name}"', columns)
        if aside != month.aside:
            raise ArchiveDamaged(
                f"{ASIDE}.{partition.name} holds {aside}, and {month.aside} went into {path};"
                " attach it, and archive it anew"
            )
    await note_time(connection, partition, "verified_at")
    return month


# --- drop --------------------------------------------------------------------------------------


async def drop(bench: Bench, partition: Partition) -> bool:
    """Give up the rows of a month that stand aside, verified in a file; False if that was done."""
    table = bench.table(partition)
    bench.check_stay(table)
    async with alone(bench, partition):
        month = await find(bench.connection, partition)
        if month is not None and month.state is State.DROPPED:
            return False
        if month is None or month.state is not State.ARCHIVED:
            raise NotYet(f"{partition.name} is in no file; archive it first, nothing was dropped")
        await _verify(bench, table, partition)

        async def noted() -> None:
            await record(bench.connection, partition, state=State.DROPPED)
            await note_time(bench.connection, partition, "dropped_at")

        gone = f'DROP TABLE {ASIDE}."{partition.name}"'
        await shortly(bench.connection, [gone], also=noted)
    note(_log, "month dropped", part=partition.name, file=month.file)
    return True


# --- attach ------------------------------------------------------------------------------------


async def attach(bench: Bench, partition: Partition) -> bool:
    """Bring the rows of a month back into their table, with those that came late; False if done.

    All of it is one transaction; the sums in rollups have these rows already and stay.
    """
    table = bench.table(partition)
    async with alone(bench, partition):
        connection = bench.connection
        month = await find(connection, partition)
        if month is None:
            raise NotYet(f"{partition.name} was never detached")
        if month.state is State.ATTACHED:
            return False
        if month.state is State.DETACHING:
            raise NotYet(f"{partition.name} is half detached; detach it first")
        if month.counts and not month.is_whole_aside:
            await _verify(bench, table, partition)
        await ensure(connection, [partition], set())
        into = f'mes."{partition.name}"'

        async def back() -> None:
            await _bring_back(bench, table, month, into)

        # The rollups have the rows, and the guard knows them: neither is to see them come.
        await shortly(connection, [f"ALTER TABLE {into} DISABLE TRIGGER USER"], also=back)
    note(_log, "month attached", part=partition.name, rows=month.contents.rows)
    return True


async def _bring_back(bench: Bench, table: Table, month: Month, into: str) -> None:
    """Load the rows, hold them against what they were, and forget the archive of the month."""
    connection, partition = bench.connection, month.partition
    there = await aside_columns(connection, table, partition)
    from_file = month.counts and not month.is_whole_aside
    kept = columns_in(month.path(bench.root), table) if from_file else there
    # By the columns that all of them have: one that came since has its default here.
    shared = [column for column, _ in kept if not there or column in dict(there)]
    columns = [(column, column.name) for column in shared]
    before, came = await contents(connection, into, columns), Contents(0, 0)
    if from_file:
        came += await copy_file(connection, month.path(bench.root), table, into, shared)
    if month.state is State.DETACHED or month.is_whole_aside:
        await copy_aside(connection, table, partition, into)
        some = [(column, name) for column, name in there if column in shared]
        came += await contents(connection, f'{ASIDE}."{partition.name}"', some)
    found = await contents(connection, into, columns)
    if found != before + came:
        raise ArchiveDamaged(
            f"{into} holds {found}, and {before + came} was expected; nothing is done"
        )
    nothing = dict.fromkeys(("file", "rows", "bytes", "sha256", "sum", "aside_rows", "aside_sum"))
    await record(connection, partition, state=State.ATTACHED, **nothing)
    await note_time(connection, partition, "attached_at")
    await connection.execute(
        "DELETE FROM sync.archive_key WHERE (table_name, site_id, month) = (%s, %s, %s)",
        [partition.table, partition.site, partition.month],
    )
    await connection.execute(f"SET LOCAL ROLE {OWNER}".encode())
    for statement in (
        f"ALTER TABLE {into} ENABLE TRIGGER USER",
        f"DROP TRIGGER IF EXISTS a_refuse_archived ON {into}",
        f'DROP TABLE IF EXISTS {ASIDE}."{partition.name}"',
    ):
        await connection.execute(statement.encode())
