"""How the centre reads rows: SQL expressions that give each value in its canonical form.

``shared.values`` says what the form is. PostgreSQL makes it, so that rows read for a feed, a
snapshot or a conflict never pass through a Python conversion value by value. For
``COPY … TO STDOUT`` every expression is text; ``parse_copy`` turns whole columns back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.catalog import COMMON, Column, Kind, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.changes import Value

_FORMS = {
    Kind.UUID: "{0}::text",
    Kind.TEXT: "{0}::text",
    Kind.INTEGER: "{0}::bigint",
    Kind.DECIMAL: "trim_scale({0})::text",
    Kind.FLOAT: "({0}::float8 + 0)",  # so that -0 is 0
    Kind.BOOLEAN: "{0}::int",
    Kind.TIMESTAMP: """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
    Kind.DATE: "to_char({0}, 'YYYY-MM-DD')",
    Kind.TIME: "to_char({0}, 'HH24:MI')",
    Kind.JSON: "{0}::text",
    Kind.SET: "{0}::text",
    Kind.BYTES: "{0}",
}

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def expression(kind: Kind, column: str) -> str:
    """Return the SQL expression that gives a column's value in canonical form."""
    return _FORMS[kind].format(column)


def key_expressions(alias: str = "t") -> str:
    """Return the expressions of site_id, created_at and id, in this order."""
    created = expression(Kind.TIMESTAMP, f"{alias}.created_at")
    return f"{alias}.site_id::text, {created}, {alias}.id::text"


def column_expressions(columns: Sequence[Column], alias: str = "t") -> str:
    """Return the expressions of business columns, in their order."""
    return ", ".join(expression(c.type.kind, f'{alias}."{c.name}"') for c in columns)


def kept_expressions(table: Table, kept: str, alias: str) -> str:
    """Return the expressions of business columns of a row that ``as_jsonb`` has kept.

    ``kept`` is it, by the names of now, and ``alias`` what it was made into again.
    """
    return ", ".join(
        f"{kept}->>'{c.name}'" if c.type.kind is Kind.JSON else column_expressions([c], alias)
        for c in table.columns
    )


def by_names_now(table: Table, kept: str) -> str:
    """Return the expression of values kept as jsonb, by the names that their columns have now."""
    names = [(earlier, c.name) for c in table.columns for earlier in c.renamed_from]
    if not names:
        return kept
    listed = ", ".join(f"('{earlier}', '{now}')" for earlier, now in names)
    return (
        "(SELECT jsonb_object_agg(coalesce(n.now, e.key), e.value)"  # noqa: S608, all ours
        f" FROM jsonb_each({kept}) AS e LEFT JOIN (VALUES {listed}) AS n (was, now)"
        " ON n.was = e.key)"
    )


def as_jsonb(table: Table, alias: str) -> str:
    """Return the expression that gives a row as jsonb, its JSON columns as texts.

    jsonb refuses some texts that are JSON: an escaped NUL, ``1e999999``.
    """
    if all(column.type.kind is not Kind.JSON for column in table.columns):
        return f"to_jsonb({alias})"
    columns = (*COMMON, *table.columns)
    names = ", ".join(column.name for column in columns)
    values = ", ".join(
        f"{alias}.{c.name}::text" if c.type.kind is Kind.JSON else f"{alias}.{c.name}"
        for c in columns
    )
    return f"(SELECT to_jsonb(r) FROM (SELECT {values}) AS r ({names}))"  # noqa: S608


def sites_of(table: Table, values: Sequence[Value], site_id: str) -> frozenset[str]:
    """Return the sites whose share holds a row, ``SHARED`` among them when all do."""
    found: set[str] = set()
    for name in table.share:
        value = site_id if name == "site_id" else values[table.bit(name)]
        if value is None:
            continue
        text = str(value)
        # A set of sites is a canonical JSON array; site names need no escapes in it.
        found.update(text[2:-2].split('","') if text.startswith('["') else [text])
    return frozenset(found - {"", "[]"})


def parse_copy(text: str, kinds: Sequence[Kind | None]) -> list[list[Value]]:
    """Return the columns of a block of COPY text; a kind of None keeps the text as it is."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    columns = [list(c) for c in zip(*(line.split("\t") for line in lines), strict=True)]
    escaped = "\\" in text
    return [
        _parse_column(column, kind, escaped) for column, kind in zip(columns, kinds, strict=True)
    ]


def _parse_column(column: list[str], kind: Kind | None, escaped: bool) -> list[Value]:  # noqa: FBT001
    if kind in (Kind.INTEGER, Kind.BOOLEAN):
        return [None if v == "\\N" else int(v) for v in column]
    if kind is Kind.FLOAT:
        return [None if v == "\\N" else float(v) for v in column]
    if kind is Kind.BYTES:
        return [None if v == "\\N" else bytes.fromhex(v.removeprefix("\\\\x")) for v in column]
    if not escaped:
        return list(column)
    return [None if v == "\\N" else _unescape(v) if "\\" in v else v for v in column]


def _unescape(value: str) -> str:
    pieces = value.split("\\")
    text, skip = [pieces[0]], False
    for number, piece in enumerate(pieces[1:], 1):
        if skip:  # the piece after an escaped backslash has no escape of its own
            text.append(piece)
            skip = False
        elif piece:
            text.append(_ESCAPES.get(piece[0], piece[0]) + piece[1:])
        elif number < len(pieces) - 1:
            text.append("\\")
            skip = True
    return "".join(text)
