"""What this store knows of a history that the centre lost, read for the way home.

The centre went back to an older backup (protocol, rule 20). Each row here shows the last word of
the lost history on it, its *tip*, wherever its version came after what the backup held: by the
order that the centre gave it, or since it is the site's own transaction that the backup lacks.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge.sql_text import quoted
from edge.store import aside, cursor, position, snapshot
from edge.store.open import lenient, silent
from shared.changes import GENESIS, ChangeBlock, Fate, HeadBlock, Op, Position
from sync import codec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from edge.store.apply import DrainedFirst
    from edge.store.open import Opened
    from shared.catalog import Table
    from shared.changes import Value

#: Rows in one chunk.
ROWS_MAX: Final = 500
_KEYS: Final = ("site_id", "created_at")
#: n, tx_id and hash of an own transaction.
_Link = tuple[int, str, bytes]


@dataclass(frozen=True, slots=True)
class Lost:
    """Where the backup ends that the centre went back to."""

    #: Highest order of its versions.
    max_order: int
    #: The last of our transactions that it holds.
    applied_n: int
    #: It is known to have lost something: then rows of ours without an order are told, too, since
    #: their transactions may not be kept any more.
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Tip:
    id: str
    version: str
    #: 0 for a version of our own.
    order: int
    fate: Fate
    values: Mapping[str, Value]


def tips(opened: Opened, lost: Lost, drained: DrainedFirst) -> Iterator[list[HeadBlock]]:
    """Give the tips in blocks, a page at a time; programs may write between two pages."""
    for table in opened.catalog.parents_first():
        if table.fact:  # its facts are sent again by the outbox
            continue
        again = _parked_again(opened, lost) if table.name == "sync_parked" else set()
        for read, with_values in ((_page, _with_values), (_aside, _as_kept)):
            after = ""
            while True:
                with drained():  # what is not drained yet would be taken for what was decided
                    page = read(opened, table, lost, after)
                    found = with_values(opened, table, page)
                    known = [t for t in found if t.id not in again and _travels(table, t)]
                if known:
                    yield _blocks(table, known)
                if not page:
                    break
                after = page[-1][0]


def owe_from(connection: sqlite3.Connection, applied_n: int) -> None:
    """Let go of nothing that the centre lacks, whatever it called safe. Inside a transaction."""
    connection.execute("UPDATE _sync_site SET safe_n = min(safe_n, ?)", (applied_n,))


def seen_lives(connection: sqlite3.Connection) -> tuple[list[str], bool]:
    """Return the lives of the server that the heads are of, and whether their orders are void.

    They are from when the centre has been told all to when its snapshot is loaded. A restore that
    comes between finds them as they were before: of no life that was met since.
    """
    rows = connection.execute(
        "SELECT l.life FROM _sync_life l, _sync_site s WHERE l.no <= coalesce(s.void_since, l.no)"
        " ORDER BY l.no"
    )
    (void,) = connection.execute("SELECT void_since IS NOT NULL FROM _sync_site").fetchone()
    return [life for (life,) in rows], bool(void)


def included(opened: Opened, lost: Lost) -> tuple[list[_Link], list[tuple[str, str, str]]]:
    """Return the own transactions that are in the tips, and rows in which they are not.

    These, by tx_id, table and id, are: what is parked; what a snapshot that was being loaded has
    not reached; what was written on rows that are gone here and are not ours to tell; and what an
    earlier call returned, as long as no snapshot has told what became of it.
    """
    connection = opened.connection
    at, upto = cursor.read(connection), _upto(connection)
    again = connection.execute(
        f"""SELECT p.tx_id, p.table_name, p.row_id FROM sync_parked p WHERE {_PARKED_AGAIN}
        UNION SELECT o.tx_id, t.name, w.id FROM _sync_pending w
        JOIN _sync_table t ON t.no = w.table_no
        JOIN _sync_out o ON o.epoch = ? AND o.n = w.n AND o.part = 0 WHERE w.n <= ?
        UNION {_STILL_AGAIN}""",
        (lost.applied_n, at.epoch, upto, lost.applied_n),
    ).fetchall()
    sent = connection.execute(
        "SELECT n, tx_id, hash FROM _sync_out WHERE epoch = ? AND part = 0 AND n > ? AND n <= ?"
        " ORDER BY n",
        (at.epoch, lost.applied_n, upto),
    ).fetchall()
    return sent, again + list(_untold(opened, lost, sent, upto))


def _upto(connection: sqlite3.Connection) -> int:
    """Return up to which own transaction the rows hold what the centre had decided."""
    at, loading = cursor.read(connection), snapshot.state(connection)
    ack = loading.manifest.ack if loading is not None else None
    told_n: int = connection.execute("SELECT told_n FROM _sync_site").fetchone()[0]
    return max(at.acked_n, told_n, ack.n if ack is not None and ack.epoch == at.epoch else 0)


def _untold(
    opened: Opened, lost: Lost, sent: Sequence[_Link], upto: int
) -> Iterator[tuple[str, str, str]]:
    """Give own writes on rows of which no tip is told.

    Those are gone here and shared by several sites, or stand under a deletion or an insertion of
    ours that is not decided, beneath which nobody can look.
    """
    shared = [t for t in opened.catalog.tables if not t.fact and t.share != ("site_id",)]
    gone = {
        (table.name, row_id)
        for table in shared
        for (row_id,) in opened.connection.execute(
            "SELECT id FROM _sync_row WHERE table_no = ? AND gone > 0 AND ord > ?",
            (opened.numbers[table.name], lost.max_order),
        )
    }
    gone |= set(opened.connection.execute(_COVERED, (upto,)))
    if not gone:
        return
    for n, tx_id, _ in sent:
        for block in _blocks_of(opened, n):
            yield from ((tx_id, block.table, i) for i in block.ids if (block.table, i) in gone)


_COVERED: Final = """SELECT DISTINCT t.name, w.id FROM _sync_pending w
    JOIN _sync_table t ON t.no = w.table_no WHERE w.n > ? AND w.op <> 'U' AND NOT EXISTS (
        SELECT 1 FROM _sync_shadow s WHERE s.table_no = w.table_no AND s.id = w.id)"""
# Orders are void until a snapshot brings them: a row that has one has come, with what became of it.
_STILL_AGAIN: Final = """SELECT a.tx_id, a.table_name, a.id FROM _sync_again a
    JOIN _sync_out o ON o.tx_id = a.tx_id AND o.part = 0
        AND o.epoch = (SELECT epoch FROM _sync_site) AND o.n > ?
    JOIN _sync_table t ON t.name = a.table_name
    LEFT JOIN _sync_row r ON r.table_no = t.no AND r.id = a.id WHERE coalesce(r.ord, 0) = 0"""
_PARKED_AGAIN: Final = """p.state IN ('parked', 'waiting') AND p.tx_id IN (
    SELECT o.tx_id FROM _sync_out o JOIN _sync_site s ON s.epoch = o.epoch
    WHERE o.part = 0 AND o.n > ?)"""


def before_first(connection: sqlite3.Connection) -> Position:
    """Return the link before the first transaction that can still be sent."""
    row = connection.execute(
        "SELECT o.n - 1, o.previous FROM _sync_out o JOIN _sync_site s ON s.epoch = o.epoch"
        " WHERE o.part = 0 ORDER BY o.n LIMIT 1"
    ).fetchone()
    row = row or connection.execute("SELECT last_n, last_hash FROM _sync_site").fetchone()
    return Position(*row)


def begin_anew(
    opened: Opened, lost: Lost, again: Sequence[tuple[str, str, str]], why: str, *, now_ms: int,
    drained: DrainedFirst,
) -> None:  # fmt: skip
    """Follow the centre from the beginning: positions and orders of the lost history are void.

    ``again`` are the rows that ``included`` returned, and the centre was told.
    """
    connection = opened.connection
    with drained(), silent(connection):
        connection.execute("UPDATE _sync_site SET told_n = ?", (_upto(connection),))
        connection.execute("DELETE FROM _sync_again")
        # Those beyond are sent as any other that is not decided.
        connection.executemany(
            "INSERT OR IGNORE INTO _sync_again (tx_id, table_name, id) SELECT tx_id, ?2, ?3"
            " FROM _sync_out JOIN _sync_site USING (epoch)"
            " WHERE tx_id = ?1 AND part = 0 AND n <= told_n",
            again,
        )
        # What is parked again comes again, with the time at which that was sent.
        parked = f"SELECT p.id FROM sync_parked p WHERE {_PARKED_AGAIN}"
        for table in ("_sync_row", "sync_parked"):
            connection.execute(f"DELETE FROM {table} WHERE id IN ({parked})", (lost.applied_n,))
        connection.execute("UPDATE _sync_row SET ord = 0")
        connection.execute("UPDATE _sync_aside SET ord = 0 WHERE ord IS NOT NULL")
        connection.execute(
            "UPDATE _sync_site SET own_pos = 0, own_hash = ?, shared_pos = 0, shared_hash = ?,"
            " waits_since_ms = NULL,"
            " void_since = coalesce(void_since, (SELECT max(no) FROM _sync_life), 0)",
            (GENESIS, GENESIS),
        )
        for table in ("_sync_in", "_sync_seen", "_sync_snapshot"):
            connection.execute(f"DELETE FROM {table}")
        snapshot.want(connection, "the centre went back to an older backup", now_ms)
        position.note(connection, "MES-CENTRE-RESTORED", why, now_ms)


# --- reading tips ----------------------------------------------------------------------------


def _page(opened: Opened, table: Table, lost: Lost, after: str) -> Sequence[tuple[Any, ...]]:
    """Return id, version, order, whether it is our own, and whether it is gone, of some tips."""
    return opened.connection.execute(
        """SELECT r.id, r.version, r.ord, o.n IS NOT NULL, r.gone
           FROM _sync_row r
           LEFT JOIN _sync_out o ON o.tx_id = r.version AND o.part = 0
               AND o.epoch = (SELECT epoch FROM _sync_site) AND o.n > :applied_n
           WHERE r.table_no = :table_no AND r.id > :after
             AND (o.n IS NOT NULL OR r.ord > :max_order OR :whole AND r.ord = 0)
             AND NOT EXISTS (SELECT 1 FROM _sync_aside a WHERE a.table_name = :name
                             AND a.id = r.id AND a.version <> '')
           ORDER BY r.id LIMIT :some""",
        _given(opened, table, lost, after),
    ).fetchall()


def _aside(opened: Opened, table: Table, lost: Lost, after: str) -> Sequence[tuple[Any, ...]]:
    """Return id, version, order and content of heads that could not be put where they belong.

    Such a head is the last word on its row; what stands there, under its own version, is not.
    """
    return opened.connection.execute(
        """SELECT a.id, coalesce(s.version, a.version), coalesce(s.ord, a.ord), a.content
           FROM _sync_aside a LEFT JOIN _sync_shadow s ON s.table_no = :table_no AND s.id = a.id
           WHERE a.table_name = :name AND a.version <> '' AND a.id > :after
             AND (a.ord > :max_order OR :whole AND a.ord = 0)
           ORDER BY a.id LIMIT :some""",
        _given(opened, table, lost, after),
    ).fetchall()


def _given(opened: Opened, table: Table, lost: Lost, after: str) -> dict[str, Any]:
    return {
        "table_no": opened.numbers[table.name], "name": table.name, "after": after,
        "some": ROWS_MAX, "max_order": lost.max_order, "applied_n": lost.applied_n,
        "whole": lost.whole,
    }  # fmt: skip


def _as_kept(opened: Opened, table: Table, page: Sequence[tuple[Any, ...]]) -> Iterator[_Tip]:
    ids = [row[0] for row in page]
    shadows, extras = _shadows(opened, table, ids), _extras(opened, table, ids)
    for row_id, version, order, content in page:
        fate, head = shadows.get(row_id, (Fate.PUT, aside.from_json(content)))
        yield _Tip(row_id, version, order, fate, head | extras.get(row_id, {}))


def _with_values(opened: Opened, table: Table, page: Sequence[tuple[Any, ...]]) -> Iterator[_Tip]:
    live = _live(opened, table, [row[0] for row in page])
    extras = _extras(opened, table, [row[0] for row in page])
    shadows = _shadows(opened, table, [row[0] for row in page])
    for row_id, version, given, own, gone in page:
        order = 0 if own else given
        if row_id in shadows:
            fate, head = shadows[row_id]
            yield _Tip(row_id, version, order, fate, head | extras.get(row_id, {}))
        elif gone:
            yield _Tip(row_id, version, order, Fate.GONE, {})
        elif row_id in live:
            values = _undone(opened, table, row_id, live[row_id])
            if values:
                values |= extras.get(row_id, {})
                yield _Tip(row_id, version, order, Fate.PUT, values)


def _travels(table: Table, tip: _Tip) -> bool:
    """Return whether a tip is this site's to tell.

    Of a row that several sites share, one that is gone here may only have left our share.
    """
    return not (tip.fate is Fate.LEFT or (tip.fate is Fate.GONE and table.share != ("site_id",)))


def _parked_again(opened: Opened, lost: Lost) -> set[str]:
    """Return the records of what was parked and is sent again: it is decided again.

    Of what no outbox has any more, as of a lost life of the store, the record is all there is.
    """
    rows = opened.connection.execute(
        f"SELECT p.id FROM sync_parked p WHERE {_PARKED_AGAIN}", (lost.applied_n,)
    )
    return {ticket for (ticket,) in rows}


def _live(opened: Opened, table: Table, ids: Sequence[str]) -> dict[str, dict[str, Value]]:
    names = ("id", *_KEYS, *table.names)
    listed = ", ".join(map(quoted, names))
    with lenient(opened.connection):
        rows = opened.connection.execute(
            f"SELECT {listed} FROM {quoted(table.name)}"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        ).fetchall()
    kept = opened.connection.execute(
        "SELECT id, content FROM _sync_aside WHERE table_name = ? AND code = 'unique'"
        " AND id IN (SELECT value FROM json_each(?))",
        (table.name, json.dumps(ids)),
    ).fetchall()
    found = {row_id: aside.from_json(content) for row_id, content in kept}
    return found | {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def _shadows(
    opened: Opened, table: Table, ids: Sequence[str]
) -> dict[str, tuple[Fate, dict[str, Value]]]:
    rows = opened.connection.execute(
        "SELECT id, fate, head FROM _sync_shadow WHERE table_no = ?"
        " AND id IN (SELECT value FROM json_each(?))",
        (opened.numbers[table.name], json.dumps(ids)),
    )
    return {row_id: (Fate(fate), msgpack.unpackb(head)) for row_id, fate, head in rows}


def _extras(opened: Opened, table: Table, ids: Sequence[str]) -> dict[str, dict[str, Value]]:
    """Return the values of columns that this store does not have yet, by row."""
    rows = opened.connection.execute(
        "SELECT id, column_name, value FROM _sync_extra WHERE table_name = ? AND column_name <> ''"
        " AND id IN (SELECT value FROM json_each(?))",
        (table.name, json.dumps(ids)),
    )
    found: dict[str, dict[str, Value]] = {}
    for row_id, name, value in rows:
        found.setdefault(row_id, {})[name] = msgpack.unpackb(value)
    return found


def _undone(
    opened: Opened, table: Table, row_id: str, row: dict[str, Value]
) -> dict[str, Value] | None:
    """Return a row without the site's own writes that are not decided; None where none was there.

    What they replaced travels with them, in the outbox.
    """
    pending = opened.connection.execute(
        "SELECT n FROM _sync_pending WHERE table_no = ? AND id = ? ORDER BY n DESC",
        (opened.numbers[table.name], row_id),
    ).fetchall()
    before = dict(row)
    for (n,) in pending:
        for block in _blocks_of(opened, n):
            if block.table != table.name or row_id not in block.ids:
                continue
            if block.op is not Op.UPDATE:
                return None
            place = block.ids.index(row_id)
            before |= {c: old[place] for c, old in zip(block.columns, block.old, strict=True)}
    return before


def _blocks_of(opened: Opened, n: int) -> Iterator[ChangeBlock]:
    rows = opened.connection.execute(
        "SELECT body FROM _sync_out WHERE epoch = (SELECT epoch FROM _sync_site) AND n = ?"
        " ORDER BY part",
        (n,),
    )
    for (body,) in rows:
        yield from codec.decode_body(codec.decompress(body)).blocks


def _blocks(table: Table, known: Sequence[_Tip]) -> list[HeadBlock]:
    groups: defaultdict[tuple[Fate, tuple[str, ...]], list[_Tip]] = defaultdict(list)
    for tip in known:
        extra = sorted(tip.values.keys() - {"id", *_KEYS, *table.names})
        groups[tip.fate, (*table.names, *extra) if tip.fate is Fate.PUT else ()].append(tip)
    return [
        HeadBlock(
            table.name,
            fate,
            names,
            sites=[str(tip.values.get("site_id") or "") for tip in some],
            created=[str(tip.values.get("created_at") or "") for tip in some],
            ids=[tip.id for tip in some],
            version=[tip.version for tip in some],
            order=[tip.order for tip in some],
            new=[[tip.values.get(name) for tip in some] for name in names],
        )
        for (fate, names), some in groups.items()
    ]
