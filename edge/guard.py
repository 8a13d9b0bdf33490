"""What a table refuses at the write, each rule with a message that names the way to do it.

Pure: a rule is an SQL condition that holds where it is broken, over NEW and OLD of a trigger. Facts
are guarded against change only: their tables are the busiest, and each comparison in a trigger
costs a hundredth of the insert. What is not checked here is checked at the centre, and parked
there. A form that merely differs from the canonical one (12.50 for 12.5) breaks no rule: the drain
puts it right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.sql_text import literal, quoted
from shared.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.catalog import Column, Table

#: A row travels whole, with its old values, and is unpacked in memory at the other end. So even a
#: text without a limit has one: a quarter of ``sync.codec.BODY_BYTES_MAX`` in bytes.
TEXT_CHARACTERS_MAX: Final = 4_000_000
BLOB_BYTES_MAX: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that must not hold, and what the writer is told where it does."""

    broken: str
    message: str


def append_only(table: Table) -> str:
    """Return what a program is told that changes a fact."""
    column = next((c.name for c in table.columns if c.references == table.name), None)
    way = f"insert a correction row with {column} instead" if column else "insert a new row instead"
    return f"{table.name} is append-only: {way}"


def foreign_site(row: str, table: Table, site: str) -> Rule:
    """Refuse to write rows of other sites, and those of the centre."""
    if row == "NEW":
        message = f"{table.name}: site_id must be {site}, this store's own site; leave it out"
    else:
        message = f"{table.name}: the row belongs to the centre or another site: change it there"
    return Rule(f'{row}."site_id" <> {literal(site)}', message)


def no_replacing(
    table: Table, keys: Iterable[tuple[str, ...]], journal: str | None
) -> Iterator[Rule]:
    """Refuse to put a fact in the place of another, which OR REPLACE does without a trigger.

    The very same row again passes: INSERT OR IGNORE skips it, and that harms nobody.
    """
    name = quoted(table.name)
    differs = "\n      OR ".join(
        f"d.{quoted(column)} IS NOT NEW.{quoted(column)}"
        for column in ("site_id", "created_at", *table.names)
    )
    yield Rule(
        f'EXISTS (SELECT 1 FROM {name} d WHERE d."id" = NEW."id" AND (\n      {differs}))',
        f"a row with this id exists and says something else; {append_only(table)}",
    )
    for key in keys:
        same = " AND ".join(f"d.{quoted(column)} = NEW.{quoted(column)}" for column in key)
        yield Rule(
            f'EXISTS (SELECT 1 FROM {name} d WHERE {same} AND d."id" IS NOT NEW."id")',
            f"another row has this {', '.join(key)}; {append_only(table)}",
        )
    if journal:
        # Before an insert the journal number is -1 where the statement gives none.
        message = f"{table.name}.{journal} numbers the rows by itself: leave it out"
        yield Rule(f"NEW.{quoted(journal)} <> -1", message)


def no_row_number(table: Table, broken: str) -> Rule:
    """Refuse to choose SQLite's own number of a row: a REPLACE would displace another by it."""
    return Rule(broken, f"{table.name}: SQLite numbers the rows by itself: leave the rowid out")


def id_stays(table: Table) -> Rule:
    """Refuse to take a row's id away: nothing that is written to it later would be known."""
    broken = 'NEW."id" IS NULL AND OLD."id" IS NOT NULL'
    return Rule(broken, f"{table.name}.id is required: it names the row at the centre")


def never_changed(table: Table) -> Iterator[Rule]:
    """Refuse to move a row to another site or another month."""
    for column in ("site_id", "created_at"):
        # From null: an adopted table's row gets its key after it is inserted.
        changed = f'NEW."{column}" IS NOT OLD."{column}" AND OLD."{column}" IS NOT NULL'
        yield Rule(changed, f"{table.name}.{column} is set once, when the row is made")


def of_id(table: Table, row: str) -> Rule:
    """Refuse an id that is not in its one form: it can't be put right later, others refer to it."""
    broken = "NEW.\"id\" NOT GLOB '????????-????-????-????-????????????'"
    broken += ' OR NEW."id" <> lower(NEW."id")'
    message = "a lower-case uuid in groups of 8-4-4-4-12 is expected; leave it out"
    only = f'{row}."id" <> NEW."id" AND ' if row == "OLD" else ""
    return Rule(f"{only}({broken})", f"{table.name}.id: {message}")


def of_insert(table: Table, column: Column, *, adopted: bool) -> Iterator[Rule]:
    """Yield what a column's value breaks in a new row."""
    yield from _of_value(table, column, _new(column, adopted=adopted))


def of_update(
    table: Table, column: Column, *, adopted: bool, released_by: str | None
) -> Iterator[Rule]:
    """Yield what a column's value breaks in a changed row, where the column changed.

    ``released_by`` is the column of ``table.relax_by`` that names the released row.
    """
    new, old = f"NEW.{quoted(column.name)}", f"OLD.{quoted(column.name)}"
    for rule in _of_value(table, column, _new(column, adopted=adopted)):
        yield Rule(f"{new} IS NOT {old} AND ({rule.broken})", rule.message)
    if column.order:
        yield never_back(table, column, old=f"OLD.{quoted(column.name)}", released_by=released_by)


def _new(column: Column, *, adopted: bool) -> str:
    """Return the new value as the rules look at it: columns of a plant's own may hold any type."""
    new = f"NEW.{quoted(column.name)}"
    numbers = (Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.BYTES)
    return f"CAST({new} AS TEXT)" if adopted and column.type.kind not in numbers else new


