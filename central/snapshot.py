"""Snapshots: a site's whole share, spooled once in PostgreSQL and fetched chunk by chunk.

One REPEATABLE READ transaction reads the feed positions, the ack watermark and all rows of the
share, so the rows are those of exactly that moment. Chunks are written to the spool as they are
made, by a connection of their own, and the edge may fetch the first while the last is being read.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

from central.canonical import column_expressions, key_expressions, parse_copy
from central.feed import feed_position
from central.heads import NO_VERSION
from shared.catalog import Catalog, Kind, Table
from shared.changes import SHARED, Fate, HeadBlock, Value
from sync import codec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Uncompressed text in one chunk; it compresses to about a tenth.
CHUNK_TEXT_MAX: Final = 2 << 20
CHUNK_ROWS_MAX: Final = 5_000
#: Days of facts in a snapshot, unless the centre is set otherwise: what a plant looks back on. The
#: store that made older ones has them; the centre has all.
FACT_DAYS: Final = 31


class Spool:
    """Makes one snapshot; ``reader`` and ``writer`` are connections that nobody else uses."""

    def __init__(
        self, reader: AsyncConnection[Any], writer: AsyncConnection[Any], catalog: Catalog, *,
        fact_days: int = FACT_DAYS,
    ) -> None:  # fmt: skip
        self._fact_days = fact_days
        self._reader = reader
        self._writer = writer
        self._catalog = catalog

    async def fill(self, site: str, ready: Any = None) -> str:
        """Spool the site's share and return the snapshot's id.

        ``ready`` is called with the id and the manifest as soon as chunks may be asked for. A
        snapshot that was not finished has no count of chunks, and is made anew.
        """
        snapshot = str(uuid.uuid4())
        async with self._reader.transaction():
            # Of this transaction alone: the connection goes back to a pool.
            await self._reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            manifest = await self._manifest(site)
            await self._announce(snapshot, site, manifest)
            if ready is not None:
                ready(snapshot, manifest)
            chunks = 0
            for table in records_first(self._catalog):
                async for block in self._blocks(table, site):
                    await self._keep(snapshot, chunks, block)
                    chunks += 1
        await self._writer.execute(
            "UPDATE sync.snapshot SET chunks = %s WHERE id = %s", [chunks, snapshot]
        )
        await self._writer.commit()
        return snapshot

    async def _manifest(self, site: str) -> dict[str, Any]:
        own = await feed_position(self._reader, site)
        shared = await feed_position(self._reader, SHARED)
        cursor = await self._reader.execute(
            """SELECT epoch::text, last_n, safe_n, last_hash FROM sync.epoch WHERE site = %s
               ORDER BY closed_at_n IS NOT NULL, opened_at DESC LIMIT 1""",
            [site],
        )
        ack = await cursor.fetchone()
        cursor = await self._reader.execute("SELECT last_value FROM sync.version_order")
        order = await cursor.fetchone()
        return {
            "own": [own.n, own.hash.hex()],
            "shared": [shared.n, shared.hash.hex()],
            "ack": list(ack[:3]) if ack else None,
            "ack_hash": bytes(ack[3]).hex() if ack else None,
            "max_order": order[0] if order else 0,
            "schema": self._catalog.version,
            "fact_days": self._fact_days,
            "tables": [table.name for table in self._catalog.parents_first()],
        }

    async def _announce(self, snapshot: str, site: str, manifest: dict[str, Any]) -> None:
        # An older one is of no more use to the site: its next request names this one.
        await self._writer.execute("DELETE FROM sync.snapshot WHERE site = %s", [site])
        await self._writer.execute(
            "INSERT INTO sync.snapshot (id, site, manifest) VALUES (%s, %s, %s)",
            [snapshot, site, Jsonb(manifest)],
        )
        await self._writer.commit()

    async def _keep(self, snapshot: str, k: int, block: HeadBlock) -> None:
        await self._writer.execute(
            "INSERT INTO sync.snapshot_chunk (snapshot, k, body) VALUES (%s, %s, %s)",
            [snapshot, k, codec.encode_chunk([block])],
        )
        await self._writer.commit()

    async def _blocks(self, table: Table, site: str) -> AsyncIterator[HeadBlock]:
        """Yield the table's rows of the site's share, a chunk at a time."""
        lines: list[bytes] = []
        size = 0
        async with (
            self._reader.cursor() as cursor,
            cursor.copy(share_query(table, site, self._fact_days)) as copy,
        ):
            async for line in copy:
                lines.append(bytes(line))
                size += len(line)
                if size > CHUNK_TEXT_MAX or len(lines) >= CHUNK_ROWS_MAX:
                    yield _block(table, lines)
                    lines, size = [], 0
        if lines:
            yield _block(table, lines)


def records_first(catalog: Catalog) -> list[Table]:
    """Return the tables as a snapshot brings them: records of decisions, then rows, parents first.

    A load may end anywhere, for good where the centre goes back meanwhile. Then the site has no row
    that holds a decision of which it has no record, and nobody has it but the site.
    """
    return sorted(catalog.parents_first(), key=lambda table: not table.name.startswith("sync_"))


def share_query(table: Table, site: str, fact_days: int) -> sql.Composed:
    """Return the COPY of a table's rows in a site's share, in canonical form."""
    columns = column_expressions(table.columns)
    listed = f", {columns}" if columns else ""
    if table.fact:
        version, join, where = "'', 0", "", "t.created_at > now() - make_interval(days => {days})"
    else:
        version = f"coalesce(h.version::text, '{NO_VERSION}'), coalesce(h.ord, 0)"
        join = """LEFT JOIN sync.head h ON h.site_id = t.site_id AND h.id = t.id
             AND h.table_no = (SELECT no FROM sync.table_no WHERE name = {name})"""
        where = "true"
    text = f"""COPY (SELECT {key_expressions()}, {version}{listed}
        FROM mes.{{table}} t {join} WHERE {where} AND ({in_share(table)})) TO STDOUT"""
    return sql.SQL(text).format(
        table=sql.Identifier(table.name),
        name=sql.Literal(table.name),
        days=sql.Literal(fact_days),
        site=sql.Literal(site),
        element=sql.Literal(f'"{site}"'),
        everyone=sql.Literal(f'"{SHARED}"'),
    )


def in_share(table: Table) -> str:
    """Return the condition, yet to be formatted, that the row ``t`` is in the site's share."""
    tests = []
    for name in table.share:
        if name != "site_id" and table.column(name).type.kind is Kind.SET:
            # Not LIKE: "_" in a site's name would stand for any character.
            tests += [f'strpos(t."{name}", {each}) > 0' for each in ("{element}", "{everyone}")]
        else:
            tests.append(f"t.\"{name}\" IN ({{site}}, '*')")
    return " OR ".join(tests)


def _block(table: Table, lines: list[bytes]) -> HeadBlock:
    kinds: list[Kind | None] = [None, None, None, None, Kind.INTEGER]
    kinds += [column.type.kind for column in table.columns]
    columns: list[Any] = parse_copy(b"".join(lines).decode(), kinds)
    sites, created, ids, version, order, *new = columns
    values: list[list[Value]] = new
    return HeadBlock(
        table=table.name,
        fate=Fate.PUT,
        columns=table.names,
        sites=sites,
        created=created,
        ids=ids,
        version=version,
        order=order,
        new=values,
    )


async def chunk(
    connection: AsyncConnection[Any], snapshot: str, k: int
) -> tuple[bytes | None, int | None]:
    """Return chunk ``k``, if it is there yet, and the count of chunks, if it is known yet.

    Raises ``LookupError`` where the snapshot is gone.
    """
    cursor = await connection.execute(
        """SELECT s.chunks, c.body FROM sync.snapshot s
           LEFT JOIN sync.snapshot_chunk c ON c.snapshot = s.id AND c.k = %s WHERE s.id = %s""",
        [k, snapshot],
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError(snapshot)
    return (bytes(row[1]) if row[1] is not None else None), row[0]
