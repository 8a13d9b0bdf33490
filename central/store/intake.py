"""Checks what a site sent against the catalogue, before a database is asked.

Pure. Whole columns are checked at a look; what fails is parted from the rest row by row, each with
its column and the rule that it breaks. What an older or newer schema sends is brought to ours:
renamed columns get our names, missing ones their defaults, and unknown ones of a newer schema are
kept aside.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from central.partitions import month_refused
from central.store.changeset import Extra, Origin, Reason, Refusal, Rows, Source
from central.store.statements import looked_at
from central.store.times import taken_in
from shared.catalog import CREATED_AT, ID, Catalog, Column, Direction, Table
from shared.changes import ChangeBlock, Op
from shared.clock import touch_ms
from shared.values import column_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shared.changes import Value

#: The form of a version's id, where there is one.
_VERSION: Final = Column("base", ID.type)
_MESSAGES_MAX: Final = 3
#: Beyond it lies no year that PostgreSQL has.
_MS_MAX: Final = 1 << 47


@dataclass(slots=True)
class Intake:
    """A block, sorted into what may be applied and what may not."""

    rows: Rows | None
    refused: list[Refusal] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)


def take_in(block: ChangeBlock, origin: Origin, catalog: Catalog) -> Intake:
    """Return a block's rows in our terms, and why each of the others can't be applied."""
    # Versions of catalogues with other plants' files don't compare, and a catalogue loses nothing:
    # whoever names what we don't have has a newer one, whatever its version.
    newer = origin.schema > catalog.version
    if block.table not in catalog:
        message = f"the centre has no table {block.table} yet"
        return _refuse_all(block, origin, Reason.NEWER_SCHEMA, message)
    table = catalog.table(block.table)
    if refused := _refuse_kind(table, block, origin):
        return refused
    columns = _columns(table, block, newer=newer)
    newer = columns.newer
    if columns.required:
        names = ", ".join(column.name for column in columns.required)
        reason = Reason.NEWER_SCHEMA if newer else Reason.INVALID_VALUE
        return _refuse_all(block, origin, reason, f"{names}: a value is required")
    return _sorted(table, block, origin, columns)


def as_sent(block: ChangeBlock, origin: Origin, catalog: Catalog) -> Rows | None:
    """Return a block's rows in our terms, whatever their values; None where that can't be said.

    Rows that name no row, no version or no time that could be are left out.
    """
    if block.table not in catalog:
        return None
    table = catalog.table(block.table)
    if _refuse_kind(table, block, origin):
        return None
    rows = _rows(table, block, origin, _columns(table, block, newer=False))
    return rows.without(_nameless(table, block, origin))


def _refuse_all(block: ChangeBlock, origin: Origin, reason: Reason, message: str) -> Intake:
    refused = [Refusal(Source(block, i, origin), reason, message) for i in range(len(block))]
    return Intake(None, refused)


def _refuse_kind(table: Table, block: ChangeBlock, origin: Origin) -> Intake | None:
    """Refuse what a site may not do to a table at all, and blocks that lack a part."""
    if table.direction is Direction.DOWN and not origin.is_home:
        message = f"rows of {table.name} are the centre's; a site does not write them"
        return _refuse_all(block, origin, Reason.NOT_WRITABLE, message)
    if table.append_only and block.op is not Op.INSERT:
        message = f"a row of {table.name} never changes; a correction is a new row"
        return _refuse_all(block, origin, Reason.APPEND_ONLY, message)
    untimed = not table.fact and len(block.at) != len(block)
    unseen = block.op is Op.UPDATE and len(block.old) != len(block.columns)
    if untimed or unseen:
        message = (
            "the times of the touches are missing" if untimed else "the old values are missing"
        )
        return _refuse_all(block, origin, Reason.MALFORMED, message)
    return None


# --- columns ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Columns:
    """How a sender's columns lie in ours."""

    #: Our column, and the place of the sender's; None where the default stands in.
    known: tuple[tuple[Column, int | None], ...]
    #: Places of the sender's columns that we don't have.
    unknown: tuple[int, ...]
    #: Columns that an insert needs and the sender does not have.
    required: tuple[Column, ...]
    #: The sender's schema is newer than ours.
    newer: bool


def _columns(table: Table, block: ChangeBlock, *, newer: bool) -> _Columns:
    if block.columns == table.names:  # nearly always
        return _Columns(tuple((c, i) for i, c in enumerate(table.columns)), (), (), newer)
    ours = {old: column for column in table.columns for old in column.renamed_from}
    ours |= {column.name: column for column in table.columns}
    known: dict[str, tuple[Column, int | None]] = {}
    unknown = []
    for place, name in enumerate(block.columns):
        column = ours.get(name)
        if column is None or column.name in known:
            unknown.append(place)
        else:
            known[column.name] = (column, place)
    left_out = [column for column in table.columns if column.name not in known]
    if block.op is not Op.INSERT:
        left_out = []
    known |= {c.name: (c, None) for c in left_out if c.default is not None}
    required = [c for c in left_out if c.default is None and not c.nullable]
    newer = newer or bool(unknown)
    return _Columns(tuple(known.values()), tuple(unknown), tuple(required), newer)


# --- rows ------------------------------------------------------------------------------------


