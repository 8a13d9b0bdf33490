"""What a copy of a store held in its logs, and its lost life has sent since: it is not sent again.

All that the logs held is in the first transaction beyond the fork that brings changes: a drain
takes the logs whole. The centre tells which rows of it the lost life has written first, and when
that touched them. A column that was touched at the same millisecond was sent; facts may stay, since
the centre knows them by their ids. Bodies are frozen, so all of this is read and packed without
holding the store, part by part; only what it comes to goes in with the new epoch.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edge.store import position
from edge.store.asked import ASKED_MAX, First, body_of
from edge.store.neighbours import Neighbours
from edge.store.packing import Packer
from edge.store.puts import look_again
from edge.store.touches import COUNTED
from shared.changes import GENESIS, Op
from sync import codec
from sync.handshake import ANY_DRAIN, SentBefore, read_epochs, read_sent_before

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge.store.lasts import Steps
    from edge.store.open import Opened
    from shared.catalog import Table
    from shared.changes import ChangeBlock, PartBody, Value

#: Rows that are named one by one where they had been sent before.
_SAMPLES_MAX = 100
_NO_VERSION = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class TakenOut:
    """The first transaction without what had been sent before; a context, which drops its file."""

    first: First
    #: What is left; None where nothing had been sent before.
    packer: Packer | None = None
    #: What had been sent: it is kept until a snapshot shows it (``edge.store.taken``).
    out: Packer | None = None
    #: Rows that were taken out, wholly or in part, by table.
    rows: dict[str, int] = field(default_factory=dict)
    #: The first of them with what was taken out, for people.
    samples: list[str] = field(default_factory=list)
    _closing: ExitStack = field(default_factory=ExitStack)
    _rows: tuple[Neighbours, Neighbours] | None = None

    def close(self) -> None:
        """Drop the bodies."""
        self._closing.close()

    def pack(self, like: PartBody) -> tuple[Neighbours, Neighbours]:
        """Return what takes the blocks that are left, and those that are taken out."""
        if self._rows is None:
            packers = [Packer(like.schema, like.hlc, like.offset_ms) for _ in range(2)]
            self.packer, self.out = map(self._closing.enter_context, packers)
            self._rows = Neighbours(self.packer.add), Neighbours(self.out.add)
        return self._rows

    def flush(self) -> None:
        """Make parts of what waits."""
        for rows, packer in zip(self._rows or (), (self.packer, self.out), strict=False):
            rows.flush()
            if packer is not None:
                packer.flush()

    def note(self, one: ChangeBlock, left: ChangeBlock | None) -> None:
        """Keep for people what is taken out."""
        self.rows[one.table] = self.rows.get(one.table, 0) + 1
        if len(self.samples) < _SAMPLES_MAX:
            out = {c: v[0] for c, v in zip(one.columns, one.new, strict=False)}
            if left is not None:  # of a sum of which some is left, up to where it was sent
                before = dict(zip(one.columns, one.old, strict=False))
                parts = zip(left.columns, left.old, strict=True)
                some = {c: v[0] for c, v in parts if v not in (before.get(c), [None])}
                out = {c: v for c, v in out.items() if c not in left.columns} | some
            self.samples.append(f"{one.op.value} {one.table} {one.ids[0]}: {out}")


# --- what is told -------------------------------------------------------------------------------


def earliest(known: int, answer: bytes) -> int:
    """Return the earliest drain of those known and those that an answer tells of; 0 for none."""
    told = {each.hlc for each, _ in _read(answer)} - {ANY_DRAIN}
    return min({known, *told} - {ANY_DRAIN}, default=ANY_DRAIN)


def _first_of_each(answers: Iterable[bytes]) -> set[int]:
    """Return the earliest drain of each closed epoch of which all these answers tell."""
    first: dict[str, int] = {}
    for answer in answers:
        for each, epoch in _read(answer):
            if epoch is not None:
                first[epoch] = min(first.get(epoch, each.hlc), each.hlc)
    return set(first.values())


def _read(answer: bytes) -> Iterator[tuple[SentBefore, str | None]]:
    said = codec.decode_control(answer)
    touches = read_sent_before(said.get("rows"))
    return zip(touches, read_epochs(said.get("epochs"), len(touches)), strict=True)


# --- what is taken out ---------------------------------------------------------------------------


def take_out(opened: Opened, first: First, answers: Iterable[bytes], hlc: int) -> TakenOut:
    """Return the transaction without what had been sent before.

    ``answers`` are those to the questions in their order. Of what they tell only the drain ``hlc``
    counts, which was the first of any lost life, and the first of each epoch: nothing of any later
    one was in the logs of a copy of the life in it.
    """
    taken = TakenOut(first)
    try:
        _take_out(opened, taken, told(answers, hlc))
    except BaseException:
        taken.close()
        raise
    if not taken.rows:
        taken.packer = taken.out = None
    return taken


def told(answers: Iterable[bytes], hlc: int) -> Iterator[Mapping[int, list[SentBefore]]]:
    """Give what each answer tells, by the place of the row in its question."""
    answers = tuple(answers)
    drains = {ANY_DRAIN, hlc, *_first_of_each(answers)}
    for answer in answers:
        by_place: dict[int, list[SentBefore]] = {}
        for each, _ in _read(answer):
            if each.hlc in drains:
                by_place.setdefault(each.place, []).append(each)
        yield by_place


def _take_out(
    opened: Opened, taken: TakenOut, told: Iterator[Mapping[int, list[SentBefore]]]
) -> None:
    connection, first = opened.connection, taken.first
    connection.execute("DROP TABLE IF EXISTS temp.sent_before")
    connection.execute(
        "CREATE TEMP TABLE sent_before (table_no INTEGER, id TEXT, op TEXT, mask INTEGER,"
        " deltas TEXT, PRIMARY KEY (table_no, id)) WITHOUT ROWID"
    )
    epoch = position.read(connection).epoch
    for part in range(first.parts):
        body = body_of(opened, epoch, first.n, part)
        (kept, out), asked = taken.pack(body), ASKED_MAX
        sent: Mapping[int, list[SentBefore]] = {}
        for block in body.blocks:
            start = 0  # of the rows before which all is dealt with
            for row in range(len(block) if block.at else 0):
                if asked == ASKED_MAX:
                    asked, sent = 0, next(told, {})
                one, asked = block.part(slice(row, row + 1)), asked + 1
                left = _left(opened, first.n, one, sent.get(asked - 1, ()))
                if left is not one:
                    kept.add(block.part(slice(start, row)))
                    kept.add(left)
                    out.add(out_of(opened.catalog.table(one.table), one, left))
                    start = row + 1
                    taken.note(one, left)
                    _remember(opened, one, left)
            kept.add(block.part(slice(start, None)))
    taken.flush()


def _left(
    opened: Opened, n: int, one: ChangeBlock, sent: Sequence[SentBefore]
) -> ChangeBlock | None:
    row = None
    if sent:
        row = opened.connection.execute(
            "SELECT steps FROM _sync_pending WHERE table_no = ? AND id = ? AND n = ?",
            (opened.numbers[one.table], one.ids[0], n),
        ).fetchone()
    steps = json.loads(row[0]) if row and row[0] else None
    return left_of(opened.catalog.table(one.table), one, sent, steps)


def _remember(opened: Opened, one: ChangeBlock, left: ChangeBlock | None) -> None:
    """Note for the end what is left of an undecided write."""
    kept: tuple[Any, ...] = (None, None, None)
    if left is not None:
        table = opened.catalog.table(one.table)
        counted = {
            name: [old[0], new[0]]
            for name, old, new in zip(left.columns, left.old, left.new, strict=True)
            if table.column(name).policy in COUNTED
        }
        deltas = json.dumps(counted, default=repr) if counted else None
        kept = (left.op.value, table.mask(left.columns), deltas)
    opened.connection.execute(
        "INSERT OR REPLACE INTO temp.sent_before VALUES (?, ?, ?, ?, ?)",
        (opened.numbers[one.table], one.ids[0], *kept),
    )


def left_of(
    table: Table, one: ChangeBlock, sent: Sequence[SentBefore],
    steps: Mapping[str, Steps] | None = None,
) -> ChangeBlock | None:  # fmt: skip
    """Return what of a row had not been sent before; itself where nothing had, None where all.

    Of an earlier touch than the lost life's last one in a column nobody can tell whether that life
    had made it, too. If not, it is a write like any other, and in conflict; but where it would
    count twice, or it is not known when that life touched the column, it is held for sent. Of a row
    that both made the rest is an update. ``steps`` tell how sums and sets came to their values.
    """
    if not sent:
        return one
    times = dict.fromkeys(range(len(one.columns)), one.at[0])
    for mask, at_ms in (one.times[0] if one.times else None) or ():
        times |= {place: at_ms for place in times if mask >> place & 1}
    kept = [place for place, at_ms in times.items() if not _is_sent(table, one, place, at_ms, sent)]
    if one.op is Op.DELETE:
        gone = any(_covers(each, one.at[0], counts=False) for each in sent)
        return None if gone else one
    writer = table.writer_column
    if all(writer is not None and one.columns[place] == writer.name for place in kept):
        return None
    old = _not_sent(table, one, kept, sent, steps or {})
    if old is None or (len(kept) == len(one.columns) and old == one.old):
        return one
    return only(replace(one, op=Op.UPDATE, old=old), kept)


def out_of(table: Table, one: ChangeBlock, left: ChangeBlock | None) -> ChangeBlock:
    """Return a row without what is left of it: so it had been sent.

    A row that was made is made with all that does not count twice.
    """
    if left is None:
        return one
    rest = dict(zip(left.columns, left.old, strict=True))
    new, kept = list(one.new), []
    for place, name in enumerate(one.columns):
        counts = table.column(name).policy in COUNTED
        if (
            name in rest
            and counts
            and rest[name] != [None]
            and rest[name] not in one.old[place : place + 1]
        ):
            new[place] = rest[name]
            kept.append(place)
        elif name not in rest or (one.op is Op.INSERT and not counts):
            kept.append(place)
    return only(replace(one, new=new), kept)


def _not_sent(
    table: Table, one: ChangeBlock, kept: Sequence[int], sent: Sequence[SentBefore],
    steps: Mapping[str, Steps],
) -> list[list[Value]] | None:  # fmt: skip
    """Return what stood before that of a row which is left; None where nobody can tell.

    In most columns that is what its writer saw; of a row that was made it saw nothing. Sums and
    sets are taken apart where the last touch was made that is held for sent.
    """
    nothing: list[list[Value]] = [[None] for _ in one.columns]
    old = list(one.old) if one.op is Op.UPDATE else nothing
    for place in kept:
        name = one.columns[place]
        until = [each.at_ms for each in sent if each.mask >> table.bit(name) & 1]
        if table.column(name).policy not in COUNTED or not until:
            continue
        later = [before for at_ms, before in steps.get(name, ()) if at_ms > max(until)]
        if one.op is Op.INSERT and not later:
            return None
        if one.op is Op.INSERT or 0 < len(later) < len(steps.get(name, ())):
            old[place] = [later[0]]
    return old


def _is_sent(
    table: Table, one: ChangeBlock, place: int, at_ms: int, sent: Sequence[SentBefore]
) -> bool:
    name = one.columns[place]
    bit, counts = table.bit(name), table.column(name).policy in COUNTED
    return any(each.mask >> bit & 1 and _covers(each, at_ms, counts=counts) for each in sent)


def _covers(sent: SentBefore, at_ms: int, *, counts: bool) -> bool:
    if sent.is_exact and not counts:
        return at_ms == sent.at_ms
    return at_ms <= sent.at_ms


def only(one: ChangeBlock, kept: Sequence[int]) -> ChangeBlock:
    """Return a row with some of its columns."""
    times = [
        (sum(1 << at for at, place in enumerate(kept) if mask >> place & 1), at_ms)
        for mask, at_ms in (one.times[0] if one.times else None) or ()
    ]
    left = tuple(each for each in times if each[0])
    return replace(
        one,
        columns=tuple(one.columns[place] for place in kept),
        new=[one.new[place] for place in kept],
        old=[one.old[place] for place in kept] if one.old else [],
        times=[left] if left else [],
    )


# --- with the new epoch --------------------------------------------------------------------------


def put_in_place(connection: sqlite3.Connection, epoch: str, taken: TakenOut) -> None:
    """Put what is left in the transaction's place; one that has nothing left is taken away.

    Inside a transaction, before the epoch ends.
    """
    n, packer = taken.first.n, taken.packer
    if packer is None:
        return
    (made_at_ms,) = connection.execute(
        "SELECT made_at_ms FROM _sync_out WHERE epoch = ? AND n = ? AND part = 0", (epoch, n)
    ).fetchone()
    connection.execute("DELETE FROM _sync_out WHERE epoch = ? AND n = ?", (epoch, n))
    shared = (taken.first.tx_id, GENESIS, GENESIS, b"".join(packer.digests))
    parts = len(packer.digests)
    connection.executemany(
        "INSERT INTO _sync_out (epoch, n, part, parts, tx_id, previous, hash, digests, rows,"
        " made_at_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (epoch, n, part, parts, *shared, rows, made_at_ms, body)
            for part, (rows, body) in enumerate(packer.bodies())
        ),
    )
    _take_from_undecided(connection, n)


def _take_from_undecided(connection: sqlite3.Connection, n: int) -> None:
    found = "FROM temp.sent_before s WHERE s.table_no = p.table_no AND s.id = p.id"
    # A row that was made and sent by the lost life stands or falls with what the centre has of it:
    # as one that is known, it goes where the snapshot does not hold it.
    connection.execute(
        "INSERT OR IGNORE INTO _sync_row (table_no, id, version, ord)"
        " SELECT p.table_no, p.id, ?, 0 FROM _sync_pending AS p"
        f" WHERE p.n = ? AND p.op = 'I' AND EXISTS (SELECT 1 {found} AND s.mask IS NULL)",
        (_NO_VERSION, n),
    )
    look_again(connection, f"p.n = ? AND EXISTS (SELECT 1 {found})", n)
    connection.execute(
        f"DELETE FROM _sync_pending AS p WHERE p.n = ? AND EXISTS (SELECT 1 {found}"
        " AND s.mask IS NULL)",
        (n,),
    )
    connection.execute(
        f"UPDATE _sync_pending AS p SET (op, mask, deltas) ="
        f" (SELECT s.op, s.mask, s.deltas {found})"
        f" WHERE p.n = ? AND EXISTS (SELECT 1 {found})",
        (n,),
    )
    connection.execute("DROP TABLE temp.sent_before")
