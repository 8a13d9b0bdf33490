"""Rows that stand in no table: parked at the centre, or set aside at this site.

What the centre could not apply is told by rows of the catalogue (``sync_parked``); what this store
could not show stands in ``_sync_aside``. Either is kept in full. Of a removal that was refused here
there is nothing to keep: its row stands in its table.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shared.errors import SyncError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

#: Rows that one list holds.
LISTED_MAX: Final = 1_000
#: Why a row stands aside here though nothing is left to do: what the site wrote on it, the centre
#: has in full, parked or in the history.
SPENT: Final = ("parked", "gone", "left")
#: What is still to be settled.
OPEN_STATES: Final = ("parked", "waiting", "unique", "refused", "too_large", "uncaptured")

_ROWS: Final = """
WITH found AS (
SELECT id, 'centre' AS place, table_name, row_id, op, state, reason, message, content, tx_id,
       parked_at, retried_at FROM sync_parked
UNION ALL
SELECT id, 'here', table_name, id, NULL, code, code, reason, content, NULL,
       strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch'), NULL FROM _sync_aside
)
SELECT * FROM found"""
_LISTED: Final = """
WHERE (:every OR state IN (SELECT value FROM json_each(:open)))
  AND (:table IS NULL OR table_name = :table) ORDER BY parked_at DESC, id LIMIT :limit"""
_NAMED: Final = """
WHERE substr(id, -length(:name)) = :name
ORDER BY state IN (SELECT value FROM json_each(:open)) DESC LIMIT 20"""


class UnknownTicket(SyncError):
    """No row is parked under this ticket; `mes-sync parked list --all` names them."""


_ASIDE: Final = "SELECT id, code FROM _sync_aside WHERE substr(id, -length(:name)) = :name"
_DISCARD: Final = """
DELETE FROM _sync_aside AS a WHERE (code IN (SELECT value FROM json_each(:spent))
        OR (code = 'too_large' AND content = '{}' AND :id IS NOT NULL)
        OR (code = 'uncaptured' AND :id IS NOT NULL))
    AND (:id IS NULL OR id = :id) AND at_ms < :before_ms
    AND NOT EXISTS (SELECT 1 FROM _sync_pending p JOIN _sync_table t ON t.no = p.table_no
                    WHERE t.name = a.table_name AND p.id = a.id)
RETURNING table_name, id, code"""


class NotSettled(SyncError):
    """The row is not to be discarded: something is still to happen with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """A row aside that was forgotten."""

    table: str
    row_id: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """One row that stands nowhere."""

    #: The ticket at the centre; of a row set aside here, its id.
    id: str
    #: "centre" or "here".
    place: str
    table: str
    row_id: str | None
    op: str | None
    #: parked, waiting, applied, discarded; or why it stands aside here.
    state: str
    reason: str
    message: str | None
    content: Mapping[str, Any] | None
    tx_id: str | None
    at: str | None
    retried_at: str | None


def read_parked(
    connection: sqlite3.Connection,
    *,
    every: bool = False,
    table: str | None = None,
    limit: int = LISTED_MAX,
) -> list[Parked]:
    """Return what is still to be settled, latest first; with ``every``, what was settled, too."""
    given = {
        "every": every,
        "open": json.dumps(OPEN_STATES),
        "table": table,
        "limit": min(limit, LISTED_MAX),
    }
    return [_parked(row) for row in connection.execute(_ROWS + _LISTED, given)]


def find_parked(connection: sqlite3.Connection, name: str) -> list[Parked]:
    """Return what is kept under this ticket, or one that ends so, what is to be settled first.

    Mostly it is one; a row may stand aside here for several reasons.
    """
    given = {"name": name, "open": json.dumps(OPEN_STATES)}
    found = [_parked(row) for row in connection.execute(_ROWS + _NAMED, given)]
    if not found:
        raise UnknownTicket(f"no ticket {name}; see `mes-sync parked list --all`")
    if len({each.id for each in found}) > 1:
        raise UnknownTicket(f"{name} names several tickets; give more of it")
    return found


def discard(connection: sqlite3.Connection, name: str, before_ms: int) -> list[Discarded]:
    """Forget what stands aside here of the row whose ticket ends so, set aside before that time.

    Inside a write transaction. Raises UnknownTicket, or NotSettled where the row still comes back,
    or the centre has still to decide on what the site wrote.
    """
    states: dict[str, list[str]] = {}
    for row_id, code in connection.execute(_ASIDE, {"name": name}):
        states.setdefault(row_id, []).append(code)
    if len(states) > 1:
        raise UnknownTicket(f"{name} names several tickets; give more of it")
    if not states:
        raise UnknownTicket(
            f"no row {name} stands aside here; what the centre parked is discarded there:"
            " `mes-central parked discard`"
        )
    ((row_id, codes),) = states.items()
    found = _discard(connection, row_id, before_ms)
    if not found:
        raise NotSettled(
            f"{row_id} is {', '.join(codes)}, and not settled yet: `mes-sync parked show {name}`"
            " tells what is in its way"
        )
    return found


def discard_old(connection: sqlite3.Connection, before_ms: int) -> list[Discarded]:
    """Forget all rows aside with which nothing is left to happen, set aside before that time."""
    return _discard(connection, None, before_ms)


def _discard(connection: sqlite3.Connection, row_id: str | None, before_ms: int) -> list[Discarded]:
    given = {"id": row_id, "before_ms": before_ms, "spent": json.dumps(SPENT)}
    rows = connection.execute(_DISCARD, given).fetchall()
    return [Discarded(table=table, row_id=id_, state=code) for table, id_, code in rows]


def _parked(row: tuple[Any, ...]) -> Parked:
    (id_, place, table, row_id, op, state, reason, message, content, tx_id, at, retried_at) = row
    return Parked(
        id=id_,
        place=place,
        table=table,
        row_id=row_id,
        op=op,
        state=state,
        reason=reason,
        message=message,
        content=json.loads(content) if content else None,
        tx_id=tx_id,
        at=at,
        retried_at=retried_at,
    )


def instant(ms: int) -> str:
    """Return milliseconds since 1970 as a canonical timestamp."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