def _sorted(table: Table, block: ChangeBlock, origin: Origin, columns: _Columns) -> Intake:
    bad = _bad_rows(table, block, origin, columns)
    good: Sequence[int] = range(len(block))
    if bad:
        good = [row for row in good if row not in bad]
    refused = [Refusal(Source(block, row, origin), *why) for row, why in sorted(bad.items())]
    extras = [
        Extra(Source(block, row, origin), block.columns[place], block.new[place][row])
        for place in columns.unknown
        for row in good
    ]
    rows = _rows(table, block, origin, columns)
    return Intake(rows.take(good) if bad else rows, refused, extras)


def _rows(table: Table, block: ChangeBlock, origin: Origin, columns: _Columns) -> Rows:
    size = len(block)
    new = [[c.default] * size if at is None else block.new[at] for c, at in columns.known]
    updates = block.op is Op.UPDATE
    rows = Rows(
        table,
        block.op,
        tuple(column for column, _ in columns.known),
        ids=block.ids,
        created=block.created,
        new=new,
        old=[block.old[at] for _, at in columns.known if at is not None] if updates else [],
    )
    if not table.fact:
        moments = [touch_ms(at, origin.offset_ms, origin.stored_at_ms) for at in block.at]
        rows.tx_ids = [origin.tx_id] * size
        rows.hlc = [origin.hlc] * size
        rows.at = [at for at, _ in moments]
        rows.clamped = [clamped for _, clamped in moments]
        bits = {at: table.bit(c.name) for c, at in columns.known if at is not None}
        rows.times = taken_in(block.times, origin, moments, bits)
        rows.base = block.base
        rows.after = block.after
    rows.came_from(block, origin, range(size))
    return rows


_Why = tuple[Reason, str]


def _bad_rows(
    table: Table, block: ChangeBlock, origin: Origin, columns: _Columns
) -> dict[int, _Why]:
    """Return the rows that can't be applied, each with the first reason found."""
    bad = _nameless(table, block, origin)
    # A newer schema may allow what ours does not: a longer text, another code.
    reason = Reason.NEWER_SCHEMA if columns.newer else Reason.INVALID_VALUE
    for row, messages in _broken_rules(_values(table, block, columns)).items():
        bad.setdefault(row, (reason, "; ".join(messages[:_MESSAGES_MAX])))
    return bad


def _nameless(table: Table, block: ChangeBlock, origin: Origin) -> dict[int, _Why]:
    """Return the rows of which nobody can say which row is meant, when, or on what version."""
    bad: dict[int, _Why] = {}
    if block.sites.count(origin.site) != len(block):
        bad |= {
            row: (Reason.FOREIGN_SITE, f"site {origin.site} sent a row of site {site}")
            for row, site in enumerate(block.sites)
            if site != origin.site
        }
    if not table.fact:
        bad = dict.fromkeys(_timeless(block, origin), (Reason.MALFORMED, "no such time")) | bad
    for row, messages in _broken_rules(_names(table, block)).items():
        bad.setdefault(row, (Reason.INVALID_VALUE, "; ".join(messages[:_MESSAGES_MAX])))
    if table.partitioned:
        bad = _out_of_months(block, origin) | bad
    return bad


def _names(table: Table, block: ChangeBlock) -> Iterator[tuple[Column, Sequence[Value]]]:
    yield ID, block.ids
    yield CREATED_AT, block.created
    if not table.fact:
        yield _VERSION, block.base
        yield _VERSION, block.after


def _values(
    table: Table, block: ChangeBlock, columns: _Columns
) -> Iterator[tuple[Column, Sequence[Value]]]:
    """Give the lists that have to keep the rules of a column, each with that column."""
    places = {column.name: at for column, at in columns.known if at is not None}
    for column, at in columns.known:
        if at is not None:
            yield column, block.new[at]
    if block.op is Op.UPDATE:
        # Of the others no policy asks what was seen; they only go into the history.
        for column in looked_at(table, [column for column, _ in columns.known]):
            yield Column(f"old {column.name}", column.type), block.old[places[column.name]]


def _out_of_months(block: ChangeBlock, origin: Origin) -> dict[int, _Why]:
    """Return the rows whose month is beyond reason: each would have a partition made for it."""
    refused = {
        month: rule
        for month in {created[:7] for created in block.created}
        if (rule := month_refused(month, origin.stored_at_ms)) is not None
    }
    if not refused:
        return {}
    return {
        row: (Reason.INVALID_VALUE, refused[created[:7]])
        for row, created in enumerate(block.created)
        if created[:7] in refused
    }


def _timeless(block: ChangeBlock, origin: Origin) -> Iterable[int]:
    for row, times in enumerate(block.times):
        if times and any(abs(at) > _MS_MAX for _, at in times):
            yield row
    if max(map(abs, (*block.at, origin.offset_ms)), default=0) <= _MS_MAX:
        return
    for row, at in enumerate(block.at):
        if abs(at) > _MS_MAX or abs(origin.offset_ms) > _MS_MAX:
            yield row


def _broken_rules(checked: Iterable[tuple[Column, Sequence[Value]]]) -> dict[int, list[str]]:
    broken: dict[int, list[str]] = defaultdict(list)
    for column, values in checked:
        for row, problem in column_problems(column, values):
            broken[row].append(str(problem))
    return broken
