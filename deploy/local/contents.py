"""What a table holds at each end, in a form in which equal contents compare equal.

A row is its canonical values in the catalogue's order; its hash is independent of where it stands,
and the digest of a table is the sum of its rows' hashes, so no order has to be agreed upon.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.canonical import column_expressions, key_expressions, sites_of
from edge.store.open import lenient
from shared.catalog import COMMON, Table
from shared.changes import SHARED
from shared.values import canonical_column

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg

    from shared.catalog import Catalog
    from shared.changes import Value

_SUM_BITS: Final = 64
#: Rows that differ and are named in a message.
NAMED_MAX: Final = 3
KEYS: Final = ("site_id", "created_at", "id")


@dataclass(frozen=True, slots=True)
class Content:
    """A table's content at one end: how many rows, and the order-free sum of their hashes."""

    rows: int
    digest: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table as it stands at a site and, in the site's share, at the centre."""

    table: str
    site: str
    edge: Content
    centre: Content
    #: A few rows that are not the same, by their ids.
    differing: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Tell whether both ends hold the same rows with the same values."""
        return self.edge == self.centre


def row_hash(row: Sequence[Value]) -> int:
    """Return the hash of a row of canonical values; 1, '1' and null are three different things."""
    return int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest()[:8], "big")


def content(hashes: Mapping[str, int]) -> Content:
    """Return the content of rows given by id and hash."""
    return Content(len(hashes), sum(hashes.values()) % (1 << _SUM_BITS))


def compare(
    table: str, site: str, edge: Mapping[str, int], centre: Mapping[str, int]
) -> Comparison:
    """Return what both ends hold, and a few rows in which they differ."""
    differing = sorted(
        key for key in edge.keys() | centre.keys() if edge.get(key) != centre.get(key)
    )
    return Comparison(table, site, content(edge), content(centre), tuple(differing[:NAMED_MAX]))


def edge_rows(connection: sqlite3.Connection, table: Table) -> dict[str, int]:
    """Return id and hash of a store's rows of a table."""
    names = [*KEYS, *table.names]
    listed = ", ".join(f'"{name}"' for name in names)
    with lenient(connection):  # a text that is no UTF-8 stays at the site, and is parked
        rows = connection.execute(f'SELECT {listed} FROM "{table.name}"').fetchall()
    columns = {column.name: column for column in (*COMMON, *table.columns)}
    forms = []
    for name, values in zip(names, zip(*rows, strict=True), strict=True) if rows else ():
        values_of_column, problems = canonical_column(columns[name], values)
        # What no form has can't be equal to anything at the centre: it is hashed as it stands.
        for place, _ in problems:
            values_of_column[place] = f"not valid: {values[place]!r}"
        forms.append(values_of_column)
    return _hashed(zip(*forms, strict=True))


def central_rows(connection: psycopg.Connection[Any], table: Table, site: str) -> dict[str, int]:
    """Return id and hash of the centre's rows of a table that are in the site's share."""
    query = (
        f"SELECT {key_expressions()}, {column_expressions(table.columns)} FROM mes.{table.name} t"
    )
    if not table.is_of_several:
        query += (
            " WHERE t.site_id IN (%(site)s)"
            if table.fact
            else " WHERE t.site_id IN (%(site)s, '*')"
        )
    rows = connection.execute(query.encode(), {"site": site})
    mine = {site, SHARED}
    return _hashed(row for row in rows if mine & sites_of(table, row[3:], row[0]))


def _hashed(rows: Iterable[Sequence[Any]]) -> dict[str, int]:
    return {row[2]: row_hash(row) for row in rows}


def compare_site(
    store: sqlite3.Connection, centre: psycopg.Connection[Any], catalog: Catalog, site: str
) -> list[Comparison]:
    """Compare every table of a site's store with the site's share at the centre."""
    return [
        compare(table.name, site, edge_rows(store, table), central_rows(centre, table, site))
        for table in catalog.tables
    ]
