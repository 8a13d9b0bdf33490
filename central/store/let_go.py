"""Facts that a person let go of: their site has them still, and may send them again.

It does so from a store that was put back to a copy, after a restore of the centre, or as a repair.
Only what says the same as what was let go of is left out, its ``created_at`` included: anything
else nobody has decided on. That is told by two hashes, either of which is enough. One is of what
was sent, which stays the same whatever becomes of our catalogue. The other is in the terms of the
catalogue, where it has the table, for what a store makes anew: a column counts by the first name
that it had, and its default for no value. A fact is let go of as a whole: where it waits more than
once, since its store sent it more than once, or where more than one record tells of it, all of it
is discarded together.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from central.archive_hash import first_name
from central.store.changeset import Reason
from central.store.literals import array
from central.store.parking import NAME_MAX, content_of, plain
from shared.catalog import CREATED_AT, ID, Kind
from shared.changes import Op
from shared.observe import note
from shared.values import rule_broken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from central.store.applying import Applying
    from central.store.batch import Batch
    from central.store.changeset import Rows, Source
    from shared.catalog import Table

    Fact = tuple[str, str, bytes]

_log = logging.getLogger(__name__)

_OF_THESE: Final = b"""
SELECT p.id::text, p.table_name, p.row_id::text, p.state, p.reason, p.content::text,
       EXISTS (SELECT FROM sync.waiting AS w WHERE w.site_id = p.site_id AND w.ticket = p.id)
FROM mes.sync_parked AS p
WHERE p.site_id = %(site)s AND p.op = 'I' AND p.table_name <> ALL(%(two_way)s)
  AND p.content IS NOT NULL
  AND p.row_id = ANY(ARRAY(SELECT row_id FROM mes.sync_parked
                           WHERE site_id = %(site)s AND id = ANY(%(tickets)s::uuid[])))"""

_WITH_FACTS: Final = """
WITH f AS MATERIALIZED (
    SELECT * FROM unnest(%(tables)s::text[], %(ids)s::uuid[], %(hashes)s::bytea[])
        AS f (table_name, row_id, sha256)) """
_NOTE: Final = f"""{_WITH_FACTS}, e AS (
    DELETE FROM sync.extra AS e USING f
    WHERE e.site_id = %(site)s AND e.table_name = f.table_name AND e.id = f.row_id)
INSERT INTO sync.let_go (site_id, table_name, row_id, sha256)
SELECT s.site, f.table_name, f.row_id, f.sha256 FROM f JOIN sync.site AS s ON s.site = %(site)s
ORDER BY 2, 3, 4 ON CONFLICT DO NOTHING"""
_WITHDRAW: Final = f"""{_WITH_FACTS}
DELETE FROM sync.let_go AS g USING f WHERE g.site_id = %(site)s
    AND g.table_name = f.table_name AND g.row_id = f.row_id AND g.sha256 = f.sha256"""

_READ: Final = b"""
SELECT row_id::text, sha256 FROM sync.let_go
WHERE site_id = %(site)s AND table_name = %(table)s AND row_id = ANY(%(ids)s::uuid[])"""


def is_let_go(applying: Applying, source: Source) -> bool:
    """Tell whether letting go of a row would be noted: of facts, and where nobody knows yet."""
    table, catalog = source.block.table, applying.catalog
    is_two_way = table in catalog and not catalog.table(table).fact
    return source.block.op is Op.INSERT and not is_two_way


def digest(applying: Applying, source: Source) -> bytes:
    """Return what tells what a fact says, in our terms."""
    return _hashes_of(applying, source).ours


def _hashes_of(applying: Applying, source: Source) -> _Hashes:
    return _hashes(_table(applying, source.block.table), json.loads(content_of(source)))


def _table(applying: Applying, name: str) -> Table | None:
    return applying.catalog.table(name) if name in applying.catalog else None


class _Hashes(NamedTuple):
    """What tells what a fact says."""

    #: In our terms. Of a table that is not here yet nobody knows these: then it is as it was sent.
    ours: bytes
    as_sent: bytes
    #: By the names of the day: so it was noted until 28 November 2026, and is looked for still.
    before: bytes


def _hashes(table: Table | None, content: dict[str, Any]) -> _Hashes:
    as_sent = _hash(content)
    if table is None:
        return _Hashes(as_sent, as_sent, as_sent)
    said = _without_defaults(table, content)
    by_first_name = {_first(table, name): value for name, value in said.items()}
    return _Hashes(_hash(by_first_name), as_sent, _hash(said))


def _without_defaults(table: Table, content: dict[str, Any]) -> dict[str, Any]:
    """Return a fact's values by our names, without those that stand where none is named."""
    defaults = {column.name: column.default for column in table.columns}
    names = {old: column.name for column in table.columns for old in column.renamed_from}
    own = {names.get(name, name): value for name, value in content.items()} | {
        name: value for name, value in content.items() if name in defaults
    }
    return {name: value for name, value in own.items() if value != defaults.get(name)}


def _first(table: Table, name: str) -> str:
    return first_name(table.column(name)) if name in table.names else name


def _hash(said: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True)
class _Record:
    """What a record tells of a fact."""

    ticket: str
    #: In our terms.
    fact: Fact
    hashes: _Hashes
    state: str
    reason: str
    created_at: str | None
    #: The row itself is here, and waits.
    is_here: bool


