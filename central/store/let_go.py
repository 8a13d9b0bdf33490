"""Facts that a person let go of: their site has them still, and may send them again.

It does so from a store that was put back to a copy, after a restore of the centre, or as a repair.
Only what says the same as what was let go of is left out: anything else nobody has decided on.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from central.store.literals import array
from central.store.parking import content_of
from shared.catalog import ID, Kind
from shared.changes import Op
from shared.values import rule_broken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.store.applying import Applying
    from central.store.batch import Batch
    from central.store.changeset import Rows, Source

_NOTE: Final = b"""
INSERT INTO sync.let_go (site_id, table_name, row_id, sha256)
SELECT p.site_id, p.table_name, p.row_id, sha256(convert_to(p.content::text, 'UTF8'))
FROM mes.sync_parked AS p
WHERE p.site_id = %(site)s AND p.id = ANY(%(tickets)s::uuid[]) AND p.state = 'discarded'
  AND p.op = 'I' AND p.row_id IS NOT NULL AND p.table_name = ANY(%(facts)s)
ON CONFLICT DO NOTHING"""

_READ: Final = b"""
SELECT row_id::text, sha256 FROM sync.let_go
WHERE site_id = %(site)s AND table_name = %(table)s AND row_id = ANY(%(ids)s::uuid[])"""


async def note_let_go(applying: Applying, tickets: Sequence[str]) -> None:
    """Note those of parked rows that are facts, and are discarded by their record."""
    given = {
        "site": applying.site,
        "tickets": array(Kind.UUID, tickets),
        "facts": [table.name for table in applying.catalog.tables if table.fact],
    }
    await applying.connection.execute(_NOTE, given)


async def without_let_go(applying: Applying, batch: Batch) -> Batch:
    """Return a batch without the facts that a person let go of, as they are."""
    if not applying.has_let_go:
        return batch
    known = await _known(applying, batch)
    if not known:
        return batch

    def is_gone(source: Source) -> bool:
        hashes = known.get(source.key, ())
        return bool(hashes) and hashlib.sha256(content_of(source).encode()).digest() in hashes

    def left(rows: Rows) -> Rows:
        return rows.without(row for row in range(len(rows)) if is_gone(rows.source(row)))

    return replace(
        batch,
        releases=[rows for rows in map(left, batch.releases) if rows.ids],
        facts=[rows for rows in map(left, batch.facts) if rows.ids],
        refused=[each for each in batch.refused if not is_gone(each.source)],
    )


async def _known(applying: Applying, batch: Batch) -> dict[tuple[str, str], set[bytes]]:
    """Return the facts of a batch under whose id something was let go, and hashes of what."""
    ids = defaultdict[str, list[str]](list)
    for rows in [*batch.releases, *batch.facts]:
        ids[rows.table.name] += rows.ids
    for each in batch.refused:
        source, block = each.source, each.source.block
        is_fact = block.table in applying.catalog and applying.catalog.table(block.table).fact
        if is_fact and block.op is Op.INSERT and rule_broken(ID, source.id) is None:
            ids[block.table].append(source.id)
    found = defaultdict[tuple[str, str], set[bytes]](set)
    for table, some in ids.items():
        given = {"site": applying.site, "table": table, "ids": array(Kind.UUID, some)}
        cursor = await applying.connection.execute(_READ, given)
        for row_id, sha256 in await cursor.fetchall():
            found[table, row_id].add(bytes(sha256))
    return dict(found)
