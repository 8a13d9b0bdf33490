"""Reads a table's log page by page, with what stands behind each touched row.

The log is read in the order of ids, so that all touches of a row are together however many rows
were written; SQLite sorts it in a temporary file where it is long. They are folded as they are
read, so however often rows were touched, a page of them takes the same memory.
"""

from __future__ import annotations

import json
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from edge import capture
from edge.sql_text import of_row, quoted
from edge.store.canon import (
    Correction,
    as_instant,
    one_form,
    one_form_of_displaced,
    one_form_of_old,
    put,
    to_one_form,
)
from edge.store.fold import Decided, Touched, dated, decide, fold, steps, whole_groups
from edge.store.ids import as_text
from shared.catalog import CREATED_AT, Policy
from shared.changes import Op, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.store.lasts import Steps
    from edge.store.open import Opened
    from shared.catalog import Table
    from shared.changes import Times

#: Policies by which a write counts once for each time that it comes.
COUNTED: Final = (Policy.SUM, Policy.ADD_REMOVE_SET)
#: Rows that are read and folded at a time.
PAGE_ROWS: Final = 2_000
#: Steps of counted columns, about, that are held at a time: 15 MB.
_PAGE_STEPS: Final = 100_000


class Change(NamedTuple):
    """One row's change, ready to be put into a block."""

    decided: Decided
    touched: Touched
    #: site_id, created_at, then the business columns as they stand; None where the row is gone.
    live: list[Value] | None
    #: The centre's version that stood in the row before.
    base: str | None
    #: The site's own last transaction on the row that is not decided.
    after_n: int | None
    #: Columns of another time than the row, by masks.
    times: Times = ()
    #: Of columns that count each write, how they came to their values, by bits.
    steps: dict[int, Steps] | None = None


