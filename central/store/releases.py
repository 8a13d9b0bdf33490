"""Signed releases: the rows that allow a lattice to go back, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from central.store.literals import array
from shared.catalog import Catalog, Kind, Policy, Table
from shared.changes import Op
from sync.policies import goes_back

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from central.store.applying import Applying
    from central.store.changeset import Rows
    from central.store.decision import Decision
    from shared.changes import Value

_SPEND: Final = b"""INSERT INTO sync.spent_release (release_id, tx_id)
    SELECT * FROM unnest(%(releases)s::uuid[], %(tx_ids)s::uuid[]) ON CONFLICT DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Release:
    """A row that allows one step back of one row."""

    id: str
    from_state: str
    to_state: str


def relaxing_tables(catalog: Catalog) -> frozenset[str]:
    """Return the tables whose rows are releases."""
    return frozenset(table.relax_by for table in catalog.tables if table.relax_by)


async def unspent(applying: Applying, rows: Rows) -> Mapping[str, list[Release]]:
    """Return the releases of the rows that no write has used, by row."""
    found: dict[str, list[Release]] = {}
    table = rows.table
    if not table.relax_by or rows.op is not Op.UPDATE:
        return found
    signed = applying.catalog.table(table.relax_by)
    (link,) = [column.name for column in signed.columns if column.references == table.name]
    statement = (
        f"SELECT r.{link}::text, r.id::text, r.from_state, r.to_state FROM mes.{signed.name} AS r"
        f" WHERE r.site_id = '{applying.site}' AND r.{link} = ANY(%(ids)s::uuid[]) AND NOT EXISTS"
        " (SELECT FROM sync.spent_release AS s WHERE s.release_id = r.id)"
        " ORDER BY r.created_at, r.id"
    )
    cursor = await applying.connection.execute(
        statement.encode(), {"ids": array(Kind.UUID, rows.ids)}
    )
    for row_id, *fields in await cursor.fetchall():
        found.setdefault(row_id, []).append(Release(*fields))
    return found


def relaxed(
    rows: Rows,
    row: int,
    values: Mapping[str, Value] | None,
    unspent: Mapping[str, Sequence[Release]],
) -> frozenset[str]:
    """Return the columns in which a release allows a row's step back."""
    some = unspent.get(rows.ids[row])
    if not some or values is None:
        return frozenset()
    steps = {(release.from_state, release.to_state) for release in some}
    return frozenset(
        column.name
        for column, new in zip(rows.columns, rows.new, strict=True)
        if _is_lattice(rows.table, column.name) and (values[column.name], new[row]) in steps
    )


async def spend(
    applying: Applying,
    rows: Rows,
    decisions: Sequence[Decision],
    unspent: Mapping[str, Sequence[Release]],
) -> None:
    """Note the releases that let a state go back, so that none does it twice."""
    used: list[tuple[str, str]] = []
    for decision in decisions:
        for column in decision.write.relaxed & decision.resolution.values.keys():
            assert decision.standing.values is not None
            before, after = decision.standing.values[column], decision.resolution.values[column]
            if goes_back(rows.table.column(column), before, after):
                release = next(
                    each
                    for each in unspent[rows.ids[decision.row]]
                    if (each.from_state, each.to_state) == (before, after)
                )
                used.append((release.id, decision.write.tx_id))
    if used:
        ids, tx_ids = zip(*used, strict=True)
        given = {"releases": array(Kind.UUID, ids), "tx_ids": array(Kind.UUID, tx_ids)}
        await applying.connection.execute(_SPEND, given)


def _is_lattice(table: Table, column: str) -> bool:
    return table.group_of(column).policy is Policy.LATTICE
