"""What two sides wrote at once, as a site's people read it.

Conflicts and reviews are rows of the catalogue (``sync_conflicts``, ``sync_reviews``), so a site
lists them from its own store, offline too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.sql_text import quoted
from shared.catalog import from_json
from shared.conflicts import Record, check_name, recorded, the_one

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from shared.catalog import Catalog
    from shared.changes import Value

#: Conflicts that one list holds.
LISTED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict(Record["str | None"]):
    """One record of the history; its instants are canonical timestamps."""

    #: What stands in the row now, all its columns; None where there is no row.
    stands: Mapping[str, Value] | None = None


# --- reading -------------------------------------------------------------------------------------

_SELECT: Final = """
SELECT c.id, c.table_name, c.row_id, c.column_group, c.policy, c.verdict, c.base_value,
       c.here_value, c.central_value, c.result_value, c.here_site, c.central_site, c.here_writer,
       c.central_writer, c.here_at, c.central_at, c.clock_clamped, c.tx_id, c.decided_at,
       r.id AS review_id, r.state, r.shown_value, r.take, r.value AS taken, r.decided_by, r.reason,
       r.decided_at AS taken_at
FROM sync_conflicts AS c LEFT JOIN sync_reviews AS r ON r.id = c.review_id"""
#: Columns of it that hold JSON.
_JSON: Final = (
    "base_value", "here_value", "central_value", "result_value", "shown_value", "taken",
)  # fmt: skip
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
    check_name(name)
    found = _read(connection, catalog, _SELECT + _NAMED, {"name": name})
    return the_one(found, name, command="mes-sync")


def _read(
    connection: sqlite3.Connection, catalog: Catalog, query: str, given: Mapping[str, Any]
) -> list[Conflict]:
    cursor = connection.execute(query, given)
    names = [column[0] for column in cursor.description]
    rows = [_decoded(dict(zip(names, row, strict=True))) for row in cursor]
    return [_conflict(row, _standing(connection, catalog, row), catalog) for row in rows]


def _decoded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**row, **{name: _object(row[name]) for name in _JSON}}


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
    return Conflict(key=_key(row, stands, catalog), stands=stands, **recorded(row))


def _key(
    row: Mapping[str, Any], stands: Mapping[str, Value] | None, catalog: Catalog
) -> str | None:
    keys = catalog.table(row["table_name"]).natural_keys if stands is not None else ()
    return " ".join(str(stands[name]) for name in keys[0]) if stands and keys else None


def _object(text: str | None) -> Mapping[str, Value] | None:
    found = json.loads(text) if text else None
    return found if isinstance(found, dict) else None
