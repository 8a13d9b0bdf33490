"""What two sides wrote at once, as a site's people read it.

Conflicts and reviews are rows of the catalogue (``sync_conflicts``, ``sync_reviews``), so a site
lists them from its own store, offline too. A conflict is named by its id, the id of its review, or
by the last characters of either.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.sql_text import quoted
from shared.catalog import from_json
from shared.errors import SyncError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from shared.catalog import Catalog
    from shared.changes import Value

#: Conflicts that one list holds.
LISTED_MAX: Final = 1_000
#: Characters by which people name a conflict.
SHORT: Final = 8
_NAME: Final = re.compile(r"[0-9a-f-]{4,36}")


class UnknownConflict(SyncError):
    """There is no such conflict; `mes-sync conflicts list --all` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one side wrote."""

    #: By column; empty where the side deleted the row, None where nobody knows.
    value: Mapping[str, Value] | None
    #: A site, or ``*`` for the centre.
    site: str | None
    writer: str | None
    #: Canonical timestamp.
    at: str | None


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
    decided_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One record of the history."""

    id: str
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
    tx_id: str | None
    decided_at: str | None
    review: Review | None
    #: What stands in the row now, all its columns; None where there is no row.
    stands: Mapping[str, Value] | None = None

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


# --- reading -------------------------------------------------------------------------------------

_SELECT: Final = """
SELECT c.id, c.table_name, c.row_id, c.column_group, c.policy, c.verdict, c.base_value,
       c.here_value, c.central_value, c.result_value, c.here_site, c.central_site, c.here_writer,
       c.central_writer, c.here_at, c.central_at, c.clock_clamped, c.tx_id, c.decided_at,
       r.id AS review_id, r.state, r.shown_value, r.take, r.value AS taken, r.decided_by, r.reason,
       r.decided_at AS taken_at
FROM sync_conflicts AS c LEFT JOIN sync_reviews AS r ON r.id = c.review_id"""
_LISTED: Final = """
WHERE (:table IS NULL OR c.table_name = :table) AND (:since IS NULL OR c.decided_at >= :since)
  AND (:state IS NULL OR :state = CASE WHEN r.id IS NULL THEN 'decided'
       WHEN r.state = 'OPEN' THEN 'open' ELSE 'resolved' END)
ORDER BY r.state IS 'OPEN' DESC, c.decided_at DESC, c.id LIMIT :limit"""
_NAMED: Final = """
WHERE substr(c.id, -length(:name)) = :name OR substr(c.review_id, -length(:name)) = :name
ORDER BY c.id LIMIT 3"""


def catalogue_of(connection: sqlite3.Connection) -> Catalog:
    """Return the catalogue that a store's tables stand at."""
    (content,) = connection.execute(
        "SELECT content FROM _sync_catalogue ORDER BY rowid DESC LIMIT 1"
    ).fetchone()
    return from_json(content)


def read_conflicts(
    connection: sqlite3.Connection,
    catalog: Catalog,
    *,
    state: str | None = None,
    table: str | None = None,
    since: str | None = None,
    limit: int = LISTED_MAX,
) -> list[Conflict]:
    """Return conflicts, those that wait for a person first, then the latest; None stands for any.

    ``since`` is a canonical timestamp.
    """
    given = {"state": state, "table": table, "since": since, "limit": min(limit, LISTED_MAX)}
    return _read(connection, catalog, _SELECT + _LISTED, given)


def find_conflict(connection: sqlite3.Connection, catalog: Catalog, name: str) -> Conflict:
    """Return the conflict of that name; raise UnknownConflict where there is none, or several."""
    if not _NAME.fullmatch(name):
        raise UnknownConflict(
            f"{name!r} names no conflict: give an id, or at least its last 4 characters"
        )
    found = _read(connection, catalog, _SELECT + _NAMED, {"name": name})
    if not found:
        raise UnknownConflict(f"no conflict {name}; see `mes-sync conflicts list --all`")
    if len(found) > 1:
        raise UnknownConflict(f"{name} names several: {', '.join(each.id for each in found)}")
    return found[0]


def _read(
    connection: sqlite3.Connection, catalog: Catalog, query: str, given: Mapping[str, Any]
) -> list[Conflict]:
    cursor = connection.execute(query, given)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return [_conflict(row, _standing(connection, catalog, row), catalog) for row in rows]


def _standing(
    connection: sqlite3.Connection, catalog: Catalog, row: Mapping[str, Any]
) -> Mapping[str, Value] | None:
    if row["table_name"] not in catalog:
        return None
    table = catalog.table(row["table_name"])
    columns = ", ".join(map(quoted, table.names))
    query = f"SELECT {columns} FROM {quoted(table.name)} WHERE id = ?"
    found = connection.execute(query, (row["row_id"],)).fetchone()
    return dict(zip(table.names, found, strict=True)) if found else None


def _conflict(
    row: Mapping[str, Any], stands: Mapping[str, Value] | None, catalog: Catalog
) -> Conflict:
    return Conflict(
        id=row["id"],
        table=row["table_name"],
        row_id=row["row_id"],
        key=_key(row, stands, catalog),
        group=row["column_group"],
        policy=row["policy"],
        verdict=row["verdict"],
        base=_object(row["base_value"]),
        here=_side(row, "here"),
        central=_side(row, "central"),
        result=_object(row["result_value"]),
        clock_clamped=bool(row["clock_clamped"]),
        tx_id=row["tx_id"],
        decided_at=row["decided_at"],
        review=_review(row),
        stands=stands,
    )


def _key(
    row: Mapping[str, Any], stands: Mapping[str, Value] | None, catalog: Catalog
) -> str | None:
    keys = catalog.table(row["table_name"]).natural_keys if stands is not None else ()
    return " ".join(str(stands[name]) for name in keys[0]) if stands and keys else None


def _object(text: str | None) -> Mapping[str, Value] | None:
    found = json.loads(text) if text else None
    return found if isinstance(found, dict) else None


def _side(row: Mapping[str, Any], name: str) -> Side:
    return Side(
        value=_object(row[f"{name}_value"]),
        site=row[f"{name}_site"],
        writer=row[f"{name}_writer"],
        at=row[f"{name}_at"],
    )


def _review(row: Mapping[str, Any]) -> Review | None:
    if row["review_id"] is None or row["state"] is None:
        return None
    return Review(
        id=row["review_id"],
        state=row["state"],
        shown=_object(row["shown_value"]),
        take=row["take"],
        value=_object(row["taken"]),
        decided_by=row["decided_by"],
        reason=row["reason"],
        decided_at=row["taken_at"],
    )
