"""A group of two-way rows that touch each row once: applied together, or what can be of it.

What can't be applied is found by trying: everything of the attempt is then undone, the rows to
blame are taken out with those that are tied to them, and the rest is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from central.store import parents
from central.store.applying import ROWS_AT_FAULT, Setback
from central.store.changeset import Reason, Refusal, Rows, joined
from central.store.conflicts import settle
from central.store.facts import told
from central.store.fixed import fixed
from central.store.literals import array
from central.store.overwrite import RowsMoved, key_refusal
from central.store.rows import KeyTaken, NotAsSeen, move, natural_keys
from central.store.ties import tied
from shared.catalog import Kind
from shared.changes import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from central.store.applying import Applying

#: Attempts that end in nothing new to learn: somebody else is at the same rows.
_IDLE_MAX: Final = 5

Key = tuple[str, str, str]


class _Undo(Setback):
    """Some rows of an attempt can't be applied."""

    def __init__(self, refused: list[Refusal]) -> None:
        super().__init__(f"{len(refused)} rows")
        self.refused = refused


@dataclass(slots=True)
class _Learned:
    """What the attempts so far have shown."""

    refused: list[Refusal]
    #: Rows that are to be decided one by one.
    looked_at: set[Key]
    idle: int = 0

    @property
    def gone(self) -> set[Key]:
        """Return the rows that are not tried again."""
        return {(each.source.origin.tx_id, *each.source.key) for each in self.refused}


async def apply_group(
    applying: Applying,
    pieces: Sequence[Rows],
    refused: Sequence[Refusal] = (),
    *,
    again: bool = False,
) -> list[Refusal]:
    """Apply the rows, and return those that are not, after those that are refused already.

    ``again`` as for ``conflicts.settle``.
    """
    learned = _Learned([*refused, *tied(refused, pieces, applying.catalog)], set())
    while True:
        todo, orphans = await part_orphans(applying, _without(pieces, learned.gone))
        found = await _attempt(applying, todo, learned.looked_at, again=again)
        if found is None:
            for rows in todo:
                applying.mark(rows.table, rows.created)
            return learned.refused + orphans
        news = found.looked_at - learned.looked_at
        learned.looked_at |= news
        if not (found.refused or news):
            learned.idle += 1
            if learned.idle >= _IDLE_MAX:
                raise RowsMoved("somebody else writes the same natural keys at this moment")
        known = learned.refused + found.refused
        learned.refused = known + tied(known, pieces, applying.catalog)


async def _attempt(
    applying: Applying, todo: Sequence[Rows], looked_at: set[Key], *, again: bool
) -> _Learned | None:
    """Apply the rows, or leave nothing behind and return what stands in the way."""
    try:
        async with applying.savepoint():
            _all_or_none(await _apply(applying, todo, looked_at, again=again))
    except _Undo as undo:
        return _Learned(undo.refused, set())
    except NotAsSeen as unseen:
        return _Learned([], set(_row_keys(unseen.rows)))
    except KeyTaken as clash:
        clashes = await _clashes(applying, clash.rows)
        # Where nobody else has any of the keys, the rows themselves have: let them be looked at.
        return _Learned(clashes, set() if clashes else set(_row_keys(clash.rows)))
    except ROWS_AT_FAULT:
        refused = await _one_by_one(applying, todo, again=again)
        return _Learned(refused, set()) if refused else None
    return None


def _all_or_none(refused: list[Refusal]) -> None:
    if refused:
        raise _Undo(refused)


def taken(pieces: Sequence[Rows], refused: Iterable[Refusal]) -> list[Rows]:
    """Return the rows that are not refused."""
    return _without(pieces, {(each.source.origin.tx_id, *each.source.key) for each in refused})


def _without(pieces: Sequence[Rows], gone: set[Key]) -> list[Rows]:
    if not gone:
        return [rows for rows in pieces if rows.ids]
    left = [
        rows.without(
            row
            for row, each in enumerate(rows.ids)
            # Not by ``tx_ids``: those of rows that come home are their versions.
            if (rows.source(row).origin.tx_id, rows.table.name, each) in gone
        )
        for rows in pieces
    ]
    return [rows for rows in left if rows.ids]


