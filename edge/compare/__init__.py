"""Compares a store with the centre's share of its site, and repairs the rows that differ.

The site leads: bucket sums of whole tables, then hashes of the rows in buckets that differ, then
the rows themselves, looked at until it is sure that they are not just on their way. So both ends go
on writing meanwhile, and a store that is equal costs some kilobytes. Only rows that were looked at
are repaired, and by the ways that all rows go; a table is never taken anew.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from edge.compare.centre import Centre
from edge.compare.confirm import apart, confirm
from edge.compare.mend import repair, settled
from edge.compare.scope import Scope
from edge.compare.told import what_was_told
from edge.differences import Difference, Report, TableReport, cause_of, document
from edge.lanes import StoreThread, now_ms
from edge.store import watch
from edge.store.compare import Looker
from edge.store.mend import keep_report
from shared.errors import Transient, UnknownTable
from shared.sums import MINUTE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.compare.mend import Write
    from edge.differences import Judged
    from edge.store.open import Opened
    from edge.store.position import EdgePosition
    from shared.catalog import Table
    from shared.changes import Value
    from sync.transport import Link

__all__ = ["CantCompare", "Order", "compare"]

#: Facts that are younger lie in buckets of a minute each.
_FRESH: Final = timedelta(hours=2)


class CantCompare(Transient):
    """The store can't be compared as it stands; try again when that has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be compared."""

    #: Id of the comparison.
    run: str
    #: Tables by name; all where none is named.
    tables: tuple[str, ...] = ()
    repair: bool = False
    #: Share of the time that is left to others.
    rest: float = 0.0
    #: How long to wait, in all, for what is on its way; and again for what is being repaired.
    patience_s: float = 60.0


async def compare(opened: Opened, link: Link, order: Order, write: Write) -> Report:
    """Compare, and repair where that is ordered; keep what came of it at both ends.

    ``write`` runs what writes the store. Raises CantCompare where a snapshot is being loaded, and
    what the link raises; whatever was repaired until then stays repaired.
    """
    thread, began = StoreThread("compare"), time.monotonic()
    losses = await write(watch.losses, opened.connection)
    looker = await thread.run(Looker, opened, rest=order.rest)
    try:
        at = await thread.run(looker.position)
        _check(at)
        centre = Centre(link, at.site, order.patience_s)
        report = Report(order.run, at.site, now_ms(), whole=not order.tables)
        found = []
        for table in await _begin(centre, opened, order, report):
            scope = await _scope(table, centre, looker, thread, report)
            if scope is not None:
                found.append((scope, await _differing(scope)))
        centre.patience_s = order.patience_s
        # All of it is compared before the first row is repaired: repairs move the feeds.
        began_at = _instant(report.began_ms)
        done = [
            await repair(scope, rows, began_at, opened, write) if order.repair else {}
            for scope, rows in found
        ]
        for (scope, rows), actions in zip(found, done, strict=True):
            await _tell(scope, rows, actions, report)
    finally:
        await thread.run(looker.close)
        thread.close()
    report.took_ms = int((time.monotonic() - began) * 1000)
    report.sent_bytes, report.received_bytes = centre.sent_bytes, centre.received_bytes
    told = document(report)
    await write(keep_report, opened.connection, told, losses, now_ms())
    await centre.done(order.run, told)
    return report


def _check(at: EdgePosition) -> None:
    if at.needs_snapshot:
        raise CantCompare("the store is loading the centre's state; compare it when it has it all")
    if at.stopped_because is not None:
        raise CantCompare(f"the agent has stopped: {at.stopped_because}")


async def _begin(centre: Centre, opened: Opened, order: Order, report: Report) -> Iterable[Table]:
    """Return the tables to compare; those that only one end has are told in the report."""
    catalog = opened.catalog
    absent = await centre.begin(catalog.tables)
    if unknown := [name for name in order.tables if name not in catalog and name not in absent]:
        raise UnknownTable(f"neither end has a table {', '.join(unknown)}; see `mes-sync tables`")
    report.tables += [
        TableReport(name, skipped="this store's catalogue has no such table yet")
        for name in absent
        if not order.tables or name in order.tables
    ]
    return [
        table for table in catalog.parents_first() if not order.tables or table.name in order.tables
    ]


async def _scope(
    table: Table, centre: Centre, looker: Looker, thread: StoreThread, report: Report
) -> Scope | None:
    """Return the table as both ends have it; None where only this one does."""
    found = TableReport(table.name)
    report.tables.append(found)
    there = centre.columns.get(table.name)
    if there is None:
        found.skipped = "the centre's catalogue has no such table yet"
        report.whole = False
        return None
    pairs = list(zip(table.columns, there, strict=True))
    found.unknown = tuple(column.name for column, name in pairs if name is None)
    fresh = datetime.fromtimestamp(report.began_ms / 1000, UTC) - _FRESH
    return Scope(
        table=table,
        columns=tuple(column for column, name in pairs if name is not None),
        report=found,
        centre=centre,
        looker=looker,
        run=thread.run,
        minutes_from=fresh.isoformat()[:MINUTE_CHARACTERS],
        kept_from=await thread.run(looker.kept_from, table) if table.fact else "",
    )


async def _differing(scope: Scope) -> dict[str, Judged]:
    """Return the rows of a table that differ; count those, and the others that are not the same."""
    await scope.narrow()
    judged = await confirm(scope, list(scope.candidates))
    for each in judged.values():
        scope.report.count(each.state)
    return {row_id: each for row_id, each in judged.items() if each.state.is_difference}


async def _tell(
    scope: Scope, rows: Mapping[str, Judged], done: Mapping[str, str], report: Report
) -> None:
    """Wait for what is being repaired, and put the rows into the report."""
    if done:
        scope.report.repaired = await settled(scope, done)
    told = await what_was_told(scope, rows)
    for row_id, each in rows.items():
        report.add(_difference(scope, each, told.get(row_id, {}), done.get(row_id, "")))


def _difference(scope: Scope, each: Judged, told: Mapping[str, Value], action: str) -> Difference:
    columns = apart(scope, each)
    cause = cause_of(each, columns, told)
    return Difference(
        table=scope.table.name,
        id=each.there.id,
        name=_name(scope, each),
        state=each.state.value,
        cause=cause.value if cause else None,
        columns=columns,
        repair=action,
    )


def _name(scope: Scope, each: Judged) -> str:
    """Return the row's natural key, as people know it."""
    keys = scope.table.natural_keys
    values = each.there.values if each.there.values is not None else each.here.values
    if not keys or values is None:
        return ""
    named = dict(zip((column.name for column in scope.columns), values, strict=True))
    return " ".join(str(named[name]) for name in keys[0] if name in named)


def _instant(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='milliseconds')}Z"
