"""What a store that went back asks: which of its transactions the centre has, and which rows.

The first that is new to the centre may hold what the lost life of the store had sent before
(``edge.store.sent``): of its rows the centre tells that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.store import position
from edge.store.frozen import read_back

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from edge.store.open import Opened
    from shared.changes import PartBody

#: Rows that one question names.
ASKED_MAX = 2_000
_SITE_MAX, _ID_SIZE = 20, 36
_NOBODY = ("", "", "")


class First(NamedTuple):
    """The first transaction beyond the fork that brings changes."""

    n: int
    parts: int
    tx_id: str
    #: Clock of the last one before it that the centre has; 0 where that is not beyond the fork.
    after_hlc: int = 0


#: Rows of one part, by table, owner and id, and what the centre says of them.
Question = list[tuple[str, str, str]]


def ids_after(connection: sqlite3.Connection, n: int) -> list[tuple[int, str]]:
    """Return n and id of the next own transactions after one, some at a time."""
    return connection.execute(
        "SELECT n, tx_id FROM _sync_out WHERE epoch = (SELECT epoch FROM _sync_site) AND n > ?"
        " AND part = 0 ORDER BY n LIMIT ?",
        (n, ASKED_MAX),
    ).fetchall()


def first_change(opened: Opened, fork_n: int, known_n: int) -> First | None:
    """Return the first transaction that is new to the centre and brings changes, not facts alone.

    Up to ``known_n`` the centre has all, also where that is beyond the fork: an earlier life that
    began with the same copy has sent it in another epoch.
    """
    connection = opened.connection
    epoch, after, hlc = position.read(connection).epoch, max(fork_n, known_n), 0
    if known_n > fork_n:
        hlc = body_of(opened, epoch, known_n, 0).hlc
    while True:
        row = connection.execute(
            "SELECT n, parts, tx_id FROM _sync_out WHERE epoch = ? AND n > ? AND part = 0"
            " ORDER BY n LIMIT 1",
            (epoch, after),
        ).fetchone()
        if row is None:
            return None
        first = First(row[0], row[1], row[2], hlc)
        bodies = (body_of(opened, epoch, first.n, part) for part in range(first.parts))
        if any(block.at for body in bodies for block in body.blocks):
            return first
        after = first.n


def body_of(opened: Opened, epoch: str, n: int, part: int) -> PartBody:
    """Return the body of one part of the outbox, in the names of now."""
    (body,) = opened.connection.execute(
        "SELECT body FROM _sync_out WHERE epoch = ? AND n = ? AND part = ?", (epoch, n, part)
    ).fetchone()
    return read_back(body, opened.catalog)


def questions(opened: Opened, first: First) -> Iterator[Question]:
    """Give the rows of the transaction in the order of its parts, some at a time.

    Of one whose keys can't be any nothing is asked: the centre has it parked, if at all.
    """
    epoch = position.read(opened.connection).epoch
    return questions_of(body_of(opened, epoch, first.n, part) for part in range(first.parts))


def questions_of(bodies: Iterable[PartBody]) -> Iterator[Question]:
    """Give the rows of these bodies, of which facts are not asked after."""
    for body in bodies:
        named = [
            (block.table, *key) if len(key[0]) <= _SITE_MAX and len(key[1]) == _ID_SIZE else _NOBODY
            for block in body.blocks
            if block.at
            for key in zip(block.sites, block.ids, strict=True)
        ]
        for start in range(0, len(named), ASKED_MAX):
            yield named[start : start + ASKED_MAX]
