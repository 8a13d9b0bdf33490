"""Comparing a site's store with its share at the centre: what the site asks, and what is answered.

The site leads. It asks for the sums of buckets, for the hashes of rows in those that differ, and
for the contents of rows whose hashes differ, until it knows which rows are really not the same; the
centre answers each question from one moment, and remembers nothing between them. What came of it is
kept, so that the status of the centre tells. Rows of other sites are in no answer.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from central.compare import rows
from central.compare.kept import keep
from central.compare.repair import Item, repair
from central.compare.rows import Part
from central.compare.told import told
from shared.errors import MalformedMessage
from shared.sums import DIGITS_MAX, HASH_BYTES, Cut, is_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from shared.catalog import Catalog, Table

Fields = dict[str, Any]

#: Tables that are summed up at once, whoever asks; the others are asked to come again.
_SUMS_MAX: Final = 2
_TURN_S: Final = 2.0
#: Rows that one question may name.
LOOKED_AT_MAX: Final = 500
#: Values of rows in one answer, about; the broker takes 1 MiB.
_ANSWER_BYTES_MAX: Final = 600 << 10
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_ENDING: Final = re.compile(rf"[0-9a-f]{{1,{DIGITS_MAX}}}", re.ASCII)


class Comparing:
    """Answers the questions of comparisons."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]], catalog: Catalog) -> None:
        self._pool = pool
        self._catalog = catalog
        self._turns = asyncio.Semaphore(_SUMS_MAX)

    async def answer(self, site: str, asked: Fields) -> Fields:
        """Return the answer to one question, which names its kind."""
        kinds: dict[str, Callable[[str, Fields], Awaitable[Fields]]] = {
            "begin": self._begin,
            "sums": self._sums,
            "rows": self._rows,
            "look": self._look,
            "told": self._told,
            "repair": self._repair,
            "done": self._done,
        }
        kind = asked.get("kind")
        if kind not in kinds:
            raise MalformedMessage(f"no question of a comparison is called {kind!r}")
        try:
            return await kinds[kind](site, asked)
        except (KeyError, TypeError, ValueError, AttributeError) as why:
            raise MalformedMessage(f"the question can't be read: {why!r}") from why

    async def _begin(self, site: str, asked: Fields) -> Fields:
        """Tell for each table of the site what its columns are called here, null where unknown.

        Each column comes with all the names that it has had. Tell also from when on facts are kept.
        """
        known = {
            name: [_column_here(self._catalog.table(name), aliases) for aliases in columns]
            for name, columns in asked["tables"].items()
            if name in self._catalog
        }
        absent = [t.name for t in self._catalog.tables if t.name not in asked["tables"]]
        facts = [table for table in self._catalog.tables if table.fact]
        async with self._pool.connection() as connection:
            kept = await rows.kept_from(connection, site, facts)
        return {"tables": known, "absent": absent, "kept_from": kept}

    async def _sums(self, site: str, asked: Fields) -> Fields:
        part = self._part(site, asked)
        try:
            async with asyncio.timeout(_TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            return {"busy": True}
        try:
            async with self._pool.connection() as connection:
                sums = await rows.read_sums(connection, part)
        finally:
            self._turns.release()
        return {
            "buckets": list(sums),
            "rows": [each.rows for each in sums.values()],
            "sums": b"".join(each.sum.to_bytes(HASH_BYTES, "big") for each in sums.values()),
        }

    async def _rows(self, site: str, asked: Fields) -> Fields:
        part = self._part(site, asked)
        after = _id(asked["after"]) if asked.get("after") else None
        async with self._pool.connection() as connection:
            found = await rows.read_hashes(connection, part, after)
        return {
            "sites": [each.site_id for each in found],
            "created": [each.created_at for each in found],
            "ids": b"".join(bytes.fromhex(each.id.replace("-", "")) for each in found),
            "hashes": b"".join(each.hash.to_bytes(HASH_BYTES, "big") for each in found),
            "more": len(found) == rows.ROWS_MAX,
        }

    async def _look(self, site: str, asked: Fields) -> Fields:
        keys = [(str(s), str(c), _id(i)) for s, c, i in asked["keys"][:LOOKED_AT_MAX]]
        async with self._pool.connection() as connection:
            seen = await rows.look(connection, self._part(site, asked), keys, _id(asked["epoch"]))
        listed = [_listed(each) for each in seen.rows]
        return {
            "own": seen.own,
            "shared": seen.shared,
            "applied_n": seen.applied_n,
            "rows": listed[: _fitting(listed)],
        }

    async def _told(self, site: str, asked: Fields) -> Fields:
        wanted = [(str(s), _id(i), _id(v)) for s, i, v in asked["rows"][:LOOKED_AT_MAX]]
        async with self._pool.connection() as connection:
            found = await told(connection, self._part(site, asked), wanted)
        fitting = _fitting([[values] for values in found.values()])
        return {"rows": dict(list(found.items())[:fitting])}

    async def _repair(self, site: str, asked: Fields) -> Fields:
        items = [
            Item(
                str(s),
                str(c),
                _id(i),
                version,
                None if here is None else tuple(here),
                (str(key[0]), str(key[1])) if key else None,
            )
            for s, c, i, version, here, key in asked["items"][:LOOKED_AT_MAX]
        ]
        began_at = str(asked["began_at"])
        part = self._part(site, asked)
        async with self._pool.connection() as connection:
            done = await repair(connection, self._catalog, part, began_at, items)
        return {"actions": [str(action) for action in done]}

    async def _done(self, site: str, asked: Fields) -> Fields:
        async with self._pool.connection() as connection:
            await keep(connection, site, _id(asked["run"]), asked["report"])
        return {}

    def _part(self, site: str, asked: Fields) -> Part:
        """Return the rows that are meant; all names come out of our own catalogue."""
        table = self._catalog.table(str(asked["table"]))
        columns = tuple(table.column(name) for name in asked["columns"])
        return Part(table, site, columns, _cut(table, asked["cut"]) if "cut" in asked else Cut())


def _column_here(table: Table, aliases: Sequence[str]) -> str | None:
    for column in table.columns:
        if column.name in aliases or set(column.renamed_from) & set(aliases):
            return column.name
    return None


def _cut(table: Table, asked: Mapping[str, Any]) -> Cut:
    cut = Cut(
        digits=int(asked.get("digits", 0)),
        minutes_from=str(asked.get("minutes_from", "")),
        since=str(asked.get("since", "")),
        before=str(asked.get("before", "")),
        endings=tuple(asked.get("endings", ())),
    )
    times = (cut.minutes_from, cut.since, cut.before)
    if not all(not each or is_time(each) for each in times):
        raise MalformedMessage(f"{times} are no days or minutes")
    if not all(map(_ENDING.fullmatch, cut.endings)) or len(set(map(len, cut.endings))) > 1:
        raise MalformedMessage("endings of ids are hexadecimal digits, as many in each")
    if table.fact == bool(cut.digits) or not 0 <= cut.digits <= DIGITS_MAX:
        raise MalformedMessage(f"{table.name} is not cut by {cut.digits} digits")
    return cut


def _id(text: Any) -> str:
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise MalformedMessage(f"{str(text)[:40]!r} is not a UUID in text form")
    return text


def _listed(row: rows.Standing) -> list[Any]:
    values = None if row.values is None else list(row.values)
    return [
        row.site_id, row.created_at, row.id, row.version, row.order, row.deleted, row.left,
        row.queued, row.parked, values,
    ]  # fmt: skip


def _fitting(listed: Sequence[Sequence[Any]]) -> int:
    """Return how many of the rows fit into an answer: one at least."""
    size = 0
    for count, row in enumerate(listed):
        size += 200 + sum(len(v) if isinstance(v, str | bytes) else 9 for v in row[-1] or ())
        if size > _ANSWER_BYTES_MAX and count:
            return count
    return len(listed)
