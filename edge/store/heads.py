"""Heads that came from the centre, put into the site's tables.

Most rows carry nothing of the site's own: they go in set-wise, a block at a time. A row is *laden*
where the site has undecided writes on it, where its head stands in the shadow, or where it is set
aside; laden rows are decided one by one by ``edge.store.overlay``.

The next write on a row is based on the last head that came for it, shadow or not: the site sees
that head wherever its own undecided writes don't cover it. So ``_sync_row`` always names that head.

References are not enforced here: a child whose parent has not come is put all the same. Its entry
has waited for the shared feed already, and whatever else it refers to comes in the entry itself or
is gone at the centre too; to hold the row back would hide what the centre decided.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge.store import aside, extra, knock_on, removals, uncaptured
from edge.store.overlay import OwnWrite, shown
from edge.store.puts import (
    NOTE_VERSION,
    Put,
    forget_version,
    mark_seen,
    note_version,
    put_all,
)
from edge.store.target import KEYS
from shared.changes import Fate, HeadBlock, Op
from sync.policies import same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.store.applying import Applying
    from edge.store.target import Received, Target
    from shared.changes import Value


@dataclass(frozen=True, slots=True)
class Head:
    """The centre's head of one row."""

    id: str
    fate: Fate
    #: Keys and known columns; empty unless the row stands.
    row: Mapping[str, Value]
    version: str
    #: 0 where no version of it was ever decided.
    order: int


def land(applying: Applying, block: HeadBlock, schema: int) -> None:
    """Apply one block; rows of which a later head is known already are left alone."""
    applying.rows += len(block)
    target = applying.target(block.table)
    if target is None:
        extra.keep_rows(applying, block, schema)
        return
    knock_on.drain(applying)
    if target.table.fact and block.fate is Fate.PUT:
        _land_facts(applying, target, block, schema)
        return
    news = _without_stale(applying, target, block)
    # A fact is never taken away set-wise: the site wrote it, so it is kept whole.
    one_by_one = target.table.fact or target.loss > 0
    laden = set(news.ids) if one_by_one else _laden(applying, target, news.ids)
    is_laden = [row_id in laden for row_id in news.ids]
    burdened, plain = _rows(news, is_laden), _rows(news, [not each for each in is_laden])
    if block.fate is Fate.PUT:
        _land_puts(applying, target, plain, burdened, schema)
    else:
        _land_removals(applying, target, plain)
        puts = [
            settle_row(applying, target, head) for head in _heads(burdened, target.received(()))
        ]
        put_all(applying, target, [put for put in puts if put is not None])


# --- the set-wise way ---------------------------------------------------------------------------


def _land_facts(applying: Applying, target: Target, block: HeadBlock, schema: int) -> None:
    received = target.received(block.columns)
    extra.keep_columns(applying, block, received.unknown, schema)
    if not _put_block(applying, target, block, received):
        upsert = target.upsert(received.names)
        for head in _heads(block, received):
            try:
                given = tuple(head.row.values())
                if not knock_on.put_row(applying, target, head.id, upsert, given):
                    knock_on.check_stands(applying, target, head.id)
            except aside.REFUSALS as error:
                reason = aside.reason_of(applying, target, error)
                aside.keep(applying, target, head.row, aside.Why(aside.REFUSED, reason))
    if target.has_journal and not knock_on.made_facts(applying, target, block.ids):
        # All that the site wrote was drained before: whatever is above the mark came from here.
        applying.connection.execute(target.mark_facts, (target.no,))
    aside.forget_removals(applying, target, block.ids)


def _land_puts(
    applying: Applying, target: Target, plain: HeadBlock, burdened: HeadBlock, schema: int
) -> None:
    received = target.received(plain.columns)
    for block in (plain, burdened):
        extra.keep_columns(applying, block, received.unknown, schema)
    puts = [settle_row(applying, target, head) for head in _heads(burdened, received)]
    slow = [put for put in puts if put is not None]
    if _put_block(applying, target, plain, received):
        _note_versions(applying, target, plain, gone=False)
    else:
        slow += [_as_put(head) for head in _heads(plain, received)]
    put_all(applying, target, slow)


def _put_block(applying: Applying, target: Target, block: HeadBlock, received: Received) -> bool:
    """Put the rows of a block, at once; False where SQLite refused one, and then some are put.

    To put them again does no harm. A savepoint that takes them back would: under the triggers of a
    table each row is a savepoint of its own, and two levels copy every page to a file for each row.
    But what triggers of the plant's made of the rows would be made twice: there each row is put
    once, by itself.
    """
    if target.stirred:
        return False
    columns = [block.new[place] for place, _ in received.known]
    rows = zip(block.ids, block.sites, block.created, *columns, strict=True)
    try:
        knock_on.put_rows(applying, target, target.upsert(received.names), rows)
    except aside.REFUSALS as error:
        aside.reason_of(applying, target, error)
        return False
    return True


def _note_versions(applying: Applying, target: Target, block: HeadBlock, *, gone: bool) -> None:
    marks = repeat(applying.now_ms if gone else 0), repeat(applying.snapshot)
    applying.connection.executemany(
        NOTE_VERSION, zip(repeat(target.no), block.ids, block.version, block.order, *marks)
    )


