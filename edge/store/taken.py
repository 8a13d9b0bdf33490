"""What was taken out of the outbox as sent before, until a snapshot shows that the centre has it.

The lost life of the store had sent it (``edge.store.sent``). Where the centre goes back as well
before its snapshot is here, that life may be lost to both: then this is all that is left of it. So
it is in no tip, the centre is asked once more, and what it no longer has goes into the outbox.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.store import position
from edge.store.asked import ASKED_MAX, questions_of
from edge.store.drain import record
from edge.store.packing import Packer
from edge.store.sent import left_of, only, out_of, told
from edge.store.touches import COUNTED
from shared import clock
from shared.changes import ChangeBlock, Op
from sync import codec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge.store.apply import DrainedFirst
    from edge.store.asked import Question
    from edge.store.open import Opened
    from edge.store.sent import TakenOut
    from shared.changes import PartBody
    from sync.handshake import Closure, SentBefore


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
    """Return what is kept, by epochs that ended."""
    rows = connection.execute(
        "SELECT epoch, fork_n, after_hlc, before_n, snapshots FROM _sync_taken WHERE part = 0"
        " ORDER BY before_n"
    )
    return [Kept(*row) for row in rows]


def forget(connection: sqlite3.Connection) -> None:
    """Forget it: a snapshot that was made since is loaded. Inside a transaction."""
    connection.execute("DELETE FROM _sync_taken")


# --- when the centre went back, too --------------------------------------------------------------


def questions(opened: Opened, kept: Kept) -> Iterator[Question]:
    """Give its rows, of which the centre may have been told, some at a time."""
    return questions_of(_bodies(opened.connection, kept))


def blocks(opened: Opened) -> Iterator[tuple[int, ChangeBlock, set[str]]]:
    """Give it with the own transaction that came after it, and the rows that show it no more."""
    for kept in all_kept(opened.connection):
        for body in _bodies(opened.connection, kept):
            for block in body.blocks:
                yield kept.before_n, block, _brought(opened, kept, block)


def _bodies(connection: sqlite3.Connection, kept: Kept) -> Iterator[PartBody]:
    parts = connection.execute(
        "SELECT body FROM _sync_taken WHERE epoch = ? ORDER BY part", (kept.epoch,)
    ).fetchall()
    return (codec.decode_body(codec.decompress(body)) for (body,) in parts)


def _brought(opened: Opened, kept: Kept, block: ChangeBlock) -> set[str]:
    """Return the rows of which a snapshot that is not whole has brought what became of them."""
    rows = opened.connection.execute(
        "SELECT id FROM _sync_row WHERE table_no = ? AND seen > ?"
        " AND id IN (SELECT value FROM json_each(?))",
        (opened.numbers[block.table], kept.snapshots, json.dumps(block.ids)),
    )
    return {row_id for (row_id,) in rows}


def send_again(
    opened: Opened, kept: Kept, answers: Iterable[bytes], hlc: int, *, now_ms: int,
    drained: DrainedFirst,
) -> int:  # fmt: skip
    """Put into the outbox what the centre no longer has; return the number of rows.

    ``answers`` are those to the questions in their order, and ``hlc`` is the drain that counts.
    What a snapshot has brought is in the tips, and what the centre still has is kept further.
    """
    connection = opened.connection
    bodies = list(_bodies(connection, kept))
    schema, offset_ms = bodies[0].schema, bodies[0].offset_ms
    with Packer(schema, bodies[0].hlc, offset_ms) as rest:
        judged = list(_judge(opened, kept, _row_by_row(bodies, told(answers, hlc)), rest))
        with drained():
            at = position.read(connection)
            lost = [one for one in (_latest(opened, kept, each) for each in judged) if one]
            if lost:
                with Packer(schema, clock.tick(at.hlc, now_ms), offset_ms) as packer:
                    for one in lost:
                        packer.add(one)
                    packer.flush()
                    _show(opened, record(opened, at, packer, now_ms).n, lost)
            _put(connection, kept, rest)
    return len(lost)


def _judge(
    opened: Opened, kept: Kept, rows: Iterable[tuple[ChangeBlock, Sequence[SentBefore]]],
    rest: Packer,
) -> Iterator[ChangeBlock]:  # fmt: skip
    """Give what the centre lost, and pack what it has."""
    for one, sent in rows:
        if _brought(opened, kept, one):
            continue
        table = opened.catalog.table(one.table)
        left = left_of(table, one, sent)
        if left is not one:
            rest.add(out_of(table, one, left))
        if left is not None:
            yield left
    rest.flush()


def _row_by_row(
    bodies: Iterable[PartBody], answers: Iterator[Mapping[int, Sequence[SentBefore]]]
) -> Iterator[tuple[ChangeBlock, Sequence[SentBefore]]]:
    """Give each row with what the answers tell of it."""
    for body in bodies:
        asked = 0
        sent: Mapping[int, Sequence[SentBefore]] = {}
        for block in body.blocks:
            for row in range(len(block)):
                if asked % ASKED_MAX == 0:
                    sent = next(answers, {})
                yield block.part(slice(row, row + 1)), sent.get(asked % ASKED_MAX, ())
                asked += 1


def _latest(opened: Opened, kept: Kept, one: ChangeBlock) -> ChangeBlock | None:
    """Return a write without what the site wrote over it since, and nobody has decided."""
    table = opened.catalog.table(one.table)
    later = opened.connection.execute(
        "SELECT op, mask FROM _sync_pending WHERE table_no = ? AND id = ? AND n >= ?",
        (opened.numbers[one.table], one.ids[0], kept.before_n),
    ).fetchall()
    if any(op != Op.UPDATE for op, _ in later):
        return None
    if one.op is not Op.UPDATE:
        return one
    over = 0
    for _, mask in later:
        over |= mask
    places = [
        place
        for place, name in enumerate(one.columns)
        if table.column(name).policy in COUNTED or not over >> table.bit(name) & 1
    ]
    return only(one, places) if places else None


_PENDING: Final = """INSERT INTO _sync_pending (table_no, id, n, op, mask, deltas, base)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""


def _show(opened: Opened, n: int, rows: Sequence[ChangeBlock]) -> None:
    """Have undecided writes shown over what comes."""
    for one in rows:
        table, number = opened.catalog.table(one.table), opened.numbers[one.table]
        deltas = {
            name: [old[0], new[0]]
            for name, old, new in zip(one.columns, one.old, one.new, strict=False)
            if table.column(name).policy in COUNTED
        }
        mask = table.mask(one.columns)
        changed = json.dumps(deltas, default=repr) if deltas else None
        base = one.after[0] or one.base[0]
        opened.connection.execute(
            _PENDING, (number, one.ids[0], n, one.op.value, mask, changed, base)
        )
        if one.op is Op.INSERT:  # nobody has it: it is new once more
            opened.connection.execute(
                "DELETE FROM _sync_row WHERE table_no = ? AND id = ?", (number, one.ids[0])
            )
