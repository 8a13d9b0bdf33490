"""The rules that a catalogue keeps, whoever wrote it.

``broken_rules`` returns every breach as one line that names the file, the table, the column, the
rule and the next step.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from shared.catalog import (
    COLUMNS_MAX,
    COMMON,
    Catalog,
    Column,
    Direction,
    Group,
    Kind,
    Policy,
    Table,
)
from shared.errors import CatalogError
from shared.values import rule_broken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NUMBERS: Final = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT})
ORDERED: Final = NUMBERS | {Kind.BOOLEAN, Kind.TIMESTAMP, Kind.DATE, Kind.TIME}
#: The kinds that a policy can decide on; every kind where it is not listed.
_KINDS: Final[Mapping[Policy, frozenset[Kind]]] = {
    Policy.SUM: frozenset({Kind.INTEGER, Kind.DECIMAL}),
    Policy.MAX: ORDERED,
    Policy.MIN: ORDERED,
    Policy.LATTICE: frozenset({Kind.TEXT, Kind.BOOLEAN}),
    Policy.ADD_REMOVE_SET: frozenset({Kind.SET}),
}
_SAFE: Final = ("keep_site", "smaller", "larger")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
#: Words that need quotes in SQLite or PostgreSQL; people write to these tables in plain SQL.
_RESERVED: Final = frozenset(
    re.findall(
        "[a-z_]+",
        """
        add all alter analyse analyze and any array as asc asymmetric authorization
        autoincrement between binary both case cast check collate collation column commit
        concurrently constraint create cross current_catalog current_date current_role
        current_schema current_time current_timestamp current_user default deferrable delete
        desc distinct do drop else end escape except exists false fetch for foreign freeze from
        full grant group having if ilike in index initially inner insert intersect into is
        isnull join lateral leading left like limit localtime localtimestamp natural not nothing
        notnull null offset on only or order outer overlaps placing primary raise references
        returning right select session_user set similar some symmetric system_user table
        tablesample then to trailing transaction true union unique update user using values
        variadic verbose when where window with
        """,
    )
)
#: Prefixes that the system's own tables and columns, and the databases, keep for themselves.
_RESERVED_PREFIXES: Final = ("sync_", "sqlite_", "pg_")
SYSTEM_FILE: Final = "system.toml"
#: Bytes of a natural key's values. PostgreSQL's indexes hold 2,704 bytes an entry, site included.
KEY_BYTES_MAX: Final = 2_000
#: Characters of a text: no site writes a longer one, and PostgreSQL knows no much longer type.
TEXT_CHARACTERS_MAX: Final = 4_000_000
#: UTF-8 needs as many for a character.
_CHARACTER_BYTES: Final = 4
#: Bytes that the value of a kind without a length takes as text, at most.
_BYTES: Final[Mapping[Kind, int]] = {
    Kind.UUID: 36,
    Kind.INTEGER: 20,
    Kind.DECIMAL: 41,
    Kind.FLOAT: 24,
    Kind.BOOLEAN: 5,
    Kind.TIMESTAMP: 24,
    Kind.DATE: 10,
    Kind.TIME: 5,
}


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table with the name and the version of the file that declares it."""

    file: str
    version: int
    table: Table


def broken_rules(found: Sequence[TableFile]) -> list[str]:
    """Return every breach of a rule, as lines for the person who wrote the file."""
    by_name = {item.table.name: item.table for item in found}
    lines = list(_twice_declared(found))
    for item in found:
        place = f"{item.file}: table {item.table.name}"
        lines += [f"{place}: {rule}" for rule in _of_table(item, by_name)]
        for column in item.table.columns:
            rules = _of_column(item.table, column, by_name)
            lines += [f"{place}, column {column.name}: {rule}" for rule in rules]
    if not lines:
        try:
            Catalog(0, tuple(by_name.values()))
        except CatalogError as error:
            lines.append(f"{', '.join(sorted({item.file for item in found}))}: {error}")
    return lines


def _twice_declared(found: Sequence[TableFile]) -> Iterator[str]:
    first: dict[str, str] = {}
    for item in found:
        name = item.table.name
        if name in first:
            yield f"{item.file}: table {name}: already declared in {first[name]}; rename one"
        first.setdefault(name, item.file)


# --- a table ---------------------------------------------------------------------------------


def _of_table(item: TableFile, tables: Mapping[str, Table]) -> Iterator[str]:
    table = item.table
    yield from _of_name(table.name, system=item.file == SYSTEM_FILE)
    if table.direction is Direction.UP and not table.append_only:
        yield 'rows that change travel both ways; write direction = "both" and policy = "site"'
    if table.two_way and table.append_only:
        yield 'rows that never change have one source; write direction = "up" or "down"'
    if table.shared_only and table.direction is not Direction.DOWN:
        yield "sites write such rows, and theirs are their own; drop shared_only"
    yield from _of_versions(table, item.version)
    yield from _of_columns(table)
    yield from _of_share(table)
    yield from _of_natural_keys(table)
    yield from _of_groups(table)
    yield from _of_relaxing(table, tables)


