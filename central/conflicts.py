"""The conflict history as people read it: what each side wrote, who, when, and what stands.

Each conflict is a row of ``mes.sync_conflicts``; where a person decides, there is a row of
``mes.sync_reviews`` beside it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from psycopg.rows import dict_row

from central.canonical import column_expressions
from shared.conflicts import Record, check_name, recorded, the_one

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Table
    from shared.changes import Value

#: Conflicts that one list holds.
LISTED_MAX: Final = 1_000

STATES: Final = ("open", "resolved", "decided")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict(Record["datetime"]):
    """One record of the history, of any site."""

    site: str
    base_version: str | None


class Place(NamedTuple):
    """Where a conflict stands in the order of lists."""

    is_open: bool
    decided_at: datetime
    id: UUID

    @classmethod
    def of(cls, conflict: Conflict) -> Place:
        """Return the place of a conflict."""
        return cls(conflict.state == "open", conflict.decided_at, UUID(conflict.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which conflicts to list; None stands for any."""

    site: str | None = None
    table: str | None = None
    policy: str | None = None
    state: str | None = None
    since: datetime | None = None
    #: Those that come after this one.
    after: Place | None = None
    limit: int = LISTED_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands in the row that a conflict is about."""

    #: What a person's write has to show; None where there was never such a row.
    version: str | None
    #: None where the row is deleted.
    values: Mapping[str, Value] | None
    created_at: str | None


_SELECT: Final = """
SELECT c.id::text, c.site_id AS site, c.table_name, c.row_id::text, c.column_group,
       c.policy, c.verdict, c.base_value, c.here_value, c.central_value, c.result_value,
       c.here_site, c.central_site, c.here_writer, c.central_writer, c.here_at, c.central_at,
       c.clock_clamped, c.tx_id::text, c.base_version::text, c.decided_at,
       r.id::text AS review_id, r.state, r.shown_value, r.take, r.value AS taken, r.decided_by,
       r.reason, r.decided_at AS taken_at,
       (SELECT k.key FROM sync.row_key AS k WHERE k.id = c.row_id ORDER BY k.key LIMIT 1) AS key
FROM mes.sync_conflicts AS c
LEFT JOIN mes.sync_reviews AS r
       ON r.site_id = c.site_id AND r.created_at = c.created_at AND r.id = c.review_id"""

_LISTED: Final = """
WHERE (%(site)s::text IS NULL OR c.site_id = %(site)s)
  AND (%(table)s::text IS NULL OR c.table_name = %(table)s)
  AND (%(policy)s::text IS NULL OR c.policy = %(policy)s)
  AND (%(since)s::timestamptz IS NULL OR c.decided_at >= %(since)s)
  AND (%(state)s::text IS NULL OR %(state)s = CASE WHEN r.id IS NULL THEN 'decided'
       WHEN r.state = 'OPEN' THEN 'open' ELSE 'resolved' END)
  AND (%(after_open)s::boolean IS NULL OR CASE
       WHEN (r.state IS NOT DISTINCT FROM 'OPEN') <> %(after_open)s THEN %(after_open)s
       WHEN c.decided_at <> %(after_at)s THEN c.decided_at < %(after_at)s
       ELSE c.id > %(after_id)s END)
ORDER BY r.state IS NOT DISTINCT FROM 'OPEN' DESC, c.decided_at DESC, c.id LIMIT %(limit)s"""

_NAMED: Final = """
WHERE c.id::text LIKE %(ending)s OR c.review_id::text LIKE %(ending)s ORDER BY c.id LIMIT 3"""


async def read_conflicts(connection: AsyncConnection[Any], wanted: Wanted) -> list[Conflict]:
    """Return conflicts, those that wait for a person first, then the latest."""
    after = wanted.after
    given = {
        "site": wanted.site,
        "table": wanted.table,
        "policy": wanted.policy,
        "state": wanted.state,
        "since": wanted.since,
        "after_open": after and after.is_open,
        "after_at": after and after.decided_at,
        "after_id": after and after.id,
        "limit": min(wanted.limit, LISTED_MAX + 1),
    }
    return await _read(connection, _SELECT + _LISTED, given)


async def find_conflict(connection: AsyncConnection[Any], name: str) -> Conflict:
    """Return the conflict of that name; raise UnknownConflict where there is none, or several."""
    check_name(name)
    found = await _read(connection, _SELECT + _NAMED, {"ending": f"%{name}"})
    return the_one(found, name, command="mes-central")


async def _read(
    connection: AsyncConnection[Any], query: str, given: Mapping[str, Any]
) -> list[Conflict]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), given)
        return [_conflict(row) async for row in cursor]


def _conflict(row: Mapping[str, Any]) -> Conflict:
    return Conflict(
        site=row["site"],
        key=_key(row["key"]),
        base_version=row["base_version"],
        **recorded(row),
    )


def _key(text: str | None) -> str | None:
    """Return a natural key as people write it: its values, without the number of the key."""
    return " ".join(json.loads(text)[1:]) if text else None


async def read_standing(
    connection: AsyncConnection[Any], catalog: Catalog, conflict: Conflict
) -> Standing:
    """Return what stands in the row now, all its columns in canonical form."""
    table = catalog.table(conflict.table)
    cursor = await connection.execute(
        """SELECT h.version::text, h.deleted,
                  to_char(h.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
           FROM sync.head AS h JOIN sync.table_no AS t ON t.no = h.table_no
           WHERE h.site_id = %s AND t.name = %s AND h.id = %s""",
        [conflict.site, conflict.table, conflict.row_id],
    )
    head = await cursor.fetchone()
    if head is None:
        return Standing(version=None, values=None, created_at=None)
    version, deleted, created_at = head
    values = None if deleted else await _values(connection, table, conflict, created_at)
    return Standing(version=version, values=values, created_at=created_at)


async def _values(
    connection: AsyncConnection[Any], table: Table, conflict: Conflict, created_at: str
) -> dict[str, Value] | None:
    cursor = await connection.execute(
        (
            f"SELECT {column_expressions(table.columns)} FROM mes.{table.name} AS t"
            " WHERE t.site_id = %s AND t.created_at = %s AND t.id = %s"
        ).encode(),
        [conflict.site, created_at, conflict.row_id],
    )
    row: Sequence[Value] | None = await cursor.fetchone()
    return dict(zip(table.names, row, strict=True)) if row else None


def document(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict as JSON-ready values."""
    named = {"id": conflict.id, "site": conflict.site}
    return named | asdict(conflict) | {"state": conflict.state}