def never_back(table: Table, column: Column, *, old: str, released_by: str | None) -> Rule:
    """Refuse a step back in a lattice from ``old``, unless a signed row allows just that step."""
    name, order = f"{table.name}.{column.name}", " < ".join(column.order)
    new = f"NEW.{quoted(column.name)}"
    back = f"{_rank(column, new)} < {_rank(column, old)}"
    if table.relax_by is None or released_by is None:
        return Rule(back, f"{name} never goes back ({order}); ask the centre if it must")
    released = (
        f'SELECT 1 FROM {quoted(table.relax_by)} r WHERE r.{quoted(released_by)} = NEW."id"'
        f' AND r."from_state" IS {old} AND r."to_state" IS {new}'
    )
    message = (
        f"{name} goes back ({order}) only after a signed row in {table.relax_by}:"
        " insert one with from_state, to_state, reason and signed_by first"
    )
    return Rule(f"{back} AND NOT EXISTS ({released})", message)


def _rank(column: Column, value: str) -> str:
    literals = [int(s) if column.type.kind is Kind.BOOLEAN else s for s in column.order]
    steps = " ".join(f"WHEN {literal(state)} THEN {at}" for at, state in enumerate(literals))
    return f"(CASE {value} {steps} ELSE -1 END)"


# --- values ------------------------------------------------------------------------------------


def _of_value(table: Table, column: Column, value: str) -> Iterator[Rule]:
    name = f"{table.name}.{column.name}"
    if not table.fact:
        if not column.nullable:
            yield Rule(f"{value} IS NULL", f"{name} is required")
        for broken, rule in (*_of_codes(column, value), *_of_kind(column, value)):
            yield Rule(broken, f"{name}: {rule}")
    for broken, rule in _of_size(column, value, limited=not table.fact):
        yield Rule(broken, f"{name}: {rule}")


def _of_codes(column: Column, value: str) -> Iterator[tuple[str, str]]:
    if column.allowed and column.type.kind is Kind.TEXT:
        # Not NOT IN: SQLite would build its list anew for each row, a third of the insert's cost.
        other = " AND ".join(f"{value} <> {literal(each)}" for each in column.allowed)
        yield other, f"one of {', '.join(column.allowed)} is expected"


def _of_size(column: Column, value: str, *, limited: bool) -> Iterator[tuple[str, str]]:
    kind, length = column.type.kind, column.type.length
    texts = kind in (Kind.TEXT, Kind.JSON, Kind.SET) and not column.allowed
    if kind is Kind.BYTES:
        yield f"length({value}) > {BLOB_BYTES_MAX}", f"at most {BLOB_BYTES_MAX} bytes are allowed"
    elif texts and (limited or length is None):
        most = length or TEXT_CHARACTERS_MAX
        yield f"length({value}) > {most}", f"at most {most} characters are allowed"


#: What a value of a kind does not look like, and the rule.
_LOOKS: Final = {
    Kind.BOOLEAN: ("NOT BETWEEN 0 AND 1", "0 or 1 is expected"),
    # Of a timestamp with a Z only its beginning is looked at: a GLOB takes as long as all the rest.
    Kind.TIMESTAMP: (
        "NOT BETWEEN '0' AND ':' OR instr({0}, 'Z') = 0"
        " AND {0} NOT GLOB '????-??-??[Tt ]??:??*[-+z]*'",
        "a timestamp such as 2012-01-02T03:04:05.678Z is expected;"
        " write strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
    ),
    Kind.DATE: ("NOT GLOB '????-??-??'", "a date such as 2012-01-02 is expected"),
    Kind.TIME: ("NOT GLOB '??:??*'", "a time of day such as 06:30 is expected"),
    # Two comparisons of first characters catch words and empty texts; the centre looks closer.
    Kind.DECIMAL: ("NOT BETWEEN '+' AND ':'", "a decimal number such as 12.5 is expected"),
}


def _of_kind(column: Column, value: str) -> Iterator[tuple[str, str]]:
    kind = column.type.kind
    if kind in _LOOKS:
        differs, rule = _LOOKS[kind]
        yield f"{value} {differs.format(value)}", rule
    if kind is Kind.UUID:
        yield f"length({value}) <> 36", "a uuid in groups of 8-4-4-4-12 is expected"
    elif kind in (Kind.JSON, Kind.SET):
        # Before SQLite 3.45 null was not valid JSON.
        yield f"{value} IS NOT NULL AND NOT json_valid({value})", "JSON is expected"
    elif kind is Kind.DECIMAL:
        yield _places(column, value)
        yield from _of_range(column, f"CAST({value} AS REAL)")
    elif kind in (Kind.INTEGER, Kind.FLOAT):
        yield from _of_range(column, value)


def _places(column: Column, value: str) -> tuple[str, str]:
    places, point = column.type.scale or 0, f"instr({value}, '.')"
    return (
        f"{point} > 0 AND length(rtrim({value}, '0')) - {point} > {places}",
        f"at most {places} digits may stand after the point; it is not rounded",
    )


def _of_range(column: Column, number: str) -> Iterator[tuple[str, str]]:
    if column.type.low is not None:
        low = f"{column.type.low:f}"
        yield f"{number} < {low}", f"the least value allowed is {low}"
    if column.type.high is not None:
        high = f"{column.type.high:f}"
        yield f"{number} > {high}", f"the largest value allowed is {high}"
    if column.type.kind is Kind.FLOAT:
        yield f"abs({number}) > 1.7976931348623157e308", "a finite number is expected"
