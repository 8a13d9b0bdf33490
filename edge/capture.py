"""The texts that make a table guard itself and capture its own changes: defaults, log, triggers.

Pure: takes the catalogue's tables, returns SQL. What it returns for two tables is under
``tests/golden``, so that a reviewer reads the SQL itself.

What a column may hold is checked by triggers and not by constraints. So a migration that widens a
column touches no row, the agent can apply what a newer centre decided, an adopted table is guarded
like any other, and the message can name the way out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge import guard
from edge.sql_text import NOW, NOW_MS, UUID7, literal, quoted
from shared.catalog import COMMON, CREATED_AT, Direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.catalog import Catalog, Column, Table
    from shared.changes import Value

#: The column that orders the facts of a table as they were committed.
JOURNAL: Final = "_seq"
#: The number that SQLite gives each row. This name, since a plant's own column may be a "rowid".
ROW_NUMBER: Final = "_rowid_"
#: True while a program writes; false while the agent applies what the centre decided.
WRITING: Final = "(SELECT flag FROM _sync_applying) = 0"
#: A function of the agent's own connection: true for a row other than the one that it puts.
KNOCKED_ON: Final = "_sync_knocked_on"


@dataclass(frozen=True, slots=True)
class Form:
    """How a table stands in one store."""

    site: str
    #: Its unique keys other than the id: the natural ones, and what the plant added itself.
    keys: tuple[tuple[str, ...], ...]
    #: Made by the plant before it was replicated: columns without strict types, no journal, and
    #: keys that the programs do not give.
    adopted: bool = False
    #: The zone of a created_at that the plant had before; "" where it is not known, None where the
    #: column is ours.
    created_zone: str | None = None
    #: The column of ``table.relax_by`` that names the row whose lattice may go back.
    released_by: str | None = None


def form_of(table: Table, catalog: Catalog, *, site: str) -> Form:
    """Return the form of a table as the catalogue alone describes it."""
    released_by = None
    if table.relax_by is not None:
        signed = catalog.table(table.relax_by)
        released_by = next(c.name for c in signed.columns if c.references == table.name)
    keys = tuple(("site_id", *key) for key in table.natural_keys)
    return Form(site, keys, released_by=released_by)


def all_columns(table: Table) -> tuple[Column, ...]:
    """Return the columns that programs see, the common ones first."""
    return (*COMMON, *table.columns)


def defaults(table: Table, *, site: str) -> dict[str, Value]:
    """Return the default of each column that has one: an expression, a literal, or a number."""
    given = {c.name: default(c) for c in table.columns if c.default is not None}
    return {"id": UUID7, "site_id": literal(site), "created_at": NOW} | given


def default(column: Column) -> Value:
    """Return a column's default as sqlite-utils takes it: texts as literals."""
    return literal(column.default) if isinstance(column.default, str) else column.default


def log_name(table: Table) -> str:
    """Return the name of a table's log."""
    return f"_sync_log_{table.name}"


def has_log(table: Table, form: Form) -> bool:
    """Return whether the changes of a table are noted in a log: those of facts are the rows."""
    return table.direction is not Direction.DOWN and (form.adopted or not table.fact)


def log_statement(table: Table) -> str:
    """Return the statement that makes a table's log.

    ``op`` is I (inserted), U (updated), D (deleted), X (may have been displaced by a REPLACE;
    the drain compares), or S (a person decided that these columns stand, changed or not). ``mask``
    says which old values the row holds.
    """
    old = "".join(f",\n  {quoted('o_' + name)} ANY" for name in table.names)
    return (
        f"CREATE TABLE {quoted(log_name(table))} (\n"
        "  seq INTEGER PRIMARY KEY,\n"
        "  op TEXT NOT NULL,\n"
        "  id TEXT NOT NULL,\n"
        "  site_id ANY,\n"
        "  created_at ANY,\n"
        "  mask INTEGER NOT NULL,\n"
        f"  at_ms INTEGER NOT NULL{old}\n"
        ") STRICT"
    )


def triggers(table: Table, form: Form) -> dict[str, str]:
    """Return the triggers of a table: name -> statement."""
    if table.direction is Direction.DOWN:
        found = list(_refusing(table, f"{table.name} comes from the centre: change it there"))
    else:
        found = [_guard_insert(table, form)]
        if table.append_only:
            why = guard.append_only(table)
            found += _refusing(table, why, inserts=False, adopted=form.adopted)
        else:
            found += [_guard_update(table, form), _guard_delete(table, form)]
        if has_log(table, form):
            found += _capturing(table, form)
    return dict(found)


