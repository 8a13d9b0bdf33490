"""Drains what programs committed: the logs and the new facts become one sync transaction.

In one write transaction, so that what is drained is gone from the logs exactly when it is in the
outbox, and so that no decision of the centre comes between a write and its ``base``.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge import capture
from edge.store import aside, position, watch
from edge.store.canon import to_one_form
from edge.store.early import Mark, facts_block, mark_of, move_mark, pages, reading_ahead, texts
from edge.store.ids import uuid7
from edge.store.open import lenient, writing
from edge.store.packing import Packer
from edge.store.touches import COUNTED, Change, Touches
from shared import clock
from shared.changes import ChangeBlock, Op, Value
from sync.protocol import transaction_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.store.early import Early
    from edge.store.open import Opened
    from edge.store.position import EdgePosition
    from shared.catalog import Table
    from shared.changes import Times


@dataclass(frozen=True, slots=True)
class Drained:
    """A sync transaction that went into the outbox."""

    n: int
    tx_id: str
    rows: int
    parts: int
    #: Size of its compressed bodies.
    bytes: int
    #: Those that were drained just before it.
    before: tuple[Drained, ...] = ()

    @property
    def all_rows(self) -> int:
        """Return the rows of all that was drained."""
        return self.rows + sum(each.rows for each in self.before)


def drain(opened: Opened, now_ms: int) -> Drained | None:
    """Move everything that programs committed into the outbox; None where there is nothing.

    Of many facts, those that stood before the lock was taken; the next drain takes the others.
    Either all of it is moved, or nothing. Cheap where there is nothing: no lock is taken.
    """
    if not waiting(opened) and watch.is_as_seen(opened):
        return None
    with (
        reading_ahead(opened, now_ms) as early,
        writing(opened.connection, meanwhile=early.read_on if early else None),
    ):
        return drain_within(opened, now_ms, early)


@contextmanager
def drained_first(opened: Opened, now_ms: int, tell: Callable[[Drained], object]) -> Iterator[None]:
    """Run the block in one write transaction in which all that programs committed is drained.

    So every write of theirs is based on what stood before the block, and the facts that the block
    brings lie above the marks. ``tell`` hears of what was drained once it is committed.
    """
    with (
        reading_ahead(opened, now_ms) if waiting(opened) else nullcontext() as early,
        writing(opened.connection, meanwhile=early.read_on if early else None),
    ):
        drained = drain_within(opened, now_ms, early, whole=True)
        yield
    if drained is not None:
        tell(drained)


def waiting(opened: Opened) -> list[str]:
    """Return the tables that hold changes which are not drained yet."""
    return [name for (name,) in opened.connection.execute(opened.look)]


def drain_within(
    opened: Opened, now_ms: int, early: Early | None = None, *, whole: bool = False
) -> Drained | None:
    """Do the same inside a write transaction that is open already; without ``early``, drain all.

    All of it where it is to be ``whole``, too. Texts that are no UTF-8 can't be read the usual way:
    then all is read again, and they travel as the bytes they are.
    """
    connection = opened.connection
    watch.look_again(opened, now_ms)
    connection.execute("SAVEPOINT drain")
    try:
        drained = _drain(opened, now_ms, early, whole=whole)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        connection.execute("ROLLBACK TO drain")
        with lenient(connection):
            drained = _drain(opened, now_ms, None, whole=True)
    connection.execute("RELEASE drain")
    return drained


def _drain(opened: Opened, now_ms: int, early: Early | None, *, whole: bool) -> Drained | None:
    at = position.read(opened.connection)
    if early is None or early.at != at or not early.settle():
        return _drain_rest(opened, at, now_ms)
    last, done = early.packers[-1], []
    for packer in early.packers:
        if packer is last and early.mixed:
            break
        done.append(record(opened, at, packer, now_ms))
        at = position.read(opened.connection)
    logs_wait = any(_has_log(opened, table) for table in _tables_waiting(opened))
    if not (whole or early.mixed or logs_wait):
        # Facts that came since are left to the next drain: what was read is whole by itself.
        return _with(done, None)
    rest = _drain_rest(opened, at, now_ms, last if early.mixed else None)
    return _with(done, rest)


def _with(done: list[Drained], rest: Drained | None) -> Drained:
    """Return the last of what was drained, with those before it."""
    *before, last = [*done, rest] if rest else done
    return replace(last, before=tuple(before))


def _drain_rest(
    opened: Opened, at: EdgePosition, now_ms: int, packer: Packer | None = None
) -> Drained | None:
    """Drain all that waits, with what is in the packer already."""
    opened.bounds.clear()  # they all lie before now
    if packer is not None:
        return _pack(opened, at, packer, now_ms)
    hlc = clock.tick(at.hlc, now_ms)
    with Packer(opened.catalog.version, hlc, at.offset_ms) as own:
        return _pack(opened, at, own, now_ms)


def _tables_waiting(opened: Opened) -> list[Table]:
    names = waiting(opened)
    return [table for table in opened.catalog.parents_first() if table.name in names]


def _has_log(opened: Opened, table: Table) -> bool:
    return capture.has_log(table, opened.forms[table.name])


def _pack(opened: Opened, at: EdgePosition, packer: Packer, now_ms: int) -> Drained | None:
    batch = _Batch(opened, at, packer)
    tables = _tables_waiting(opened)
    for table in tables:
        batch.take(table)
    for table in reversed(tables):
        batch.take_deletes(table)
    packer.flush()
    batch.tell(now_ms)
    batch.clear()
    return record(opened, at, packer, now_ms) if packer.digests else None


def record(opened: Opened, at: EdgePosition, packer: Packer, now_ms: int) -> Drained:
    """Put the parts into the outbox and move the chain along."""
    n, tx_id = at.last_n + 1, uuid7(now_ms, opened.chance)
    own = transaction_hash(at.last_hash, at.epoch, n, tx_id, packer.digests)
    parts = len(packer.digests)
    shared = (tx_id, at.last_hash, own, b"".join(packer.digests))
    opened.connection.executemany(
        "INSERT INTO _sync_out"
        " (epoch, n, part, parts, tx_id, previous, hash, digests, rows, made_at_ms, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (at.epoch, n, part, parts, *shared, rows, now_ms, body)
            for part, (rows, body) in enumerate(packer.bodies())
        ),
    )
    opened.connection.execute(
        "UPDATE _sync_site SET last_n = ?, last_hash = ?, hlc = ?", (n, own, packer.hlc)
    )
    return Drained(n, tx_id, packer.rows, parts, packer.size)


class _Batch:
    """What goes into one sync transaction, table by table."""

    def __init__(self, opened: Opened, at: EdgePosition, packer: Packer) -> None:
        self._opened = opened
        self._connection = opened.connection
        self._packer = packer
        self._n = at.last_n + 1
        self._epoch = at.epoch
        self._logged: dict[str, Touches] = {}
        self._deletes: set[str] = set()
        self._restarted: list[str] = []
        self._tx_ids: dict[int, str] = {}
        self._unsent = aside.unsent(opened.connection)

    def take(self, table: Table) -> None:
        """Take all changes of a table but deletions."""
        if not _has_log(self._opened, table):
            self._take_journal(table)
            return
        touches = self._logged[table.name] = Touches(self._opened, table, n=self._n)
        for page in touches.pages():
            kept = [change for change in page if change.decided.op is not Op.DELETE]
            if len(kept) < len(page):
                self._deletes.add(table.name)
            self._add(table, kept)

    def take_deletes(self, table: Table) -> None:
        """Take the deletions: after everything else, so that children go before their parents."""
        if table.name in self._deletes:
            for page in self._logged[table.name].pages():
                self._add(table, [c for c in page if c.decided.op is Op.DELETE])

    def clear(self) -> None:
        """Forget the logs: everything in them is taken."""
        aside.settle_unsent(self._connection, self._gone())
        for touches in self._logged.values():
            touches.clear()

    def tell(self, now_ms: int) -> None:
        """Tell the operator of rows that no message can carry, and of journals that began anew."""
        for name in self._restarted:
            message = f"{name}: its newest facts were deleted; all that are there are sent again"
            position.note(self._connection, "MES-JOURNAL-RESTARTED", message, now_ms)
        for block in self._packer.too_large:
            message = f"{block.table} {block.ids[0]} is too large for a message: it stays here only"
            position.note(self._connection, "MES-ROW-TOO-LARGE", message, now_ms)
            number = self._opened.numbers[block.table]
            self._connection.execute(
                "DELETE FROM _sync_pending WHERE table_no = ? AND id = ? AND n = ?",
                (number, block.ids[0], self._n),
            )
            aside.keep_unsent(self._connection, block, now_ms)

    def _gone(self) -> Iterator[tuple[str, str]]:
        """Yield the rows with writes that were never sent which the site has deleted."""
        for name, row_id in self._unsent:
            if name in self._logged and self._logged[name].deletes(row_id):
                yield name, row_id

    # --- facts ----------------------------------------------------------------------------

    def _take_journal(self, table: Table) -> None:
        """Take the facts above the mark, and move the mark above them."""
        mark = mark_of(self._connection, table)
        if mark is None:
            # What is there is sent once more: the centre knows it by its ids.
            self._restarted.append(table.name)
            mark = Mark(0, None)
        for page in pages(self._connection, table, mark.number):
            to_one_form(self._connection, table, page.columns(), page.numbers, capture.JOURNAL)
            mark = page.mark
            self._packer.add(page.block())
        move_mark(self._connection, table, mark)
        if self._unsent:
            aside.settle_dropped(self._connection, table.name)

    # --- rows that change -------------------------------------------------------------------

    def _add(self, table: Table, changes: list[Change]) -> None:
        groups: defaultdict[tuple[Op, int], list[Change]] = defaultdict(list)
        for change in changes:
            groups[change.decided].append(change)
        for (op, mask), group in groups.items():
            if table.fact:
                self._packer.add(_logged_facts(table, group))
                continue
            self._packer.add(self._block(table, op, mask, group))
            self._note_pending(table, op, mask, group)
            if self._unsent:
                self._settle(table, mask, group)

    def _settle(self, table: Table, mask: int, group: list[Change]) -> None:
        """Take what was never sent as sent, as far as these changes bring it."""
        sent = set(table.names_of(mask))
        for change in group:
            row = (table.name, change.touched.id)
            if row in self._unsent and not self._unsent[row].isdisjoint(sent):
                self._unsent[row] -= sent
                aside.settle_columns(self._connection, row, left=self._unsent[row])

    def _block(self, table: Table, op: Op, mask: int, group: list[Change]) -> ChangeBlock:
        places = [bit for bit in range(len(table.names)) if mask >> bit & 1]
        keys = [c.touched.key or ("", "") if c.live is None else c.live[:2] for c in group]
        return ChangeBlock(
            table.name,
            op,
            columns=tuple(table.names[place] for place in places),
            sites=texts(site for site, _ in keys),
            created=texts(created for _, created in keys),
            ids=[change.touched.id for change in group],
            at=[change.touched.at_ms for change in group],
            base=[change.base for change in group],
            after=[self._tx_id(change.after_n) for change in group],
            new=[[c.live[place + 2] for c in group if c.live is not None] for place in places],
            old=[[_old(c, place) for c in group] for place in places] if op is Op.UPDATE else [],
            times=_times(group, places) if any(change.times for change in group) else [],
        )

    def _tx_id(self, n: int | None) -> str | None:
        if n is None:
            return None
        if n not in self._tx_ids:
            found = self._connection.execute(
                "SELECT tx_id FROM _sync_out WHERE epoch = ? AND n = ?", (self._epoch, n)
            ).fetchone()
            self._tx_ids[n] = found[0]
        return self._tx_ids[n]

    def _note_pending(self, table: Table, op: Op, mask: int, group: list[Change]) -> None:
        number = self._opened.numbers[table.name]
        counted = [
            (place, column.name)
            for place, column in enumerate(table.columns)
            if column.policy in COUNTED and mask >> place & 1
        ]
        self._connection.executemany(
            "INSERT INTO _sync_pending (table_no, id, n, op, mask, deltas, base, steps)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    number,
                    change.touched.id,
                    self._n,
                    op.value,
                    mask,
                    _deltas(change, counted) if counted and op is Op.UPDATE else None,
                    # What stood under it: also where the site's own write before it is decided
                    # first, and its version comes down while this one is not.
                    self._tx_id(change.after_n) or change.base,
                    _steps(table, change) if change.steps else None,
                )
                for change in group
            ),
        )


def _logged_facts(table: Table, group: list[Change]) -> ChangeBlock:
    """Return the block of facts from a table that the plant made, which has no journal."""
    rows = [(c.touched.id, *c.live) for c in group if c.live is not None]
    ids, sites, created, *new = map(list, zip(*rows, strict=True))
    return facts_block(table, (sites, created, ids), new)


def _times(group: list[Change], places: list[int]) -> list[Times | None]:
    """Return the times of columns by masks of places in the block."""
    masks = {mask for change in group for mask, _ in change.times}
    in_block = {
        mask: sum(1 << at for at, place in enumerate(places) if mask >> place & 1) for mask in masks
    }
    return [
        tuple((in_block[mask], at_ms) for mask, at_ms in change.times) if change.times else None
        for change in group
    ]


def _old(change: Change, place: int) -> Value:
    """Return what the writer saw in a column: the live value where only who wrote goes along."""
    if change.touched.mask >> place & 1 or change.live is None:
        return change.touched.old[place]
    return change.live[place + 2]


def _steps(table: Table, change: Change) -> str:
    named = {table.names[bit]: some for bit, some in (change.steps or {}).items()}
    return json.dumps(named, default=repr)


def _deltas(change: Change, counted: list[tuple[int, str]]) -> str:
    """Return what a write added and took, as JSON: column -> [old, new]."""
    return json.dumps(
        {
            name: [_old(change, place), change.live[place + 2]]
            for place, name in counted
            if change.live is not None
        },
        default=repr,  # bytes where a text should be: the centre parks the row
    )