async def _records(applying: Applying, tickets: Sequence[str]) -> list[_Record]:
    """Return the records of tickets of facts, and all others under their ids."""
    given = {
        "site": applying.site,
        "tickets": array(Kind.UUID, tickets),
        "two_way": [table.name for table in applying.catalog.tables if not table.fact],
    }
    cursor = await applying.connection.execute(_OF_THESE, given)
    found = []
    for ticket, name, row_id, state, reason, text, is_here in await cursor.fetchall():
        try:
            content = json.loads(text)
            if not isinstance(content, dict):
                continue
            hashes = _hashes(_table(applying, name), content)
        except (ValueError, RecursionError):  # a site can tell us anything, and it stops nobody
            continue
        at = content.get("created_at")
        created_at = at if isinstance(at, str) else None
        fact = name, row_id, hashes.ours
        found.append(_Record(ticket, fact, hashes, state, reason, created_at, is_here))
    return found


async def bare_of(applying: Applying, tickets: Sequence[str]) -> list[str]:
    """Return the tickets of records that tell the same facts to wait, of rows that are not here.

    They came home after a restore, and what they tell of may come again.
    """
    records = await _records(applying, tickets)
    same = {each.fact for each in records if each.ticket in tickets}
    return [
        each.ticket
        for each in records
        if each.fact in same and not each.is_here and each.ticket not in tickets
        and each.state in ("parked", "waiting")
    ]  # fmt: skip


async def note_let_go(applying: Applying, tickets: Sequence[str]) -> None:
    """Note which facts a person let go of, by the records of tickets and of the same facts.

    One that stands, or that waits here, was not: whatever else is told of it was before that.
    """
    records = await _records(applying, tickets)
    gone = [each for each in records if each.state == "discarded"]
    waits = {each.fact for each in records if each.is_here}
    kept = waits | await _standing(applying, [each for each in gone if each.fact not in waits])
    await _write(applying, _NOTE, [each for each in gone if each.fact not in kept])
    await _write(applying, _WITHDRAW, [each for each in gone if each.fact in kept])


async def _standing(applying: Applying, records: Iterable[_Record]) -> set[Fact]:
    """Return those of the facts that are there.

    What was refused since another fact has its id is not the one that is there.
    """
    found: set[Fact] = set()
    for each in records:
        (table, row_id, _), at = each.fact, each.created_at
        if each.reason == Reason.ID_TAKEN or table not in applying.catalog:
            continue
        if at is None or rule_broken(CREATED_AT, at):
            continue
        text = f"SELECT 1 FROM mes.{table} WHERE site_id = %s AND created_at = %s AND id = %s"
        cursor = await applying.connection.execute(text.encode(), [applying.site, at, row_id])
        found |= {each.fact} if await cursor.fetchone() else set()
    return found


async def _write(applying: Applying, statement: str, records: Sequence[_Record]) -> None:
    some = [(*each.fact[:2], sha256) for each in records for sha256 in set(each.hashes)]
    if some:
        given = {
            "site": applying.site, "tables": [table for table, _, _ in some],
            "ids": array(Kind.UUID, [row_id for _, row_id, _ in some]),
            "hashes": [sha256 for _, _, sha256 in some],
        }  # fmt: skip
        await applying.connection.execute(statement.encode(), given)


# --- what comes again ----------------------------------------------------------------------------


async def without_let_go(applying: Applying, batch: Batch) -> Batch:
    """Return a batch without the facts that a person let go of, as they are."""
    if not applying.has_let_go:
        return batch
    known = await _known(applying, batch)
    if not known:
        return batch

    def is_gone(source: Source) -> bool:
        hashes = known.get((plain(source.block.table, NAME_MAX), source.id), set())
        return bool(hashes) and not hashes.isdisjoint(_hashes_of(applying, source))

    def left(rows: Rows) -> Rows:
        return rows.without(row for row in range(len(rows)) if is_gone(rows.source(row)))

    some = replace(
        batch,
        releases=[rows for rows in map(left, batch.releases) if rows.ids],
        facts=[rows for rows in map(left, batch.facts) if rows.ids],
        refused=[each for each in batch.refused if not is_gone(each.source)],
        extras=[each for each in batch.extras if not is_gone(each.source)],
    )
    if rows := _facts_of(batch) - _facts_of(some):
        note(_log, "left out what was discarded before", site=applying.site, rows=rows)
    return some


def _facts_of(batch: Batch) -> int:
    return sum(map(len, [*batch.releases, *batch.facts])) + len(batch.refused)


async def _known(applying: Applying, batch: Batch) -> dict[tuple[str, str], set[bytes]]:
    """Return the facts of a batch under whose id something was let go, and hashes of what."""
    ids = defaultdict[str, list[str]](list)
    for rows in [*batch.releases, *batch.facts]:
        ids[rows.table.name] += rows.ids
    # Facts go in after all else of their run, and values that wait for a column before.
    for source in [each.source for each in batch.refused] + [each.source for each in batch.extras]:
        if is_let_go(applying, source) and rule_broken(ID, source.id) is None:
            ids[plain(source.block.table, NAME_MAX)].append(source.id)
    found = defaultdict[tuple[str, str], set[bytes]](set)
    for table, some in ids.items():
        given = {"site": applying.site, "table": table, "ids": array(Kind.UUID, some)}
        cursor = await applying.connection.execute(_READ, given)
        for row_id, sha256 in await cursor.fetchall():
            found[table, row_id].add(bytes(sha256))
    return dict(found)