class Touches:
    """Reads the changes of one table that a batch holds."""

    def __init__(self, opened: Opened, table: Table, *, n: int) -> None:
        self._opened = opened
        self._connection = opened.connection
        self._table = table
        self._number = opened.numbers[table.name]
        self._form = opened.forms[table.name]
        self._n = n
        writer = table.writer_column
        self._writer_bit = None if writer is None else table.bit(writer.name)
        #: Masks seen, with their groups whole: a page has one or two of them.
        self._whole: dict[int, int] = {}
        self._groups = [table.mask(group.columns) for group in table.groups]
        #: Masks seen, parted by groups.
        self._parted: dict[int, list[int]] = {}
        #: Columns in which each write counts. The plant's own tables have logs in their own forms.
        counted = (c.name for c in table.columns if c.policy in COUNTED and not self._form.adopted)
        self._counted = table.mask(counted)

    def pages(self) -> Iterator[list[Change]]:
        """Yield the changes in pages; rows that did not change in the end are left out."""
        old = "".join(f", {quoted(f'o_{name}')}" for name in self._table.names)
        log = quoted(capture.log_name(self._table))
        touches = self._connection.execute(
            f"SELECT op, id, site_id, created_at, mask, at_ms{old} FROM {log} ORDER BY id, seq"
        )
        form = partial(one_form, self._table)
        rows = (fold(group, self._counted, form) for _, group in groupby(touches, itemgetter(1)))
        while page := _page(rows):
            yield self._changes(page)

    def clear(self) -> None:
        """Forget the log: everything in it is in the outbox."""
        self._connection.execute(f"DELETE FROM {quoted(capture.log_name(self._table))}")

    def deletes(self, row_id: str) -> bool:
        """Return whether the batch deletes a row."""
        query = (
            f"SELECT 1 FROM {quoted(capture.log_name(self._table))} WHERE op = 'D' AND id = ?1"
            f" AND NOT EXISTS (SELECT 1 FROM {quoted(self._table.name)} WHERE id = ?1) LIMIT 1"
        )
        return self._connection.execute(query, (row_id,)).fetchone() is not None

    def _changes(self, page: list[Touched]) -> list[Change]:
        page, odd = self._readable(page)
        ids = json.dumps([touched.id for touched in page])
        versions, pending = self._versions(ids), self._pending(ids)
        existed = {
            touched.id: pending[touched.id][1] != Op.DELETE
            if touched.id in pending
            else versions.get(touched.id, (None, True))[1] is False
            for touched in page
        }
        if self._form.adopted:
            page = [one_form_of_old(self._table, touched) for touched in page]
        needed = self._needed(page, existed)
        lives = self._lives(ids, needed) | odd
        self._keep_keys(page, lives, existed)
        self._to_one_form(lives, needed)
        if self._form.created_zone is not None:
            page = _dated(page, lives, self._form.created_zone)
        changes = []
        for touched in page:
            live = lives.get(touched.id)
            decided = decide(
                touched,
                None if live is None else live[2:],
                existed=existed[touched.id],
                writer_bit=self._writer_bit,
            )
            if decided is not None:
                if decided.op is Op.UPDATE:
                    decided = Decided(Op.UPDATE, self._with_groups(decided.mask))
                after_n = pending[touched.id][0] if touched.id in pending else None
                base, _ = versions.get(touched.id, (None, True))
                change = Change(decided, touched, live, base, after_n)
                changes.append(change if touched.lasts is None else self._dated(change))
        return changes

    def _dated(self, change: Change) -> Change:
        """Return a change, made by touches of several times, with the times of its columns."""
        (_, mask), touched, live, base, after_n, *_ = change
        if live is None:
            return change
        if mask not in self._parted:
            self._parted[mask] = [group & mask for group in self._groups if group & mask]
        if touched.key is not None:  # it was displaced or deleted in between
            touched = one_form_of_displaced(self._table, touched)
        counted = steps(touched, self._counted & mask)
        touched, times = dated(touched, live[2:], self._parted[mask])
        return Change(change.decided, touched, live, base, after_n, times, counted)

    def _needed(self, page: list[Touched], existed: dict[str, bool]) -> int:
        """Return the mask of the columns whose values a page of changes may hold."""
        mask = 0 if self._writer_bit is None else 1 << self._writer_bit
        for touched in page:
            if not existed[touched.id] or not touched.mask:
                return (1 << len(self._table.names)) - 1
            mask |= touched.mask
        return self._with_groups(mask)

    def _with_groups(self, mask: int) -> int:
        if mask not in self._whole:
            self._whole[mask] = whole_groups(self._table, mask)
        return self._whole[mask]

    def _readable(self, page: list[Touched]) -> tuple[list[Touched], dict[str, list[Value]]]:
        """Give rows whose id is no UTF-8 one that is, each its own, and return them as they stand.

        The centre can't take such a row, and parks it under that id.
        """
        names = ", ".join(map(of_row, ("site_id", "created_at", *self._table.names)))
        query = f"SELECT {names} FROM {quoted(self._table.name)} d WHERE id = CAST(? AS TEXT)"
        odd: dict[str, list[Value]] = {}
        readable = []
        for touched in page:
            raw: str | bytes = touched.id
            if isinstance(raw, bytes):
                row_id = as_text(raw)
                if row := self._connection.execute(query, (raw,)).fetchone():
                    odd[row_id] = list(row)
                readable.append(touched._replace(id=row_id))
            else:
                readable.append(touched)
        return readable, odd

    def _lives(self, ids: str, needed: int) -> dict[str, list[Value]]:
        """Return the rows that stand; columns that are not needed are null in them."""
        columns = "".join(
            f", {of_row(name)}" if needed >> bit & 1 else ", NULL"
            for bit, name in enumerate(self._table.names)
        )
        rows = self._connection.execute(
            f"SELECT id, site_id, created_at{columns} FROM {quoted(self._table.name)} d"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (ids,),
        )
        return {row[0]: list(row[1:]) for row in rows}

    def _versions(self, ids: str) -> dict[str, tuple[str, bool]]:
        """Return the centre's version of each row, and whether it is that of a deletion."""
        rows = self._connection.execute(
            "SELECT id, version, gone FROM _sync_row"
            " WHERE table_no = ? AND id IN (SELECT value FROM json_each(?))",
            (self._number, ids),
        )
        return {row_id: (version, bool(gone)) for row_id, version, gone in rows}

    def _pending(self, ids: str) -> dict[str, tuple[int, str]]:
        """Return the site's last undecided write on each row: n and operation."""
        rows = self._connection.execute(
            "SELECT id, n, op FROM _sync_pending WHERE table_no = ? AND n < ?"
            " AND id IN (SELECT value FROM json_each(?)) ORDER BY n",
            (self._number, self._n, ids),
        )
        return {row_id: (n, op) for row_id, n, op in rows}

    def _keep_keys(
        self, page: list[Touched], lives: dict[str, list[Value]], existed: dict[str, bool]
    ) -> None:
        """Put back the created_at of rows that were deleted and inserted again under their id.

        It is part of a row's key at the centre and never changes; a REPLACE that does not name it
        would give the row the time of now.
        """
        for touched in page:
            live = lives.get(touched.id)
            if touched.key is None or live is None or not existed[touched.id]:
                continue
            if live[1] != touched.key[1]:
                live[1] = touched.key[1]
                # Where a trigger of the plant's refuses it the row keeps its new date, which the
                # next compare finds; what is sent has the old one.
                keep = Correction((CREATED_AT.name,), [0], [(live[1], touched.id)])
                put(self._connection, self._table, keep, "id")

    def _to_one_form(self, lives: dict[str, list[Value]], needed: int) -> None:
        columns: list[list[Value]] = [list(column) for column in zip(*lives.values(), strict=True)]
        if not columns:
            return
        named = {CREATED_AT: columns[1]} if self._form.created_zone is None else {}
        for bit, column in enumerate(self._table.columns):
            if needed >> bit & 1:
                named[column] = columns[bit + 2]
        if to_one_form(self._connection, self._table, named, list(lives), "id"):
            for row, values in zip(lives.values(), zip(*columns, strict=True), strict=True):
                row[:] = values


def _page(rows: Iterator[Touched]) -> list[Touched]:
    """Take the next rows: fewer where many steps are to be kept with them."""
    page: list[Touched] = []
    held = 0
    for touched in rows:
        page.append(touched)
        if touched.lasts is not None and touched.lasts.steps:
            held += sum(map(len, touched.lasts.steps.values()))
        if len(page) == PAGE_ROWS or held >= _PAGE_STEPS:
            break
    return page


def _dated(page: list[Touched], lives: dict[str, list[Value]], zone: str) -> list[Touched]:
    """Read a created_at of the plant's own as an instant, in the rows and in what was deleted."""
    for live in lives.values():
        live[1] = as_instant(live[1], zone)
    return [
        touched._replace(key=(touched.key[0], as_instant(touched.key[1], zone)))
        if touched.key
        else touched
        for touched in page
    ]
