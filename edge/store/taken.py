"""What was taken out of the outbox as sent before, until a snapshot shows that the centre has it.

The lost life of the store had sent it (``edge.store.sent``). Where the centre goes back as well
before its snapshot is here, that life may be lost to both: then this is all that is left of it. So
it is in no tip, the centre is asked once more, and what it no longer has goes into the outbox.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edge.store import position
from edge.store.asked import ASKED_MAX, questions_of
from edge.store.drain import record
from edge.store.frozen import read_back
from edge.store.neighbours import Neighbours
from edge.store.packing import Packer
from edge.store.sent import left_of, only, out_of, told
from edge.store.touches import COUNTED
from shared import clock
from shared.changes import Op

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from edge.store.apply import DrainedFirst
    from edge.store.asked import Question
    from edge.store.open import Opened
    from edge.store.sent import TakenOut
    from shared.changes import ChangeBlock, PartBody
    from sync.handshake import Closure, SentBefore

#: Table and id.
Row = tuple[str, str]
#: A later write that made or took the row: nothing of one before it is left.
_WHOLE: Final = -1


@dataclass(frozen=True, slots=True)
class Kept:
    """What was taken out when an epoch ended."""

    epoch: str
    #: After this transaction of that epoch, and this clock, the lost life had sent it.
    fork_n: int
    after_hlc: int
    #: This own transaction, and all after it, came later.
    before_n: int
    #: Number of the last snapshot before it.
    snapshots: int


# --- with the new epoch --------------------------------------------------------------------------


def keep(connection: sqlite3.Connection, closure: Closure, taken: TakenOut) -> None:
    """Keep what was taken out. Inside a transaction, before the transactions move."""
    if taken.out is None:
        return
    (snapshots,) = connection.execute("SELECT snapshots FROM _sync_site").fetchone()
    first = taken.first
    kept = Kept(closure.epoch, closure.fork_n, first.after_hlc, first.n, snapshots)
    _put(connection, kept, taken.out)


def _put(connection: sqlite3.Connection, kept: Kept, packer: Packer) -> None:
    connection.execute("DELETE FROM _sync_taken WHERE epoch = ?", (kept.epoch,))
    connection.executemany(
        "INSERT INTO _sync_taken (epoch, part, fork_n, after_hlc, before_n, snapshots, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (kept.epoch, part, kept.fork_n, kept.after_hlc, kept.before_n, kept.snapshots, body)
            for part, (_, body) in enumerate(packer.bodies())
        ),
    )


def all_kept(connection: sqlite3.Connection) -> list[Kept]:
    """Return what is kept, by epochs that ended, in their order."""
    rows = connection.execute(
        "SELECT t.epoch, t.fork_n, t.after_hlc, t.before_n, t.snapshots FROM _sync_taken t"
        " LEFT JOIN _sync_epoch e ON e.epoch = t.epoch WHERE t.part = 0 ORDER BY t.before_n, e.no"
    )
    return [Kept(*row) for row in rows]


def forget(connection: sqlite3.Connection) -> None:
    """Forget it: a snapshot that was made since is loaded. Inside a transaction."""
    connection.execute("DELETE FROM _sync_taken")


# --- when the centre went back, too --------------------------------------------------------------


def questions(opened: Opened, kept: Kept) -> Iterator[Question]:
    """Give its rows, of which the centre may have been told, some at a time."""
    return questions_of(_bodies(opened, kept))


def blocks(opened: Opened) -> Iterator[tuple[int, ChangeBlock, AbstractSet[Row]]]:
    """Give it in order, each with the own transaction that came after it.

    With it come the rows of which a snapshot has brought what became of them: they show it no more.
    """
    for kept in all_kept(opened.connection):
        for body in _bodies(opened, kept):
            brought = _brought(opened, kept, body)
            for block in body.blocks:
                yield kept.before_n, block, brought


def _bodies(opened: Opened, kept: Kept) -> Iterator[PartBody]:
    parts = opened.connection.execute(
        "SELECT part FROM _sync_taken WHERE epoch = ? ORDER BY part", (kept.epoch,)
    ).fetchall()
    for (part,) in parts:
        (body,) = opened.connection.execute(
            "SELECT body FROM _sync_taken WHERE epoch = ? AND part = ?", (kept.epoch, part)
        ).fetchone()
        yield read_back(body, opened.catalog)


def _brought(opened: Opened, kept: Kept, body: PartBody) -> set[Row]:
    """Return the rows of which a snapshot that is not whole has brought what became of them."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for block in body.blocks:
        ids[block.table] += block.ids
    found: set[Row] = set()
    for name, some in ids.items():
        rows = opened.connection.execute(
            "SELECT id FROM _sync_row WHERE table_no = ? AND seen > ?"
            " AND id IN (SELECT value FROM json_each(?))",
            (opened.numbers[name], kept.snapshots, json.dumps(some)),
        )
        found |= {(name, row_id) for (row_id,) in rows}
    return found


