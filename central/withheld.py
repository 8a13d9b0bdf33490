"""A person decides on what sites told of rows of others (``central.store.withheld``).

What is taken is a normal write of a client of the centre: it reaches the sites by the feed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from central.row_reading import Found, UnknownRow, find_row
from central.row_writing import Writing, update_row
from central.store.applying import ROWS_AT_FAULT
from central.store.withheld import as_told
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from psycopg import AsyncConnection

    from shared.catalog import Catalog
    from shared.changes import Value

#: Words that one list holds.
LISTED_MAX: Final = 1_000
#: Characters of an id that name a word at the least.
NAME_MIN: Final = 4


class UnknownWord(SyncError):
    """There is no such word; `mes-central withheld list --all` names them."""


class NothingToTake(SyncError):
    """What a site told can't be written any more."""


class WrittenSince(SyncError):
    """The row stands otherwise than when the word on it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """What a site told of a row of others, and was not taken on its word."""

    id: str
    #: Who told, and whose row it is: a site, or ``*``.
    site: str
    owner: str
    table: str
    row_id: str
    #: That the row had in the lost history.
    version: str
    #: What was not taken, and what stood there then, by column; None where no row did.
    told: Mapping[str, Any]
    held: Mapping[str, Any] | None
    #: Nothing of the row was taken: as it stood the site did not get it.
    is_whole: bool
    #: Of the version, in the lost history; 0 where nobody knows.
    lost_ord: int
    noted_at: datetime
    #: Somebody had written these columns since the restore.
    is_beside: bool
    #: open, home (the row's own site told it, too), superseded (by a later word of the lost
    #: history), taken or discarded.
    state: str
    settled_at: datetime | None
    settled_by: str | None

    @property
    def short(self) -> str:
        """Return the end of the id, by which people name it."""
        return self.id[-8:]


_SELECT: Final = """
SELECT id::text, site, owner, table_name AS table, row_id::text, version::text, told, held,
       is_whole, is_beside, lost_ord, noted_at, state, settled_at, settled_by
FROM sync.withheld"""


async def read_withheld(
    connection: AsyncConnection[Any], *, site: str | None = None, every: bool = False,
    limit: int = LISTED_MAX,
) -> list[Withheld]:  # fmt: skip
    """Return what waits for a person, the latest first; ``every``: also what is settled."""
    query = f"""{_SELECT} WHERE (%(site)s::text IS NULL OR %(site)s IN (site, owner))
        AND (%(every)s OR state = 'open')
        ORDER BY noted_at DESC, lost_ord DESC, id LIMIT %(limit)s"""
    given = {"site": site, "every": every, "limit": min(limit, LISTED_MAX)}
    async with connection.cursor(row_factory=class_row(Withheld)) as cursor:
        return await (await cursor.execute(query.encode(), given)).fetchall()


async def waiting_of(connection: AsyncConnection[Any], site: str) -> list[str]:
    """Return all that waits of what a site told or of its rows, in the order of its writing."""
    cursor = await connection.execute(
        "SELECT id::text FROM sync.withheld WHERE state = 'open' AND %s IN (site, owner)"
        " ORDER BY lost_ord, noted_at, id",
        [site],
    )
    return [each for (each,) in await cursor.fetchall()]


async def find_withheld(connection: AsyncConnection[Any], name: str) -> Withheld:
    """Return the one of that name; raise UnknownWord where there is none, or several."""
    async with connection.cursor(row_factory=class_row(Withheld)) as cursor:
        query = f"{_SELECT} WHERE right(id::text, %s) = %s ORDER BY id LIMIT 2".encode()
        found = await (await cursor.execute(query, [max(len(name), NAME_MIN), name])).fetchall()
    if not found:
        raise UnknownWord(f"nothing is withheld as {name}; see `mes-central withheld list --all`")
    if len(found) > 1:
        raise UnknownWord(f"{name} names several; give more of it")
    return found[0]


async def read_standing(
    connection: AsyncConnection[Any], catalog: Catalog, word: Withheld
) -> Found:
    """Return the row as it stands; its values are None where it does not."""
    try:
        return await find_row(connection, catalog.table(word.table), (word.owner,), word.row_id)
    except UnknownRow:
        return Found(word.owner, word.row_id, "", None, None)


async def take(
    connection: AsyncConnection[Any], catalog: Catalog, name: str, by: str,
    *, seen: str | None = None,
) -> Withheld:  # fmt: skip
    """Write what was told, as a client of the centre, and return it.

    What it takes the place of has to stand as it was when this was told, or under the version that
    the person has ``seen``. Raise UnknownWord, NothingToTake, WrittenSince; KeyTaken, BadRow or
    RowMoved as ``update_row`` does.
    """
    async with connection.transaction():
        word = await _held(connection, name)
        table = catalog.table(word.table)
        found = await read_standing(connection, catalog, word)
        if found.values is None:
            raise NothingToTake(
                f"the row of {word.short} is deleted; write it anew over the API,"
                f" then `mes-central withheld discard {word.short}`"
            )
        _check_unwritten(word, found, as_told(table, word.held or {}), seen)
        try:
            told = as_told(table, word.told)
            changed = {name: value for name, value in told.items() if found.values[name] != value}
            await update_row(connection, Writing(catalog, table, word.owner, by), found, changed)
        except (*ROWS_AT_FAULT, ValueError) as why:
            raise NothingToTake(f"the row does not take what {word.short} tells: {why}") from why
        await _settle(connection, word, "taken", by)
    return word


def _check_unwritten(
    word: Withheld, found: Found, held: Mapping[str, Value], seen: str | None
) -> None:
    values = found.values or {}
    is_moved = any(values[name] != was for name, was in held.items())
    if found.version != seen if seen else is_moved or word.is_beside:
        raise WrittenSince(
            f"the row of {word.short} was written since the restore; look with"
            f" `mes-central withheld show {word.short}`, and name what you saw:"
            f" --seen {found.version}"
        )


async def discard(connection: AsyncConnection[Any], name: str, by: str) -> Withheld:
    """Let go of what was told, which stays on record, and return it; raise UnknownWord."""
    async with connection.transaction():
        word = await _held(connection, name)
        await _settle(connection, word, "discarded", by)
    return word


async def _held(connection: AsyncConnection[Any], name: str) -> Withheld:
    """Return one that waits, and hold it until the commit."""
    word = await find_withheld(connection, name)
    cursor = await connection.execute(
        "SELECT state FROM sync.withheld WHERE id = %s FOR UPDATE", [word.id]
    )
    row = await cursor.fetchone()
    if row is None or row[0] != "open":
        raise UnknownWord(f"{word.short} is settled already: {row[0] if row else 'gone'}")
    return word


async def _settle(connection: AsyncConnection[Any], word: Withheld, state: str, by: str) -> None:
    await connection.execute(
        "UPDATE sync.withheld SET state = %s, settled_at = now(), settled_by = %s WHERE id = %s",
        [state, by, word.id],
    )
