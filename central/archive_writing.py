"""The next file of a month: what its last one holds, and what stands aside; and the rows' keys."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.archive_contents import ArchiveDamaged, Contents
from central.archive_file import Sealed, Writing, blocks, check_bytes, columns_in, manifest
from central.archive_hash import hash_expression
from central.archive_loading import aside_columns, contents
from central.archive_state import ASIDE, Month, file_name
from central.canonical import expression, parse_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from psycopg import AsyncConnection

    from central.partitions import Partition
    from shared.catalog import Column, Table
    from shared.changes import Value

    #: Is told of a step, and how many rows of it are done.
    Tell = Callable[[str, int], None]

#: Lines of COPY that are held at a time.
_LINES: Final = 10_000
#: Rows whose ids and hashes stand together in a row of ``sync.archive_key``: what fits in line.
_KEYS_TOGETHER: Final = 64


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written and verified, and what of it stood aside."""

    path: Path
    sealed: Sealed
    aside: Contents


async def write_next(
    connection: AsyncConnection[Any], root: Path, table: Table, month: Month, catalogue: str,
    tell: Tell,
) -> Written:  # fmt: skip
    """Write the next file of a month, verify it, and give it its name; raise ArchiveDamaged.

    Cut off, it leaves a file that nobody knows, and that is written over the next time.
    """
    path = root / file_name(month.partition, month.generation + 1)
    columns = await aside_columns(connection, table, month.partition)
    aside = await contents(connection, f'{ASIDE}."{month.partition.name}"', columns)
    writing = await asyncio.to_thread(Writing, path, table)
    try:
        if month.counts:
            await _add_file(writing, month.path(root), month.sha256)
        await _add_aside(connection, writing, month.partition, tell)
        tell("verifying", aside.rows + month.contents.rows)
        sealed = await asyncio.to_thread(writing.seal)
        _check(path, sealed.contents, aside + month.contents)
        about = {
            "table": table.name, "site": month.site_id, "month": month.month,
            "generation": month.generation + 1, "catalogue": catalogue,
            "columns": [column.name for column in writing.columns],
        }  # fmt: skip
        await asyncio.to_thread(writing.keep, manifest(sealed, **about))
    except BaseException:
        writing.give_up()
        raise
    return Written(path, sealed, aside)


def _check(path: Path, found: Contents, expected: Contents) -> None:
    if found != expected:
        raise ArchiveDamaged(
            f"{path} was to hold {expected}, and {found} was read back from it; nothing was"
            " dropped. Check the disk, and archive again"
        )


async def _add_file(writing: Writing, path: Path, sha256: str | None) -> None:
    """Add the rows of the file before; columns that came since have no value."""
    await asyncio.to_thread(check_bytes, path, sha256)
    found = columns_in(path, writing.table)
    there = {column.name: place for place, (column, _) in enumerate(found)}
    reading = blocks(path, writing.table)
    while (block := await asyncio.to_thread(next, reading, None)) is not None:
        empty: list[Value] = [None] * len(block[0])
        whole = [block[there[c.name]] if c.name in there else empty for c in writing.columns]
        await asyncio.to_thread(writing.add, whole)


async def _add_aside(
    connection: AsyncConnection[Any], writing: Writing, partition: Partition, tell: Tell
) -> None:
    """Add the rows that stand aside, in the order of time, a batch at a time."""
    columns = await aside_columns(connection, writing.table, partition)
    names = {column.name: name for column, name in columns}
    listed = ", ".join(_canonical(column, names) for column in writing.columns)
    query = (
        f'COPY (SELECT {listed} FROM {ASIDE}."{partition.name}" AS t'
        " ORDER BY t.created_at, t.id) TO STDOUT"
    )
    kinds = [column.type.kind for column in writing.columns]
    lines: list[bytes] = []
    done = 0
    async with connection.cursor() as cursor, cursor.copy(query.encode()) as copy:
        async for line in copy:
            lines.append(bytes(line))
            if len(lines) == _LINES:
                await asyncio.to_thread(writing.add, parse_copy(b"".join(lines).decode(), kinds))
                done += len(lines)
                tell("written", done)
                lines.clear()
    if lines:
        await asyncio.to_thread(writing.add, parse_copy(b"".join(lines).decode(), kinds))


def _canonical(column: Column, names: dict[str, str]) -> str:
    if column.name not in names:
        return "NULL"
    return expression(column.type.kind, f't."{names[column.name]}"')


_KEYS: Final = """
INSERT INTO sync.archive_key (table_name, site_id, month, generation, first, keys)
SELECT %(table)s, %(site)s, %(month)s, %(generation)s, (array_agg(id ORDER BY id))[1],
       string_agg(uuid_send(id) || int8send(hash), ''::bytea ORDER BY id)
FROM (SELECT id, hash, (row_number() OVER (ORDER BY id) - 1) / %(together)s AS part
      FROM (SELECT t.id, {hash} AS hash FROM {aside} AS t) AS h) AS k
GROUP BY part"""


async def keep_keys(
    connection: AsyncConnection[Any], table: Table, partition: Partition, generation: int
) -> None:
    """Keep id and hash of each row that stands aside, so that it is known when it is sent again."""
    columns = await aside_columns(connection, table, partition)
    text = _KEYS.format(hash=hash_expression(columns, "t"), aside=f'{ASIDE}."{partition.name}"')
    await connection.execute(
        text.encode(),
        {
            "table": table.name, "site": partition.site, "month": partition.month,
            "generation": generation, "together": _KEYS_TOGETHER,
        },
    )  # fmt: skip
