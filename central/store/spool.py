"""Parts of large transactions, kept until the last one has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.store.changeset import Origin
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from psycopg import AsyncConnection

    from shared.changes import ChangeBlock, Part

_KEEP = b"""INSERT INTO sync.part (site, epoch, n, part, message, stored_at_ms)
    SELECT %(site)s, %(epoch)s, %(n)s, %(part)s, %(message)s, %(stored_at_ms)s
    WHERE NOT EXISTS (SELECT FROM sync.epoch AS e
                      WHERE e.site = %(site)s AND e.epoch = %(epoch)s AND e.last_n >= %(n)s)
    ON CONFLICT (site, epoch, n, part) DO UPDATE
    SET message = excluded.message, stored_at_ms = excluded.stored_at_ms"""


@dataclass(frozen=True, slots=True)
class Whole:
    """A transaction of which all parts are here, still packed."""

    messages: tuple[bytes, ...]
    #: When the broker stored the last of them.
    stored_at_ms: int

    def origin(self) -> Origin:
        """Return what the transaction says of all its rows."""
        part = codec.decode_part(self.messages[0])
        body = codec.open_body(part)
        return Origin(
            site=part.site,
            epoch=part.epoch,
            n=part.n,
            tx_id=part.tx_id,
            schema=body.schema,
            hlc=body.hlc,
            offset_ms=body.offset_ms,
            stored_at_ms=self.stored_at_ms,
        )

    def each(self) -> Iterator[Sequence[ChangeBlock]]:
        """Give the blocks of each part."""
        return (blocks for _, blocks in self.blocks())

    def blocks(
        self, wanted: Callable[[int], bool] = lambda _: True
    ) -> Iterator[tuple[int, Sequence[ChangeBlock]]]:
        """Give number and blocks of each part that is wanted, unpacked when it is its turn."""
        for number, message in enumerate(self.messages):
            if wanted(number):
                yield number, codec.open_body(codec.decode_part(message)).blocks


async def keep(
    connection: AsyncConnection[Any], part: Part, message: bytes, stored_at_ms: int
) -> None:
    """Keep a part, unless its transaction is decided; raises MalformedMessage for a damaged one."""
    codec.open_body(part)
    given = {"site": part.site, "epoch": part.epoch, "n": part.n, "part": part.part}
    await connection.execute(_KEEP, given | {"message": message, "stored_at_ms": stored_at_ms})


async def whole(connection: AsyncConnection[Any], part: Part) -> Whole | None:
    """Return the transaction that a part belongs to, or None while a part is missing."""
    cursor = await connection.execute(
        b"""SELECT message, stored_at_ms FROM sync.part
            WHERE site = %s AND epoch = %s AND n = %s ORDER BY part""",
        [part.site, part.epoch, part.n],
    )
    kept = [(bytes(message), at) for message, at in await cursor.fetchall()]
    # Parts of another transaction of this number may have come from a store that was restored.
    own = [(m, at) for m, at in kept if codec.decode_part(m).hash == part.hash]
    if len(own) < part.parts:
        return None
    return Whole(tuple(m for m, _ in own), max(at for _, at in own))


async def forget(connection: AsyncConnection[Any], part: Part) -> None:
    """Delete the parts of this transaction and of all before it."""
    await connection.execute(
        b"DELETE FROM sync.part WHERE site = %s AND epoch = %s AND n <= %s",
        [part.site, part.epoch, part.n],
    )