def _of_versions(table: Table, version: int) -> Iterator[str]:
    for name, since in ((table.name, table.since), *((c.name, c.since) for c in table.columns)):
        if not 1 <= since <= version:
            yield f"{name} has since = {since}, the file has version = {version}; raise that"
    for earlier, later in pairwise(table.columns):
        if later.since < earlier.since:
            yield f"column {later.name} is older than {earlier.name} before it; append new columns"


def _of_columns(table: Table) -> Iterator[str]:
    if not 1 <= len(table.columns) <= COLUMNS_MAX:
        yield f"{len(table.columns)} columns; 1 to {COLUMNS_MAX} are allowed, split the table"
    names = [name for column in table.columns for name in (column.name, *column.renamed_from)]
    for name in _repeated(names):
        yield f"column name {name} is used twice, counting renamed_from; choose another"
    if len([column for column in table.columns if column.writer]) > 1:
        yield "more than one column is marked writer; keep one"


def _of_name(name: str, *, system: bool = False) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"the name {name!r} is not lower-case letters, digits and _, at most 40; rename it"
    if name in _RESERVED:
        yield f"the name {name} is a word of SQL; choose another"
    if not system and name.startswith(_RESERVED_PREFIXES):
        yield f"names that begin with {', '.join(_RESERVED_PREFIXES)} are kept; choose another"


def _of_share(table: Table) -> Iterator[str]:
    for name in table.share:
        column = _find(table, name)
        if column is None:
            yield f"share names column {name}, which it has not; name one of its columns or site_id"
        elif column.type.kind not in {Kind.TEXT, Kind.SET}:
            yield f"share column {name} is {column.type.kind}; only text and set can name sites"
    if not table.share:
        yield 'share is empty, so no site would get a row; write share = ["site_id"]'


def _of_natural_keys(table: Table) -> Iterator[str]:
    for key in table.natural_keys:
        for name in key:
            column = _find(table, name)
            if column is None:
                yield f"natural key column {name} is not a column of it; correct the name"
            elif column.nullable:
                yield f"natural key column {name} may be null, so it is not unique; add required"
        if not key or "site_id" in key:
            yield "a natural key is unique within its site already; list its other columns only"
        yield from _of_key_length([c for name in key if (c := _find(table, name)) is not None])


def _of_key_length(key: Sequence[Column]) -> Iterator[str]:
    """Refuse keys too long for the index that holds them: their rows could never be applied."""
    sizes = [_bytes_max(column) for column in key]
    for column, size in zip(key, sizes, strict=True):
        if size is None:
            kind, most = column.type.kind, KEY_BYTES_MAX // _CHARACTER_BYTES
            yield (
                f"natural key column {column.name} is {kind} of any length, which no index holds;"
                f' write type = "text(40)", or another length up to {most}'
            )
    total = sum(size or 0 for size in sizes)
    if total > KEY_BYTES_MAX:
        names = ", ".join(column.name for column in key)
        yield (
            f"the natural key {names} may take {total} bytes, {_CHARACTER_BYTES} a character; an"
            f" index holds {KEY_BYTES_MAX}, so shorten its texts or leave a column out"
        )


def _bytes_max(column: Column) -> int | None:
    """Return the bytes that a value takes at most, None where there is no limit."""
    if column.type.kind is not Kind.TEXT:
        return _BYTES.get(column.type.kind)
    characters = column.type.length
    if characters is None and column.allowed:
        characters = max(map(len, column.allowed))
    return None if characters is None else characters * _CHARACTER_BYTES


def _of_groups(table: Table) -> Iterator[str]:
    for name in _repeated(name for group in table.groups for name in group.columns):
        yield f"column {name} is in two groups; leave it in one"
    for name in _repeated(group.name for group in table.groups):
        yield f"group name {name} is used twice, or is a column's; choose another"
    for group in table.groups:
        if not _NAME.fullmatch(group.name):
            yield f"the group name {group.name!r} is not lower-case letters and digits; rename it"
        yield from _of_group(table, group)


def _of_group(table: Table, group: Group) -> Iterator[str]:
    for name in group.columns:
        column = _find(table, name)
        if column is None or column in COMMON:
            yield f"group {group.name}: {name} is not a business column of it; correct the name"
        elif column.writer and len(group.columns) > 1:
            yield f"group {group.name}: {name} is marked writer, which goes with any write; drop it"
    if group.policy in {Policy.SUM, Policy.ADD_REMOVE_SET} and len(group.columns) > 1:
        yield f"group {group.name}: {group.policy} is decided column by column; drop the group"