def _land_removals(applying: Applying, target: Target, block: HeadBlock) -> None:
    """Take rows away on which the site wrote nothing. Their versions stay known as tombstones."""
    kept = removals.take_all(applying, target, block)
    block = _rows(block, [row_id not in kept for row_id in block.ids])
    decided = [order > 0 for order in block.order]
    _note_versions(applying, target, _rows(block, decided), gone=True)
    for row_id, known in zip(block.ids, decided, strict=True):
        if not known:
            forget_version(applying, target, row_id)
    extra.forget(applying, target.name, block.ids)


# --- which rows --------------------------------------------------------------------------------


def _without_stale(applying: Applying, target: Target, block: HeadBlock) -> HeadBlock:
    """Return the block without heads that are no later than what stands: nothing goes backwards.

    Nor does it where a later head stands aside. A head of order 0 says that no version was ever
    decided, and is never stale. A version by which
    a row left the share of all sites takes it away here by their feed; where it goes on to be in
    this site's, the same version comes by the site's own, and is news. So is the head that stood
    already where it comes with the ack of an own write on it: that one was parked.
    """
    known = _known_orders(applying, target, block.ids)
    if not known:
        return block
    stays = block.fate is Fate.PUT
    overruled = _decided(applying, target, list(known))
    news = [
        not 0 < order <= known.get(row_id, _UNKNOWN)[0]
        or (stays and known[row_id] == (order, version, 1))
        or (row_id in overruled and order == known[row_id][0])
        for row_id, order, version in zip(block.ids, block.order, block.version, strict=True)
    ]
    if all(news):
        return block
    mark_seen(applying, target, list(compress(block.ids, [not each for each in news])))
    return _rows(block, news)


def _decided(applying: Applying, target: Target, ids: Sequence[str]) -> set[str]:
    """Return those rows on which own writes are decided by now, and not yet settled."""
    rows = applying.connection.execute(
        "SELECT DISTINCT id FROM _sync_pending WHERE table_no = ? AND n <= ?"
        " AND id IN (SELECT value FROM json_each(?))",
        (target.no, applying.decided_n, json.dumps(ids)),
    )
    return {row_id for (row_id,) in rows}


#: Order and version of a row's head, and whether the row is gone with it.
_Known = tuple[int, str | None, int]
_UNKNOWN: Final[_Known] = (0, None, 0)


def _known_orders(applying: Applying, target: Target, ids: Sequence[str]) -> dict[str, _Known]:
    """Return what is known of each row's head, of those that have one."""
    # One look decides where all rows are new, as they are in a first snapshot.
    any_known = applying.connection.execute(
        "SELECT 1 FROM _sync_row WHERE table_no = ? AND id BETWEEN ? AND ? LIMIT 1",
        (target.no, min(ids, default=""), max(ids, default="")),
    ).fetchone()
    known = _versions_known(applying, target, ids) if any_known else {}
    # What comes again under the order of a head that stands aside may be tried again.
    for row_id, order in aside.orders(applying, target, ids).items():
        if order - 1 > known.get(row_id, _UNKNOWN)[0]:
            known[row_id] = (order - 1, None, 0)
    return known


def _versions_known(applying: Applying, target: Target, ids: Sequence[str]) -> dict[str, _Known]:
    rows = applying.connection.execute(
        "SELECT id, ord, version, gone > 0 FROM _sync_row WHERE table_no = ? AND ord > 0"
        " AND seen >= 0 AND id IN (SELECT value FROM json_each(?))",
        (target.no, json.dumps(ids)),
    )
    return {row_id: tuple(known) for row_id, *known in rows}


def _laden(applying: Applying, target: Target, ids: Sequence[str]) -> set[str]:
    """Return those rows that carry something of the site's own."""
    found: set[str] = set()
    for table, key, value in (
        ("_sync_pending", "table_no", target.no),
        ("_sync_shadow", "table_no", target.no),
        ("_sync_aside", "table_name", target.name),
    ):
        where = f"FROM {table} WHERE {key} = ?"
        if applying.connection.execute(f"SELECT 1 {where} LIMIT 1", (value,)).fetchone():
            rows = applying.connection.execute(
                f"SELECT id {where} AND id IN (SELECT value FROM json_each(?))",
                (value, json.dumps(ids)),
            )
            found.update(row_id for (row_id,) in rows)
    return found


def _rows(block: HeadBlock, chosen: Sequence[bool]) -> HeadBlock:
    """Return the chosen rows of a block."""
    if all(chosen):
        return block

    def of(column: list[Any]) -> list[Any]:
        return list(compress(column, chosen))

    return HeadBlock(
        table=block.table, fate=block.fate, columns=block.columns, sites=of(block.sites),
        created=of(block.created), ids=of(block.ids), version=of(block.version),
        order=of(block.order), new=[of(column) for column in block.new],
    )  # fmt: skip


