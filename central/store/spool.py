"""Parts of large transactions, kept until the last one has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.store.changeset import Origin
from central.store.months import partitions_of
from shared.errors import StoreBusy
from sync import codec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from psycopg import AsyncConnection

    from central.partitions import Partition
    from shared.catalog import Catalog
    from shared.changes import ChangeBlock, Part, PartBody

_KEEP = b"""INSERT INTO sync.part (site, epoch, n, part, hash, message, stored_at_ms)
    SELECT %(site)s, %(epoch)s, %(n)s, %(part)s, %(hash)s, %(message)s, %(stored_at_ms)s
    WHERE NOT EXISTS (SELECT FROM sync.epoch AS e
                      WHERE e.site = %(site)s AND e.epoch = %(epoch)s AND e.last_n >= %(n)s)
    ON CONFLICT (site, epoch, n, part) DO UPDATE
    SET hash = excluded.hash, message = excluded.message, stored_at_ms = excluded.stored_at_ms"""


_FENCED = b"""SELECT FROM sync.epoch AS e
    WHERE e.site = %(site)s AND e.epoch = %(epoch)s AND e.closed_at_n < %(n)s
      AND NOT EXISTS (SELECT FROM sync.applied WHERE tx_id = %(tx_id)s)
      AND NOT (e.fork_n >= %(n)s AND EXISTS (
          SELECT FROM sync.included AS i WHERE i.site = e.site AND i.tx_id = %(tx_id)s))"""


@dataclass(frozen=True, slots=True)
class Whole:
    """A transaction of which all parts are here; each is read and opened when it is its turn."""

    #: Any one of them.
    part: Part
    origin: Origin

    async def blocks(
        self, connection: AsyncConnection[Any], wanted: Callable[[int], bool] = lambda _: True
    ) -> AsyncIterator[tuple[int, Sequence[ChangeBlock]]]:
        """Give number and blocks of each part that is wanted."""
        for number in range(self.part.parts):
            if wanted(number):
                body = await _body(connection, self.part, number)
                yield number, body.blocks

    async def each(self, connection: AsyncConnection[Any]) -> AsyncIterator[Sequence[ChangeBlock]]:
        """Give the blocks of each part."""
        async for _, blocks in self.blocks(connection):
            yield blocks

    async def partitions(
        self, connection: AsyncConnection[Any], catalog: Catalog
    ) -> set[Partition]:
        """Return the partitions that the rows lie in."""
        site, stored_at_ms = self.origin.site, self.origin.stored_at_ms
        found: set[Partition] = set()
        async for blocks in self.each(connection):
            found |= partitions_of(catalog, site, blocks, stored_at_ms)
        return found


async def keep(
    connection: AsyncConnection[Any], part: Part, message: bytes, stored_at_ms: int
) -> bool:
    """Keep a part, unless its transaction is decided; raises MalformedMessage for a damaged one.

    False where its epoch was closed before it, and nobody knows it.
    """
    codec.open_body(part)
    fenced = await connection.execute(_FENCED, _key(part, part.part) | {"tx_id": part.tx_id})
    if await fenced.fetchone() is not None:
        return False
    given = _key(part, part.part) | {"message": message, "stored_at_ms": stored_at_ms}
    await connection.execute(_KEEP, given)
    return True


async def whole(connection: AsyncConnection[Any], part: Part) -> Whole | None:
    """Return the transaction that a part belongs to, or None while a part is missing."""
    # Parts of another transaction of this number may have come from a store that was restored.
    cursor = await connection.execute(
        b"""SELECT count(*), max(stored_at_ms) FROM sync.part
            WHERE site = %(site)s AND epoch = %(epoch)s AND n = %(n)s AND hash = %(hash)s""",
        _key(part, part.part),
    )
    count, stored_at_ms = await cursor.fetchone() or (0, 0)
    if count < part.parts:
        return None
    first = await _body(connection, part, 0)
    return Whole(
        part,
        Origin(
            site=part.site,
            epoch=part.epoch,
            n=part.n,
            tx_id=part.tx_id,
            schema=first.schema,
            hlc=first.hlc,
            offset_ms=first.offset_ms,
            stored_at_ms=stored_at_ms,
        ),
    )


async def _body(connection: AsyncConnection[Any], part: Part, number: int) -> PartBody:
    cursor = await connection.execute(
        b"""SELECT message FROM sync.part
            WHERE site = %(site)s AND epoch = %(epoch)s AND n = %(n)s AND part = %(part)s
              AND hash = %(hash)s""",
        _key(part, number),
    )
    row = await cursor.fetchone()
    if row is None:
        raise StoreBusy(f"part {number} of n {part.n} was taken away meanwhile")
    return codec.open_body(codec.decode_part(bytes(row[0])))


def _key(part: Part, number: int) -> dict[str, Any]:
    return {
        "site": part.site,
        "epoch": part.epoch,
        "n": part.n,
        "part": number,
        "hash": part.hash,
    }


async def forget(connection: AsyncConnection[Any], site: str, epoch: str, n: int) -> None:
    """Delete the parts of a transaction that is decided, and of all before it."""
    await connection.execute(
        b"DELETE FROM sync.part WHERE site = %s AND epoch = %s AND n <= %s", [site, epoch, n]
    )
