"""The tips: what this store shows of a history that the centre lost, read for the way home.

The centre went back to an older backup (protocol, rule 20). Each row here shows the last word of
the lost history on it, its *tip*, wherever its version came after what the backup held: by the
order that the centre gave it, or since it is the site's own transaction that the backup lacks.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge.sql_text import quoted
from edge.store import ahead, aside
from edge.store.open import lenient
from edge.store.undone import Undone
from shared.changes import Fate, HeadBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge.store.apply import DrainedFirst
    from edge.store.open import Opened
    from shared.catalog import Catalog, Table
    from shared.changes import Value

#: Rows in one chunk.
ROWS_MAX: Final = 500
#: Rows that are looked at while the store is held, whether there is a tip among them or not.
LOOKED_AT_MAX: Final = 5_000
_KEYS: Final = ("site_id", "created_at")


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


# By the name of the index: SQLite knows no statistics of a growing outbox, and would go through it
# from the last number on, once for each row.
# What came home, and had to wait, has no number: its row, or else its record, comes home again.
PARKED_AGAIN: Final = """p.n > 0 AND (p.state IN ('parked', 'waiting')
    OR p.id IN (SELECT record FROM _sync_ahead)) AND EXISTS (
    SELECT 1 FROM _sync_out o INDEXED BY _sync_out_by_tx JOIN _sync_site s ON s.epoch = o.epoch
    WHERE o.tx_id = p.tx_id AND o.part = 0 AND o.n > ?)"""


@dataclass(frozen=True, slots=True)
class _Tip:
    id: str
    version: str
    #: 0 for a version of our own.
    order: int
    fate: Fate
    values: Mapping[str, Value]
    #: Own writes that the values show and nobody has decided.
    undecided: tuple[int, ...] = ()
    #: The values are those that programs see.
    is_shown: bool = False


def tips(opened: Opened, lost: Lost, drained: DrainedFirst) -> Iterator[list[HeadBlock]]:
    """Give the tips in blocks, a page at a time; programs may write between two pages."""
    undone = Undone(opened)
    for table in _records_last(opened.catalog):
        if table.fact:  # its facts are sent again by the outbox
            continue
        untold = _not_to_tell(opened, table, lost)
        undecided = ahead.undecided(opened, table, lost.applied_n)
        for read, with_values in ((_page, _with_values), (_aside, _as_kept)):
            after: str | None = ""
            while after is not None:
                with drained():  # what is not drained yet would be taken for what was decided
                    page, after = read(opened, table, lost, after)
                    found = list(with_values(opened, table, page))
                known = [
                    _as_before(tip, undecided)
                    for tip in _without_own(undone, table, found)
                    if tip.id not in untold and _travels(table, tip)
                ]
                if known:
                    yield _blocks(table, known)
    undone.forget()


#: Tips as they are read, and the last row that was looked at; None at the end of the table.
_Page = tuple[list[tuple[Any, ...]], str | None]


def _page(opened: Opened, table: Table, lost: Lost, after: str) -> _Page:
    """Return id, version, order, whether it is our own, and whether it is gone, of some tips.

    But of no row whose last word stands aside; nor of one that a snapshot lacked and a rule of the
    plant's keeps here, whose removal has no version: what stands of it is not the last word.
    """
    given = _given(opened, table, lost, after)
    page = opened.connection.execute(
        f"""SELECT r.id, r.version, r.ord, o.n IS NOT NULL, r.gone
           FROM (SELECT id, version, ord, gone {_LOOKED_AT}) r
           LEFT JOIN _sync_out o INDEXED BY _sync_out_by_tx ON o.tx_id = r.version AND o.part = 0
               AND o.epoch = (SELECT epoch FROM _sync_site) AND o.n > :applied_n
           WHERE (o.n IS NOT NULL OR r.ord > :max_order OR :whole AND r.ord = 0)
             AND NOT EXISTS (SELECT 1 FROM _sync_aside a WHERE a.table_name = :name
                             AND a.id = r.id AND (a.version <> ''
                                 OR a.code = '{aside.REFUSED}' AND a.content = '{aside.NO_ROW}'))
           ORDER BY r.id LIMIT :some""",
        given,
    ).fetchall()
    if len(page) == ROWS_MAX:
        return page, page[-1][0]
    last = opened.connection.execute(f"SELECT max(id) FROM (SELECT id {_LOOKED_AT})", given)
    return page, last.fetchone()[0]


_LOOKED_AT: Final = """FROM _sync_row
    WHERE table_no = :table_no AND id > :after ORDER BY id LIMIT :looked_at"""


def _aside(opened: Opened, table: Table, lost: Lost, after: str) -> _Page:
    """Return id, version, order and content of heads that could not be put where they belong.

    Such a head is the last word on its row, also where it took the row away; what stands there,
    under its own version, is not.
    """
    page = opened.connection.execute(
        """SELECT a.id, coalesce(s.version, a.version), coalesce(s.ord, a.ord), a.content
           FROM _sync_aside a LEFT JOIN _sync_shadow s ON s.table_no = :table_no AND s.id = a.id
           WHERE a.table_name = :name AND a.version <> '' AND a.id > :after
             AND (a.ord > :max_order OR :whole AND a.ord = 0)
           ORDER BY a.id LIMIT :some""",
        _given(opened, table, lost, after),
    ).fetchall()
    return page, page[-1][0] if page else None


def _given(opened: Opened, table: Table, lost: Lost, after: str) -> dict[str, Any]:
    return {
        "table_no": opened.numbers[table.name], "name": table.name, "after": after,
        "some": ROWS_MAX, "looked_at": LOOKED_AT_MAX, "max_order": lost.max_order,
        "applied_n": lost.applied_n, "whole": lost.whole,
    }  # fmt: skip


def _as_kept(opened: Opened, table: Table, page: Sequence[tuple[Any, ...]]) -> Iterator[_Tip]:
    ids = [row[0] for row in page]
    shadows, extras = _shadows(opened, table, ids), _extras(opened, table, ids)
    for row_id, version, order, content in page:
        kept = Fate.GONE if content == aside.NO_ROW else Fate.PUT, aside.from_json(content)
        fate, head = shadows.get(row_id, kept)
        values = head | extras.get(row_id, {}) if fate is Fate.PUT else {}
        yield _Tip(row_id, version, order, fate, values)


def _with_values(opened: Opened, table: Table, page: Sequence[tuple[Any, ...]]) -> Iterator[_Tip]:
    live = _live(opened, table, [row[0] for row in page])
    extras = _extras(opened, table, [row[0] for row in page])
    shadows = _shadows(opened, table, [row[0] for row in page])
    undecided = _undecided(opened, table, [row[0] for row in page])
    for row_id, version, given, own, gone in page:
        order = 0 if own else given
        if row_id in shadows:
            fate, head = shadows[row_id]
            yield _Tip(row_id, version, order, fate, head | extras.get(row_id, {}))
        elif gone:
            yield _Tip(row_id, version, order, Fate.GONE, {})
        elif row_id in live:
            values = live[row_id] | extras.get(row_id, {})
            own_writes = undecided.get(row_id, ())
            yield _Tip(row_id, version, order, Fate.PUT, values, own_writes, is_shown=True)


def _as_before(record: _Tip, undecided: Mapping[str, Mapping[str, Value]]) -> _Tip:
    """Return a record of a decision on a row that has not come as it was before that."""
    before = undecided.get(record.id)
    if before is None or record.fate is not Fate.PUT:
        return record
    return replace(record, values={**record.values, **before})


def _travels(table: Table, tip: _Tip) -> bool:
    """Return whether a tip is this site's to tell.

    Of a row that several sites share, one that is gone here may only have left our share.
    """
    return not (tip.fate is Fate.LEFT or (tip.fate is Fate.GONE and table.is_of_several))


def _records_last(catalog: Catalog) -> list[Table]:
    """Return tables in the order in which their rows are told: those of decisions after all rows.

    A record has the centre let go of what waits there, so it must know by then that the row comes.
    """
    return sorted(catalog.parents_first(), key=lambda table: table.name.startswith("sync_"))


def _not_to_tell(opened: Opened, table: Table, lost: Lost) -> set[str]:
    """Return the records of what was parked and is sent again: it is decided again.

    Of what no outbox has any more, as of a lost life of the store, the record is all there is.
    """
    if table.name != "sync_parked":
        return set()
    query = f"SELECT p.id FROM sync_parked p WHERE {PARKED_AGAIN}"
    return {ticket for (ticket,) in opened.connection.execute(query, (lost.applied_n,))}


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


def _undecided(opened: Opened, table: Table, ids: Sequence[str]) -> dict[str, tuple[int, ...]]:
    rows = opened.connection.execute(
        "SELECT id, n FROM _sync_pending WHERE table_no = ?"
        " AND id IN (SELECT value FROM json_each(?)) ORDER BY n DESC",
        (opened.numbers[table.name], json.dumps(ids)),
    )
    found: dict[str, tuple[int, ...]] = {}
    for row_id, n in rows:
        found[row_id] = (*found.get(row_id, ()), n)
    return found


def _without_own(undone: Undone, table: Table, found: Sequence[_Tip]) -> Iterator[_Tip]:
    """Give tips without the site's own writes that are not decided; none where no row was there.

    Nor is there in a tip what was taken out as sent before: the centre is asked whether it has
    that. The store is not held: bodies are frozen.
    """
    undone.read({n for tip in found for n in tip.undecided})
    undecided = {tip.id: {None, *tip.undecided} for tip in found if tip.is_shown}
    rows: dict[str, Mapping[str, Value] | None] = {tip.id: tip.values for tip in found}
    for row_id, n, replaced in undone.latest_first(table, list(undecided)):
        row = rows[row_id]
        if n in undecided[row_id]:
            rows[row_id] = None if row is None or replaced is None else {**row, **replaced}
    for tip in found:
        row = rows[tip.id]
        if row is not None:
            yield replace(tip, values=row)


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
