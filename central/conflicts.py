"""The conflict history as people read it: what each side wrote, who, when, and what stands.

Each conflict is a row of ``mes.sync_conflicts``; where a person decides, there is a row of
``mes.sync_reviews`` beside it. A conflict is named by its id, the id of its review, or by the last
characters of either.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

from central.canonical import column_expressions
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Table
    from shared.changes import Value

#: Conflicts that one list holds.
LISTED_MAX: Final = 1_000
#: Characters by which people name a conflict: enough for a few thousand of them.
SHORT: Final = 8
_NAME: Final = re.compile(r"[0-9a-f-]{4,36}")

STATES: Final = ("open", "resolved", "decided")


class UnknownConflict(SyncError):
    """There is no such conflict; `mes-central conflicts list --all` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one side wrote."""

    #: By column; empty where the side deleted the row, None where nobody knows.
    value: Mapping[str, Value] | None
    #: A site, or ``*`` for the centre.
    site: str
    #: The person, where the table or the session names one.
    writer: str | None
    #: When, by the site's clock corrected; None where what stood is older than the base.
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a person has to decide, or has decided."""

    id: str
    state: str
    #: What stands meanwhile.
    shown: Mapping[str, Value] | None
    take: str | None
    value: Mapping[str, Value] | None
    decided_by: str | None
    reason: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One record of the history."""

    id: str
    site: str
    table: str
    row_id: str
    #: The row's natural key, where it has one and stands.
    key: str | None
    group: str
    #: The policy that decided, or ``delete`` where a side deleted the row.
    policy: str
    verdict: str
    base: Mapping[str, Value] | None
    here: Side
    central: Side
    result: Mapping[str, Value] | None
    #: A clock ran ahead and was held to the drift bound.
    clock_clamped: bool
    tx_id: str
    base_version: str | None
    decided_at: datetime
    review: Review | None

    @property
    def state(self) -> str:
        """Return whether it waits for a person, was decided by one, or by its policy."""
        if self.review is None:
            return "decided"
        return "open" if self.review.state == "OPEN" else "resolved"

    @property
    def short(self) -> str:
        """Return the end of the id, by which people name it."""
        return self.id[-SHORT:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which conflicts to list; None stands for any."""

    site: str | None = None
    table: str | None = None
    policy: str | None = None
    state: str | None = None
    since: datetime | None = None
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
SELECT c.id::text, c.site_id AS site, c.table_name AS table, c.row_id::text, c.column_group,
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
ORDER BY r.state IS NOT DISTINCT FROM 'OPEN' DESC, c.decided_at DESC, c.id LIMIT %(limit)s"""

_NAMED: Final = """
WHERE c.id::text LIKE %(ending)s OR c.review_id::text LIKE %(ending)s ORDER BY c.id LIMIT 3"""


async def read_conflicts(connection: AsyncConnection[Any], wanted: Wanted) -> list[Conflict]:
    """Return conflicts, those that wait for a person first, then the latest."""
    given = {
        "site": wanted.site,
        "table": wanted.table,
        "policy": wanted.policy,
        "state": wanted.state,
        "since": wanted.since,
        "limit": min(wanted.limit, LISTED_MAX),
    }
    return await _read(connection, _SELECT + _LISTED, given)


async def find_conflict(connection: AsyncConnection[Any], name: str) -> Conflict:
    """Return the conflict of that name; raise UnknownConflict where there is none, or several."""
    if not _NAME.fullmatch(name):
        raise UnknownConflict(
            f"{name!r} names no conflict: give an id, or at least its last 4 characters"
        )
    found = await _read(connection, _SELECT + _NAMED, {"ending": f"%{name}"})
    if not found:
        raise UnknownConflict(f"no conflict {name}; see `mes-central conflicts list --all`")
    if len(found) > 1:
        raise UnknownConflict(f"{name} names several: {', '.join(each.id for each in found)}")
    return found[0]


async def _read(
    connection: AsyncConnection[Any], query: str, given: Mapping[str, Any]
) -> list[Conflict]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), given)
        return [_conflict(row) async for row in cursor]


def _conflict(row: Mapping[str, Any]) -> Conflict:
    return Conflict(
        id=row["id"],
        site=row["site"],
        table=row["table"],
        row_id=row["row_id"],
        key=_key(row["key"]),
        group=row["column_group"],
        policy=row["policy"],
        verdict=row["verdict"],
        base=row["base_value"],
        here=_side(row, "here"),
        central=_side(row, "central"),
        result=row["result_value"],
        clock_clamped=row["clock_clamped"],
        tx_id=row["tx_id"],
        base_version=row["base_version"],
        decided_at=row["decided_at"],
        review=_review(row),
    )


def _side(row: Mapping[str, Any], name: str) -> Side:
    return Side(
        value=row[f"{name}_value"],
        site=row[f"{name}_site"],
        writer=row[f"{name}_writer"],
        at=row[f"{name}_at"],
    )


def _review(row: Mapping[str, Any]) -> Review | None:
    if row["review_id"] is None:
        return None
    return Review(
        id=row["review_id"],
        state=row["state"],
        shown=row["shown_value"],
        take=row["take"],
        value=row["taken"],
        decided_by=row["decided_by"],
        reason=row["reason"],
        decided_at=row["taken_at"],
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
    return asdict(conflict) | {"state": conflict.state}
