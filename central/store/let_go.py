"""Facts that a person let go of: their site has them still, and may send them again.

It does so from a store that was put back to a copy, after a restore of the centre, or as a repair.
Only what says the same as what was let go of is left out, its ``created_at`` included: anything
else nobody has decided on. A fact is let go of as a whole: where it waits more than once, since its
store sent it more than once, all of it is discarded together.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from central.store.literals import array
from central.store.parking import content_of
from shared.catalog import CREATED_AT, ID, Kind
from shared.changes import Op
from shared.observe import note
from shared.values import rule_broken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from central.store.applying import Applying
    from central.store.batch import Batch
    from central.store.changeset import Rows, Source

    Fact = tuple[str, str, bytes]

_log = logging.getLogger(__name__)

_OF_THESE: Final = b"""
SELECT p.table_name, p.row_id::text, p.state, p.content
FROM mes.sync_parked AS p
WHERE p.site_id = %(site)s AND p.op = 'I' AND p.table_name <> ALL(%(two_way)s)
  AND json_typeof(p.content) = 'object'
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
SELECT %(site)s, table_name, row_id, sha256 FROM f ON CONFLICT DO NOTHING"""
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


def digest(source: Source) -> bytes:
    """Return what tells what a fact says; a column more that has no value changes nothing."""
    return _digest(json.loads(content_of(source)))


def _digest(content: dict[str, Any]) -> bytes:
    said = {name: value for name, value in content.items() if value is not None}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


async def note_let_go(applying: Applying, tickets: Sequence[str]) -> None:
    """Note which facts a person let go of, by the records of tickets and of the same facts.

    One that stands, or that any other record tells to be there or to come, was not.
    """
    given = {
        "site": applying.site,
        "tickets": array(Kind.UUID, tickets),
        "two_way": [table.name for table in applying.catalog.tables if not table.fact],
    }
    states = defaultdict["Fact", set[str]](set)
    cursor = await applying.connection.execute(_OF_THESE, given)
    created: dict[Fact, str | None] = {}
    for table, row_id, state, content in await cursor.fetchall():
        fact = table, row_id, _digest(content)
        states[fact].add(state)
        created[fact] = content.get("created_at")
    gone = {fact for fact, some in states.items() if some == {"discarded"}}
    gone -= await _standing(applying, {fact: created[fact] for fact in gone})
    await _write(applying, _NOTE, gone)
    await _write(applying, _WITHDRAW, states.keys() - gone)


async def _standing(applying: Applying, facts: dict[Fact, str | None]) -> set[Fact]:
    """Return those of the facts that are there."""
    found: set[Fact] = set()
    for fact, at in facts.items():
        table, row_id, _ = fact
        if at is None or table not in applying.catalog or rule_broken(CREATED_AT, at):
            continue
        text = f"SELECT 1 FROM mes.{table} WHERE site_id = %s AND created_at = %s AND id = %s"
        cursor = await applying.connection.execute(text.encode(), [applying.site, at, row_id])
        found |= {fact} if await cursor.fetchone() else set()
    return found


async def _write(applying: Applying, statement: str, facts: Iterable[Fact]) -> None:
    if some := list(facts):
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
        hashes = known.get(source.key, ())
        return bool(hashes) and digest(source) in hashes

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
            ids[source.block.table].append(source.id)
    found = defaultdict[tuple[str, str], set[bytes]](set)
    for table, some in ids.items():
        given = {"site": applying.site, "table": table, "ids": array(Kind.UUID, some)}
        cursor = await applying.connection.execute(_READ, given)
        for row_id, sha256 in await cursor.fetchall():
            found[table, row_id].add(bytes(sha256))
    return dict(found)