def send_again(
    opened: Opened, kept: Kept, answers: Iterable[bytes], hlc: int, *, now_ms: int,
    drained: DrainedFirst,
) -> int:  # fmt: skip
    """Put into the outbox what the centre no longer has; return the number of rows.

    ``answers`` are those to the questions in their order, and ``hlc`` is the drain that counts.
    What a snapshot has brought is in the tips, and what the centre still has is kept further.
    Programs wait only for what is drained meanwhile, and until it is in the outbox.
    """
    connection = opened.connection
    like = next(_bodies(opened, kept))
    with Packer(like.schema, like.hlc, like.offset_ms) as rest:
        judged = _judge(opened, kept, told(answers, hlc), rest)
        known_n = position.read(connection).last_n
        before = _without_later(opened, judged, _later(opened, judged, kept.before_n))
        lost = [_Lost.of(opened, block) for block in before]
        with drained():
            at = position.read(connection)
            lost = list(_settled(opened, lost, _later(opened, before, known_n + 1)))
            if lost:
                with Packer(like.schema, clock.tick(at.hlc, now_ms), like.offset_ms) as packer:
                    for each in lost:
                        packer.add(each.block)
                    packer.flush()
                    _show(opened, record(opened, at, packer, now_ms).n, lost)
            _put(connection, kept, rest)
    return sum(len(each.block) for each in lost)


def _judge(
    opened: Opened, kept: Kept, told: Iterator[Mapping[int, Sequence[SentBefore]]], rest: Packer
) -> list[ChangeBlock]:
    """Return what the centre lost, and pack what it has."""
    lost: list[ChangeBlock] = []
    gone, stays = Neighbours(lost.append), Neighbours(rest.add)
    for body in _bodies(opened, kept):
        brought = _brought(opened, kept, body)
        for one, sent in _row_by_row(body, told):
            if (one.table, one.ids[0]) in brought:
                continue
            table = opened.catalog.table(one.table)
            left = left_of(table, one, sent)
            gone.add(left)
            if left is not one:
                stays.add(out_of(table, one, left))
    gone.flush()
    stays.flush()
    rest.flush()
    return lost


def _row_by_row(
    body: PartBody, answers: Iterator[Mapping[int, Sequence[SentBefore]]]
) -> Iterator[tuple[ChangeBlock, Sequence[SentBefore]]]:
    """Give each row with what the answers tell of it."""
    asked = 0
    sent: Mapping[int, Sequence[SentBefore]] = {}
    for block in body.blocks:
        for row in range(len(block)):
            if asked % ASKED_MAX == 0:
                sent = next(answers, {})
            yield block.part(slice(row, row + 1)), sent.get(asked % ASKED_MAX, ())
            asked += 1


# --- what the site wrote over it since -----------------------------------------------------------