def _heads(block: HeadBlock, received: Received) -> list[Head]:
    """Return the rows of a block one by one."""
    names = (*KEYS, *received.names)
    if block.fate is not Fate.PUT:
        versions = zip(block.ids, block.version, block.order, strict=True)
        return [Head(row_id, block.fate, {}, version, order) for row_id, version, order in versions]
    columns = [block.new[place] for place, _ in received.known]
    rows = zip(block.ids, block.sites, block.created, *columns, strict=True)
    return [
        Head(row[0], block.fate, dict(zip(names, row, strict=True)), version, order)
        for row, version, order in zip(rows, block.version, block.order, strict=True)
    ]


def _as_put(head: Head) -> Put:
    return Put(head.id, dict(head.row), head.version, head.order)


# --- one row with something of the site's own -----------------------------------------------------


def settle_row(applying: Applying, target: Target, head: Head) -> Put | None:
    """Take the head of a laden row; return what is to be put, or None where no row is shown."""
    writes = own_writes(applying, target, head.id)
    decided_n = _decided_n(applying, head, writes)
    decided = [write for write in writes if write.n <= decided_n]
    undecided = [write for write in writes if write.n > decided_n]
    applying.connection.execute(
        "DELETE FROM _sync_pending WHERE table_no = ? AND id = ? AND n <= ?",
        (target.no, head.id, decided_n),
    )
    _keep_shadow(applying, target, head, keep=bool(undecided))
    live = target.read(applying.connection, head.id)
    local = live or aside.own_row(applying, target, head.id)
    row = shown(target.table, head.fate, head.row, local=local, undecided=undecided)
    gone = head.fate is not Fate.PUT
    version = None if gone and not head.order else head.version
    put = Put(head.id, {}, version, head.order, own=bool(undecided), gone=gone)
    if row is not None:
        put.row = changed(row, live or {})
        if local is None and not writes:
            uncaptured.keep_missing(applying, target, head.id)
        return put
    aside.drop(applying, target, head.id, aside.UNIQUE, aside.LEFT, aside.REFUSED)
    code = aside.PARKED if target.table.fact else code_of_loss(head, decided, undecided)
    if local is None or removals.lose(applying, target, local, code, put):
        note_version(applying, target, put)
    elif decided:  # it stands: the next write has not seen the row go
        note_version(applying, target, Put(head.id, {}, decided[0].base, 0))
    return None


def changed(row: Mapping[str, Value], live: Mapping[str, Value]) -> dict[str, Value]:
    """Return the keys of a row, and what it does not have in common with what stands."""
    return {
        name: value
        for name, value in row.items()
        if name in KEYS or name not in live or not same(value, live[name])
    }


def code_of_loss(
    head: Head, decided: Sequence[OwnWrite], undecided: Sequence[OwnWrite]
) -> str | None:
    """Return why a row that the site wrote on goes out of sight; None where nothing is lost."""
    if head.fate is Fate.LEFT:
        return aside.LEFT if undecided else None
    if not decided:
        return None
    accepted = head.order > 0 and all(write.op is not Op.INSERT for write in decided)
    return aside.GONE if accepted else aside.PARKED


def own_writes(applying: Applying, target: Target, row_id: str) -> list[OwnWrite]:
    """Return the site's writes on a row that are not decided, oldest first."""
    rows = applying.connection.execute(
        "SELECT n, op, mask, deltas, base FROM _sync_pending"
        " WHERE table_no = ? AND id = ? ORDER BY n",
        (target.no, row_id),
    )
    return [_own_write(target, *row) for row in rows]


def _own_write(
    target: Target, n: int, op: str, mask: int, deltas: str | None, base: str | None
) -> OwnWrite:
    names = target.table.names
    touched = frozenset(name for bit, name in enumerate(names) if mask >> bit & 1)
    changes = {name: (old, new) for name, (old, new) in json.loads(deltas or "{}").items()}
    return OwnWrite(n, Op(op), touched, changes, base)


def _decided_n(applying: Applying, head: Head, writes: Sequence[OwnWrite]) -> int:
    """Return up to which n our writes are decided on this row: by the ack, or by the head itself.

    The shared feed carries no ack. But a head that is a version of our own holds what we wrote.
    """
    if not writes or writes[-1].n <= applying.decided_n:
        return applying.decided_n
    own = applying.connection.execute(
        "SELECT n FROM _sync_out WHERE epoch = ? AND n BETWEEN ? AND ? AND part = 0 AND tx_id = ?",
        (applying.epoch, writes[0].n, writes[-1].n, head.version),
    ).fetchone()
    return max(applying.decided_n, own[0]) if own else applying.decided_n


def _keep_shadow(applying: Applying, target: Target, head: Head, *, keep: bool) -> None:
    """Keep the head of a row that shows own writes over it; else it stands in the row itself."""
    if keep:
        packed = msgpack.packb(dict(head.row))
        applying.connection.execute(
            "INSERT OR REPLACE INTO _sync_shadow (table_no, id, fate, version, ord, head)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (target.no, head.id, head.fate, head.version, head.order, packed),
        )
    else:
        applying.connection.execute(
            "DELETE FROM _sync_shadow WHERE table_no = ? AND id = ?", (target.no, head.id)
        )