def in_order(pieces: Iterable[Rows]) -> list[Rows]:
    """Return deletions, children first, then updates, then insertions, parents first.

    What is let go of, a natural key above all, is so before it is taken.
    """
    places = {Op.DELETE: 0, Op.UPDATE: 1, Op.INSERT: 2}
    return sorted(
        pieces,
        key=lambda rows: (
            places[rows.op],
            -rows.table.order_rank if rows.op is Op.DELETE else rows.table.order_rank,
        ),
    )


async def _apply(
    applying: Applying, pieces: Sequence[Rows], looked_at: set[Key], *, again: bool
) -> list[Refusal]:
    refused: list[Refusal] = []
    for rows in in_order(pieces):
        slow = rows
        if not again:
            # A row that is made anew may build on a deletion that is parked.
            anew = applying.waiting and rows.op is Op.INSERT
            singled = [
                row
                for row, key in enumerate(_row_keys(rows))
                if key in looked_at or (anew and rows.after[row] is not None)
            ]
            slow = joined([rows.take(singled), await move(applying, rows.without(singled))])
        refused += await settle(applying, slow, again=again)
    return refused


def _row_keys(rows: Rows) -> Iterable[Key]:
    return zip(rows.tx_ids, [rows.table.name] * len(rows), rows.ids, strict=True)


async def _clashes(applying: Applying, rows: Rows) -> list[Refusal]:
    """Return the rows whose natural key another row holds, there or among themselves."""
    refused: dict[int, Refusal] = {}
    for keys in natural_keys(rows):
        given = {
            "site": applying.site,
            "table_no": applying.no(rows.table),
            "keys": array(Kind.TEXT, [key for key in keys if key is not None]),
        }
        cursor = await applying.connection.execute(fixed("read_keys"), given)
        holders = dict(await cursor.fetchall())
        for row, key in enumerate(keys):
            if key is not None and holders.setdefault(key, rows.ids[row]) != rows.ids[row]:
                refused.setdefault(row, key_refusal(rows, row, key))
    return list(refused.values())


async def _one_by_one(applying: Applying, pieces: Sequence[Rows], *, again: bool) -> list[Refusal]:
    """Apply each row by itself and return those that PostgreSQL refuses; none stays if any is."""
    refused: list[Refusal] = []
    try:
        async with applying.savepoint():
            for rows in in_order(pieces):
                for row in range(len(rows)):
                    refused += await _one(applying, rows.take([row]), again=again)
            _all_or_none(refused)
    except _Undo:
        return refused
    return []


async def _one(applying: Applying, rows: Rows, *, again: bool) -> list[Refusal]:
    try:
        async with applying.savepoint():
            _all_or_none(await settle(applying, rows, again=again))
    except _Undo as undo:
        return undo.refused
    except ROWS_AT_FAULT as why:
        return [Refusal(rows.source(0), Reason.DATABASE, told(why))]
    return []


# --- parents -----------------------------------------------------------------------------------


async def part_orphans(
    applying: Applying, pieces: Sequence[Rows]
) -> tuple[list[Rows], list[Refusal]]:
    """Part the rows whose parent is not there from the others; they wait for it."""
    wanted = parents.wanted(pieces)
    absent = {table: await _absent(applying, table, ids) for table, ids in wanted.items() if ids}
    orphans: list[Refusal] = []
    left: list[Rows] = []
    # Insertions first and parents first, so that a child of a child that waits waits as well.
    for rows in sorted(pieces, key=lambda r: (r.op is not Op.INSERT, r.table.order_rank)):
        waiting = parents.orphans(rows, absent)
        orphans += waiting.values()
        kept = rows.without(waiting)
        if rows.op is Op.INSERT and rows.table.name in absent:
            absent[rows.table.name] -= set(kept.ids)
        if kept.ids:
            left.append(kept)
    return left, orphans


async def _absent(applying: Applying, name: str, ids: set[str]) -> set[str]:
    """Return those of the ids that are no rows of the table yet."""
    missing = applying.not_brought(name, ids)
    if not missing:
        return set()
    table = applying.catalog.table(name)
    found = await parents.there(
        applying.connection, table, applying.no(table), applying.site, missing
    )
    applying.tally.learned[name] |= found
    return missing - found
