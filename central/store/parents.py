"""Which rows that others refer to are there: asked once, remembered within bounds."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from central.store.changeset import Reason, Refusal, Rows
from central.store.literals import array
from shared.catalog import Catalog, Kind, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from psycopg import AsyncConnection

    from shared.changes import Value

#: Ids remembered in each of two generations; some 20 MB.
REMEMBERED_MAX: Final = 200_000


class KnownIds:
    """Ids of rows that are there, by site and table; the oldest are forgotten first."""

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._max = remembered_max
        self._size = 0
        self._young: dict[tuple[str, str], set[str]] = {}
        self._old: dict[tuple[str, str], set[str]] = {}

    def missing(self, site: str, table: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that are not known to be there."""
        place = (site, table)
        return set(ids).difference(self._young.get(place, ()), self._old.get(place, ()))

    def add(self, site: str, table: str, ids: Iterable[str]) -> None:
        """Remember that these rows are there; to be called when they are committed."""
        young = self._young.setdefault((site, table), set())
        before = len(young)
        young.update(ids)
        self._size += len(young) - before
        if self._size > self._max:
            self._old, self._young, self._size = self._young, {}, 0


def parent_tables(catalog: Catalog) -> frozenset[str]:
    """Return the tables whose rows others wait for."""
    return frozenset(
        column.references
        for table in catalog.tables
        for column in table.columns
        if column.enforced and column.references is not None
    )


def wanted(pieces: Iterable[Rows]) -> dict[str, set[str]]:
    """Return the ids that the rows refer to and that must be there, by table."""
    ids: dict[str, set[str]] = defaultdict(set)
    for rows in pieces:
        for _, parent, values in _references(rows):
            ids[parent].update(set(values) - {None})  # type: ignore[arg-type]
    return ids


def orphans(rows: Rows, absent: Mapping[str, set[str]]) -> dict[int, Refusal]:
    """Return the rows that refer to one of the absent ids, each with the first of them."""
    found: dict[int, Refusal] = {}
    for column, parent, values in _references(rows):
        missing = absent.get(parent)
        if not missing or missing.isdisjoint(values):
            continue
        for row, value in enumerate(values):
            if value in missing and row not in found:
                message = f"{column} {value}: no such row of {parent} yet"
                found[row] = Refusal(
                    rows.source(row), Reason.PARENT_MISSING, message,
                    needs=str(value), needs_of=parent,
                )  # fmt: skip
    return found


def _references(rows: Rows) -> Iterator[tuple[str, str, list[Value]]]:
    """Give column, parent table and values of each reference that must be met."""
    for column, values in zip(rows.columns, rows.new, strict=True):
        if column.enforced and column.references is not None:
            yield column.name, column.references, values


async def there(
    connection: AsyncConnection[Any], table: Table, table_no: int, site: str, ids: Iterable[str]
) -> set[str]:
    """Return those of the ids that are rows of the site or shared ones; deleted ones count."""
    wanted = array(Kind.UUID, list(ids))
    if table.fact:
        # Facts have no head. The site by value, so that its partitions alone are planned for.
        statement = (
            f"SELECT id::text FROM mes.{table.name}"
            f" WHERE site_id = '{site}' AND id = ANY(%(ids)s::uuid[])"
        )
    else:
        statement = (
            "SELECT id::text FROM sync.head WHERE site_id IN (%(site)s, '*')"
            " AND table_no = %(table_no)s AND id = ANY(%(ids)s::uuid[])"
        )
    cursor = await connection.execute(
        statement.encode(), {"ids": wanted, "site": site, "table_no": table_no}
    )
    return {row[0] for row in await cursor.fetchall()}
