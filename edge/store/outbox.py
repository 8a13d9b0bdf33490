"""The outbox: frozen transactions, kept until the centre says that they are safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.changes import GENESIS, Part
from shared.errors import MalformedMessage, StoreDamaged
from shared.observe import NAMED_MAX
from sync import codec
from sync.protocol import digest, transaction_hash
from sync.pump import BATCH_PIECES_MAX

if TYPE_CHECKING:
    import sqlite3

    from shared.changes import Ack

_HASH = 32


def parts_after(
    connection: sqlite3.Connection, after: tuple[int, int], *, bytes_max: int
) -> list[Part]:
    """Return the parts of this epoch after (n, part), in order, at least one where there is one.

    Stops before the bodies exceed ``bytes_max``, or the parts what one batch holds. Raises
    StoreDamaged before a part that is not what was drained: SQLite has no checksums, and the centre
    would refuse it again and again.
    """
    site, epoch = connection.execute("SELECT site, epoch FROM _sync_site").fetchone()
    rows = connection.execute(
        "SELECT n, part, parts, tx_id, previous, hash, digests, body FROM _sync_out"
        " WHERE epoch = ? AND (n, part) > (?, ?) ORDER BY n, part LIMIT ?",
        (epoch, *after, BATCH_PIECES_MAX),
    )
    found: list[Part] = []
    size = 0
    for n, part, parts, tx_id, previous, own, digests, body in rows:
        size += len(body)
        if found and size > bytes_max:
            break
        found.append(
            Part(
                site=site, epoch=epoch, n=n, tx_id=tx_id, part=part, parts=parts,
                previous=previous, hash=own, digests=_split(digests), body=body,
            )
        )  # fmt: skip
        _check(found[-1])
    rows.close()
    return found


def _check(part: Part) -> None:
    """Raise StoreDamaged where a part is not what was drained."""
    try:
        body = digest(codec.decompress(part.body))
        link = transaction_hash(part.previous, part.epoch, part.n, part.tx_id, part.digests)
    except (MalformedMessage, TypeError, ValueError):
        body = link = b""
    if link != part.hash or part.digests[part.part] != body:
        raise StoreDamaged(
            f"the store's file is damaged: what is kept of transaction {part.n} is not what was"
            " written. Stop its programs and keep a copy of it"
        )


def transactions(
    connection: sqlite3.Connection, after_n: int, last_n: int
) -> list[tuple[int, str]]:
    """Return n and tx_id of what this epoch made after one number, up to another, in order.

    Of more than ``NAMED_MAX`` the first and the last. What was pruned is left out.
    """
    if after_n >= last_n:
        return []
    few = last_n - after_n <= NAMED_MAX
    return connection.execute(
        "SELECT n, tx_id FROM _sync_out WHERE epoch = (SELECT epoch FROM _sync_site) AND part = 0"
        f" AND {'n BETWEEN ? AND ?' if few else 'n IN (?, ?)'} ORDER BY n",
        (after_n + 1, last_n),
    ).fetchall()


def prune(connection: sqlite3.Connection) -> int:
    """Remove the transactions that are safe, never one beyond; return the number of parts."""
    return connection.execute(
        "DELETE FROM _sync_out WHERE (epoch, n) IN (SELECT o.epoch, o.n FROM _sync_out o"
        " JOIN _sync_site s ON o.epoch = s.epoch WHERE o.n <= min(s.safe_n, s.acked_n))"
    ).rowcount


def link_hash(connection: sqlite3.Connection, n: int) -> bytes | None:
    """Return the hash of an own transaction of this epoch; None where it is not kept any more."""
    if n == 0:
        return GENESIS
    row = connection.execute(
        "SELECT o.hash FROM _sync_out o, _sync_site s WHERE o.epoch = s.epoch AND o.n = ?"
        " AND o.part = 0 UNION ALL SELECT last_hash FROM _sync_site WHERE last_n = ? LIMIT 1",
        (n, n),
    ).fetchone()
    return bytes(row[0]) if row else None


def is_own(connection: sqlite3.Connection, ack: Ack | None) -> bool:
    """Return whether an ack of this epoch is of the store's own transaction, as far as is known.

    A store that went back may have given the number to another one before it heard of the first.
    """
    own = link_hash(connection, ack.n) if ack is not None else None
    return ack is None or None in (own, ack.hash) or own == ack.hash


def _split(digests: bytes) -> tuple[bytes, ...]:
    return tuple(digests[at : at + _HASH] for at in range(0, len(digests), _HASH))