# --- guards ----------------------------------------------------------------------------------


def _refusing(
    table: Table, why: str, *, inserts: bool = True, adopted: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield triggers by which programs can't write at all, or can't change what they inserted."""
    for event in ("INSERT", "UPDATE", "DELETE")[0 if inserts else 1 :]:
        unfilled = "".join(f' AND OLD."{column.name}" IS NOT NULL' for column in COMMON)
        yield _trigger(
            table,
            f"guard_{event.lower()}",
            f"BEFORE {event}",
            [f"SELECT RAISE(ABORT, {literal(why)})"],
            when=WRITING + (unfilled if adopted and event == "UPDATE" else ""),
        )


def _guard_insert(table: Table, form: Form) -> tuple[str, str]:
    rules = [guard.foreign_site("NEW", table, form.site)]
    if table.fact:
        rules[:0] = guard.no_replacing(table, form.keys, None if form.adopted else JOURNAL)
    else:
        if not form.adopted:
            rules.append(guard.no_row_number(table, f'NEW."{ROW_NUMBER}" <> -1'))
        rules.append(guard.of_id(table, "NEW"))
        if form.created_zone is None:
            created = replace(CREATED_AT, nullable=form.adopted)
            rules += guard.of_insert(table, created, adopted=form.adopted)
    for column in table.columns:
        rules += guard.of_insert(table, column, adopted=form.adopted)
    if table.fact:
        # The flag is looked at last, which saves a twentieth of the insert.
        any_broken = "\n  OR ".join(rule.broken for rule in rules)
        return _guard(table, "INSERT", rules, when=f"({any_broken}) AND {WRITING}")
    if not has_log(table, form):
        return _guard(table, "INSERT", rules)
    # In the guard, since each trigger more costs a twentieth of the insert.
    return _guard(table, "INSERT", rules, then=_log_displaced(table, form))


def _guard_update(table: Table, form: Form) -> tuple[str, str]:
    rules = [guard.foreign_site("OLD", table, form.site), *guard.never_changed(table)]
    rules.append(guard.of_id(table, "OLD"))
    if form.adopted:
        rules.append(guard.id_stays(table))
    else:
        moved = f'NEW."{ROW_NUMBER}" <> OLD."{ROW_NUMBER}"'
        rules.append(guard.no_row_number(table, moved))
    for column in table.columns:
        rules += guard.of_update(table, column, adopted=form.adopted, released_by=form.released_by)
    return _guard(table, "UPDATE", rules)


def _guard_delete(table: Table, form: Form) -> tuple[str, str]:
    return _guard(table, "DELETE", [guard.foreign_site("OLD", table, form.site)])


def _guard(
    table: Table,
    event: str,
    rules: Iterable[guard.Rule],
    *,
    when: str = WRITING,
    then: str | None = None,
) -> tuple[str, str]:
    cases = "".join(
        f"\n    WHEN {rule.broken}\n      THEN RAISE(ABORT, {literal(rule.message)})"
        for rule in rules
    )
    body = [f"SELECT CASE{cases}\n  END", *([then] if then else [])]
    return _trigger(table, f"guard_{event.lower()}", f"BEFORE {event}", body, when=when)


# --- capture ---------------------------------------------------------------------------------


def _capturing(table: Table, form: Form) -> Iterator[tuple[str, str]]:
    inserted = (
        _fill_and_log(table, form)
        if form.adopted
        else [_log_inserted(table, 'NEW."id"', _refusals(table, form))]
    )
    yield _trigger(table, "log_insert", "AFTER INSERT", inserted, when=WRITING)
    if table.append_only:
        return
    if form.keys:
        yield _log_displaced_by_update(table, form)
    yield _log_update(table, form)
    # What is displaced comes first: who reads the log takes a row that begins with I for a new one.
    displaced = _log(table, "X", "d", _displaced_by_update(table, form))
    rekeyed = [displaced, _log(table, "D", "OLD"), _log_inserted(table, 'NEW."id"')]
    changed = f'{WRITING} AND OLD."id" <> NEW."id"'
    yield _trigger(table, "log_rekey", 'BEFORE UPDATE OF "id"', rekeyed, when=changed)
    # BEFORE, so that the log keeps the order when a trigger of the plant's writes the same row.
    yield _trigger(table, "log_delete", "BEFORE DELETE", [_log(table, "D", "OLD")], when=WRITING)


def knock_on_triggers(table: Table, form: Form) -> list[str]:
    """Return the statements of a connection's own triggers that log what is written along there.

    The same as the lasting ones, but for when they act.
    """
    if not has_log(table, form):
        return []
    found = list(_capturing(table, form))
    if not table.append_only:
        displaced = [_log_displaced(table, form)]
        found.append(_trigger(table, "log_displaced", "BEFORE INSERT", displaced, when=WRITING))
    return [_of_connection(text, table) for _, text in found]


def _of_connection(text: str, table: Table) -> str:
    head, _, rest = text.partition(f" ON {quoted(table.name)}\n")
    row = "NEW" if " INSERT" in head else "OLD"
    knocked_on = f'{KNOCKED_ON}({row}."id", {row}."site_id")'
    head = head.replace('CREATE TRIGGER "_sync_', 'CREATE TEMP TRIGGER "_knock_on_')
    return f"{head} ON main.{quoted(table.name)}\n{rest.replace(WRITING, knocked_on)}"


def _log(table: Table, op: str, row: str, there: str = "") -> str:
    """Return the statement that logs whole rows: their keys, and what is lost with them."""
    key = {name: f"{row}.{quoted(name)}" for name in ("id", "site_id", "created_at")}
    lost = {f"o_{name}": f"{row}.{quoted(name)}" for name in table.names}
    mask = str((1 << len(table.names)) - 1)
    values = {"op": literal(op), **key, "mask": mask, "at_ms": NOW_MS, **lost}
    return _insert(table, values, there)


def _log_inserted(table: Table, row_id: str, mask: str = "0") -> str:
    """Return the statement that logs a new row; its values are read when it is drained."""
    return _insert(table, {"op": "'I'", "id": row_id, "mask": mask, "at_ms": NOW_MS})


def log_decided(table: Table, columns: Iterable[str]) -> str:
    """Return the statement that logs columns of the row ``?`` as decided by a person."""
    decided = tuple(columns)
    values = {"op": "'S'", "id": 'd."id"', "mask": str(table.mask(decided)), "at_ms": NOW_MS}
    values |= {f"o_{name}": f"d.{quoted(name)}" for name in decided}
    return _insert(table, values, f'FROM {quoted(table.name)} d WHERE d."id" = ?')


def _refusals(table: Table, form: Form) -> str:
    """Return an expression that refuses what is known only after an insert, and else is 0."""
    cases = _stepping_back(table, form)
    if not form.adopted:
        # -1 stands for no number before an insert.
        rule = guard.no_row_number(table, f'NEW."{ROW_NUMBER}" < 0')
        cases = f"\n      WHEN {rule.broken} THEN RAISE(ABORT, {literal(rule.message)}){cases}"
    return f"CASE{cases}\n      ELSE 0 END" if cases else "0"


def _stepping_back(table: Table, form: Form) -> str:
    """Return the case that refuses a row which took the place of one further in a lattice.

    After the insert: before it, a REPLACE looks like an upsert and an IGNORE, which are harmless.
    What it displaced is then the newest in the log, at most one X for each key and, where the
    program has recursive triggers, one D.
    """
    columns = [column for column in table.columns if column.order]
    if not columns or table.fact:
        return ""
    log, newest = quoted(log_name(table)), 2 * len(form.keys) + 1
    cases = ""
    for column in columns:
        old = f"d.{quoted('o_' + column.name)}"
        rule = guard.never_back(table, column, old=old, released_by=form.released_by)
        cases += (
            f"\n        WHEN {rule.broken}\n          THEN RAISE(ABORT, {literal(rule.message)})"
        )
    return (
        f"\n      WHEN (SELECT op FROM {log} ORDER BY seq DESC LIMIT 1) <> 'I' THEN coalesce((\n"
        f"        SELECT max(CASE{cases}\n        ELSE 0 END) FROM {log} d\n"
        f"        WHERE d.seq >= (SELECT max(seq) FROM {log}) - {newest}"
        f" AND d.op = 'X' AND d.id = NEW.\"id\"), 0)"
    )


def _fill_and_log(table: Table, form: Form) -> list[str]:
    """Return the statements that give a row of an adopted table its key, and log it.

    SQLite can't add a column whose default is an expression, so a trigger takes its place.
    """
    name = quoted(table.name)
    row_id = f'(SELECT d."id" FROM {name} d WHERE d.rowid = NEW.rowid)'
    filled = {"id": UUID7, "site_id": literal(form.site), "created_at": NOW}
    sets = ", ".join(f'"{column}" = coalesce("{column}", {new})' for column, new in filled.items())
    lacking = " OR ".join(f'"{column}" IS NULL' for column in filled)
    return [
        f"UPDATE {name} SET {sets}\n  WHERE rowid = NEW.rowid AND ({lacking})",
        _log_inserted(table, row_id, _refusals(table, form)),
    ]


def _insert(table: Table, values: dict[str, str], there: str = "") -> str:
    names = ", ".join(map(quoted, values))
    listed = ",\n    ".join(values.values())
    # VALUES where it can be: SQLite runs a SELECT there as a routine of its own.
    source = f"SELECT\n    {listed}\n  {there}" if there else f"VALUES (\n    {listed})"
    return f"INSERT INTO {quoted(log_name(table))}\n    ({names})\n  {source}"


def _same_key(key: Iterable[str]) -> str:
    return "(" + " AND ".join(f"d.{quoted(name)} = NEW.{quoted(name)}" for name in key) + ")"


def _log_displaced(table: Table, form: Form) -> str:
    """Return the statement that logs what an INSERT OR REPLACE would delete without a trigger."""
    clashes = " OR ".join(_same_key(key) for key in (("id",), *form.keys))
    return _log(table, "X", "d", f"FROM {quoted(table.name)} d WHERE {clashes}")


def _log_displaced_by_update(table: Table, form: Form) -> tuple[str, str]:
    """Log the rows that an UPDATE OR REPLACE of another key than the id would delete."""
    columns = dict.fromkeys(name for key in form.keys for name in key)
    there = _displaced_by_update(table, form)
    changed = f'OLD."id" = NEW."id" AND EXISTS (SELECT 1 {there})'
    event = f"BEFORE UPDATE OF {', '.join(map(quoted, columns))}"
    if form.adopted:
        # SQLite's number of a row has several names, by each of which a statement may set it.
        event = "BEFORE UPDATE"
        moved = " OR ".join(_changed(name, adopted=True) for name in columns)
        changed = f"({moved}) AND {changed}"
    return _trigger(
        table,
        "log_displaced_by_update",
        event,
        [_log(table, "X", "d", there)],
        when=f"{changed} AND {WRITING}",
    )


def _displaced_by_update(table: Table, form: Form) -> str:
    clashes = " OR ".join(_same_key(key) for key in (("id",), *form.keys))
    return f'FROM {quoted(table.name)} d WHERE ({clashes}) AND d."id" <> OLD."id"'


def _log_update(table: Table, form: Form) -> tuple[str, str]:
    changed = {name: _changed(name, adopted=form.adopted) for name in table.names}
    # SQLite gives << and | the same precedence.
    bits = [f"({test} << {bit})" for bit, test in enumerate(changed.values())]
    values = {"op": "'U'", "id": 'OLD."id"', "mask": "\n    | ".join(bits), "at_ms": NOW_MS}
    for name, test in changed.items():
        values[f"o_{name}"] = f"CASE WHEN {test} THEN OLD.{quoted(name)} END"
    any_changed = "\n  OR ".join(changed.values())
    return _trigger(
        table,
        "log_update",
        "BEFORE UPDATE",
        [_insert(table, values)],
        when=f'{WRITING} AND OLD."id" = NEW."id" AND (\n  {any_changed})',
    )


def _changed(name: str, *, adopted: bool) -> str:
    """Return the test of whether a column's value changed, to the byte."""
    column = quoted(name)
    if not adopted:
        return f"(OLD.{column} IS NOT NEW.{column})"
    # The plant's own column may fold case or hold values of several types, 1 and 1.0.
    return (
        f"(OLD.{column} IS NOT NEW.{column} COLLATE BINARY"
        f" OR typeof(OLD.{column}) <> typeof(NEW.{column}))"
    )


def _trigger(
    table: Table, what: str, event: str, body: Iterable[str], *, when: str
) -> tuple[str, str]:
    name = f"_sync_{table.name}_{what}"
    lines = "".join(f"\n  {statement};" for statement in body)
    head = f"CREATE TRIGGER {quoted(name)} {event} ON {quoted(table.name)}"
    return name, f"{head}\nWHEN {when}\nBEGIN{lines}\nEND"
