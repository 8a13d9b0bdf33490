"""What the feeds told of rows under versions that the centre made, as far as they reach back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.changes import SHARED, Fate, HeadBlock, Value
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import AsyncConnection

    from central.compare.rows import Part

#: Entries that are looked through for one version.
_ENTRIES_MAX: Final = 100

#: Entries that were made soon after a version: its row is in one of them, where it is in any.
_ENTRIES: Final = """
SELECT f.scope, f.pos, f.previous, f.hash, f.body
FROM sync.version AS v
JOIN sync.feed AS f ON f.scope IN (%(site)s, %(shared)s)
    AND f.made_at >= to_timestamp(v.at_ms / 1000.0) - interval '5 s'
    AND f.made_at <= to_timestamp(v.at_ms / 1000.0) + interval '10 min'
WHERE v.site_id = %(owner)s AND v.id = %(id)s AND v.version = %(version)s AND v.origin = '*'
  AND v.table_no = (SELECT no FROM sync.table_no WHERE name = %(table)s)
ORDER BY f.made_at LIMIT %(entries)s"""


async def told(
    connection: AsyncConnection[Any], part: Part, asked: Sequence[tuple[str, str, str]]
) -> dict[str, list[Value]]:
    """Return the columns asked for of rows, given by site_id, id and version, by their ids."""
    found: dict[str, list[Value]] = {}
    for owner, row_id, version in asked:
        given = {
            "site": part.site, "shared": SHARED, "owner": owner, "id": row_id, "version": version,
            "table": part.table.name, "entries": _ENTRIES_MAX,
        }  # fmt: skip
        cursor = await connection.execute(_ENTRIES.encode(), given)
        async for scope, pos, previous, own, body in cursor:
            entry = codec.encode_entry(scope, pos, bytes(previous), bytes(own), bytes(body))
            for block in codec.decode_entry(entry)[0].blocks:
                found |= _rows_of(block, part, row_id, version)
    return found


def _rows_of(
    block: HeadBlock, part: Part, row_id: str, version: str
) -> Iterator[tuple[str, list[Value]]]:
    """Give the row in a block, where it is there under that version."""
    names = [column.name for column in part.columns]
    if block.table != part.table.name or block.fate is not Fate.PUT:
        return
    for place, (each, own) in enumerate(zip(block.ids, block.version, strict=True)):
        if (each, own) == (row_id, version) and set(names) <= set(block.columns):
            yield row_id, [block.new[block.columns.index(name)][place] for name in names]