def _of_relaxing(table: Table, tables: Mapping[str, Table]) -> Iterator[str]:
    if table.relax_by is None:
        return
    signed = tables.get(table.relax_by)
    if not table.lattice_columns:
        yield "relax_by is given but no column is a lattice; drop it"
    if signed is None or not signed.append_only:
        yield f"relax_by names {table.relax_by}, which is not an append-only table; declare it"
        return
    if not any(column.references == table.name for column in signed.columns):
        yield f"relax_by: {signed.name} has no column that references {table.name}; add one"
    for name in ("from_state", "to_state"):
        if name not in signed.names:
            yield f"relax_by: {signed.name} has no column {name}; add it"


# --- a column --------------------------------------------------------------------------------


def _of_column(table: Table, column: Column, tables: Mapping[str, Table]) -> Iterator[str]:
    yield from _of_name(column.name)
    if column.name in {common.name for common in COMMON}:
        yield "every table has this column already; drop it here"
    yield from _of_type(column)
    yield from _of_codes(column)
    yield from _of_policy(table, column)
    yield from _of_reference(table, column, tables)
    if column.default is not None and (rule := rule_broken(column, column.default)):
        yield f"the default breaks the column's own rule: {rule}"
    if column.since > table.since and not column.nullable and column.default is None:
        yield "a column added later is required but has no default for the rows there are; add one"
    if column.writer and column.type.kind is not Kind.TEXT:
        yield 'a writer column holds a name or number; write type = "text(80)"'


def _of_type(column: Column) -> Iterator[str]:
    type_ = column.type
    if type_.kind is Kind.TEXT and type_.length == 0:
        yield "text(0) holds nothing; give the characters that are allowed"
    if type_.length is not None and type_.length > TEXT_CHARACTERS_MAX:
        yield f"{type_}: at most {TEXT_CHARACTERS_MAX} characters; leave the length out"
    if type_.kind is Kind.DECIMAL and not 0 <= (type_.scale or 0) <= (type_.precision or 0) <= 38:
        yield f"{type_}: write decimal(digits,after the point), 38 digits at most"
    if type_.kind not in NUMBERS and not (type_.low is None and type_.high is None):
        yield f"low and high are for numbers, not for {type_.kind}; drop them"
    if type_.low is not None and type_.high is not None and type_.low > type_.high:
        yield f"low {type_.low} is above high {type_.high}; swap them"


def _of_codes(column: Column) -> Iterator[str]:
    type_ = column.type
    if column.allowed and type_.kind is not Kind.TEXT and column.policy is not Policy.LATTICE:
        yield f"values and order are for text, not for {type_.kind}; drop them"
    for value in column.allowed:
        if type_.length is not None and len(value) > type_.length:
            yield f"the value {value!r} is longer than {type_}; lengthen the type"
        if "\x00" in value:
            yield f"the value {value!r} holds a NUL, which no text does; take it out"
    for value in _repeated(column.allowed):
        yield f"the value {value!r} is listed twice; drop one"


def _of_policy(table: Table, column: Column) -> Iterator[str]:
    policy, kind = column.policy, column.type.kind
    if kind not in _KINDS.get(policy, frozenset(Kind)) and _leads(table, column):
        yield f"policy {policy} can't decide on {kind}; choose another policy or type"
    if (policy is Policy.APPEND_ONLY) is not table.append_only:
        yield f"policy {policy} in a table with append_only = {str(table.append_only).lower()}"
    if column.order and (policy is not Policy.LATTICE or column.values):
        yield "order is for policy lattice, and takes the place of values; drop one of them"
    if policy is Policy.LATTICE and _leads(table, column) and len(column.order) < 2:
        yield "a lattice needs its states, lowest first; add order"
    if policy is Policy.SUM and (column.nullable or column.default is None):
        yield "a sum starts from a number; add required = true and default = 0"
    yield from _of_review(column)


def _of_review(column: Column) -> Iterator[str]:
    policy, kind = column.policy, column.type.kind
    if policy is Policy.REVIEW and kind is Kind.BYTES:
        yield "policy review shows a person both values, and bytes can't be read; choose another"
    if column.safe is not None and (policy is not Policy.REVIEW or column.safe not in _SAFE):
        yield f"safe is for policy review, one of {', '.join(_SAFE)}; drop or correct it"
    if column.safe in {"smaller", "larger"} and kind not in ORDERED:
        yield f'{kind} has no smaller and larger; write safe = "keep_site"'


def _leads(table: Table, column: Column) -> bool:
    """Return whether its group's policy is decided on this column; the others go with it."""
    return table.group_of(column.name).columns[0] == column.name


def _of_reference(table: Table, column: Column, tables: Mapping[str, Table]) -> Iterator[str]:
    if column.references is None:
        if column.enforced:
            yield "enforced needs references; name the parent table"
        return
    if column.references not in tables:
        yield f"references {column.references}, which no file declares; correct the name"
    if column.type.kind is not Kind.UUID:
        yield 'a reference holds the id of a row; write type = "uuid"'
    if column.enforced and column.references == table.name:
        yield "a table can't wait for its own rows; drop enforced"


def _find(table: Table, name: str) -> Column | None:
    return next((column for column in (*COMMON, *table.columns) if column.name == name), None)


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