def _later(opened: Opened, blocks: Iterable[ChangeBlock], from_n: int) -> dict[Row, int]:
    """Return of which of these rows the site wrote what since, and nobody has decided: masks."""
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for block in blocks:
        ids[block.table].update(block.ids)
    names = {opened.numbers[name]: name for name in ids}
    found: dict[Row, int] = {}
    for number, row_id, op, mask in opened.connection.execute(
        "SELECT table_no, id, op, mask FROM _sync_pending WHERE n >= ?", (from_n,)
    ):
        name = names.get(number)
        if name is not None and row_id in ids[name]:
            over = mask if op == Op.UPDATE else _WHOLE
            found[name, row_id] = found.get((name, row_id), 0) | over
    return found


def _without_later(
    opened: Opened, blocks: Iterable[ChangeBlock], later: Mapping[Row, int]
) -> list[ChangeBlock]:
    """Return writes without what the site wrote over them since."""
    left: list[ChangeBlock] = []
    rows = Neighbours(left.append)
    for block in blocks:
        start = 0  # of the rows before which all is dealt with
        for place, row_id in enumerate(block.ids):
            if over := later.get((block.table, row_id), 0):
                rows.add(block.part(slice(start, place)))
                rows.add(_latest(opened, block.part(slice(place, place + 1)), over))
                start = place + 1
        rows.add(block.part(slice(start, None)) if start else block)
    rows.flush()
    return left


def _latest(opened: Opened, one: ChangeBlock, over: int) -> ChangeBlock | None:
    """Return a write without the columns of a mask, but for those in which both count."""
    if over == _WHOLE:
        return None
    if one.op is not Op.UPDATE:
        return one
    table = opened.catalog.table(one.table)
    places = [
        place
        for place, name in enumerate(one.columns)
        if table.column(name).policy in COUNTED or not over >> table.bit(name) & 1
    ]
    return only(one, places) if places else None


# --- into the outbox -----------------------------------------------------------------------------


class _Lost(NamedTuple):
    """Writes that are sent again, and how they are shown until they are decided."""

    block: ChangeBlock
    #: Number of the table, and mask of the columns.
    number: int
    mask: int
    #: What each row adds to sums and sets, as JSON.
    deltas: list[str | None]

    @staticmethod
    def of(opened: Opened, block: ChangeBlock) -> _Lost:
        """Return them."""
        table = opened.catalog.table(block.table)
        counted = [
            (name, old, new)
            for name, old, new in zip(block.columns, block.old, block.new, strict=False)
            if table.column(name).policy in COUNTED
        ]
        deltas = [
            json.dumps({name: [old[row], new[row]] for name, old, new in counted}, default=repr)
            if counted
            else None
            for row in range(len(block))
        ]
        return _Lost(block, opened.numbers[block.table], table.mask(block.columns), deltas)


def _settled(opened: Opened, lost: Iterable[_Lost], later: Mapping[Row, int]) -> Iterator[_Lost]:
    """Give them without what was drained while they were prepared."""
    for each in lost:
        name = each.block.table
        if later and any((name, row_id) in later for row_id in each.block.ids):
            yield from (
                _Lost.of(opened, left) for left in _without_later(opened, [each.block], later)
            )
        else:
            yield each


_PENDING: Final = """INSERT INTO _sync_pending (table_no, id, n, op, mask, deltas, base)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""


def _show(opened: Opened, n: int, lost: Iterable[_Lost]) -> None:
    """Have undecided writes shown over what comes."""
    for block, number, mask, deltas in lost:
        op = block.op.value
        bases = (after or base for after, base in zip(block.after, block.base, strict=True))
        opened.connection.executemany(
            _PENDING,
            (
                (number, row_id, n, op, mask, changed, base)
                for row_id, changed, base in zip(block.ids, deltas, bases, strict=True)
            ),
        )
        if block.op is Op.INSERT:  # nobody has it: it is new once more
            opened.connection.executemany(
                "DELETE FROM _sync_row WHERE table_no = ? AND id = ?",
                ((number, row_id) for row_id in block.ids),
            )
