"""Columns of canonical values as PostgreSQL reads them: COPY text and array literals.

Whole columns are joined at once. A value is looked at by itself only where a quick search of its
column finds something that needs an escape.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from shared.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shared.changes import Value

#: The type of an array of each kind's values.
ARRAYS: Final = {
    Kind.UUID: "uuid[]",
    Kind.TEXT: "text[]",
    Kind.INTEGER: "bigint[]",
    Kind.DECIMAL: "numeric[]",
    Kind.FLOAT: "float8[]",
    Kind.BOOLEAN: "boolean[]",
    Kind.TIMESTAMP: "timestamptz[]",
    Kind.DATE: "date[]",
    Kind.TIME: "time[]",
    Kind.JSON: "json[]",
    Kind.SET: "text[]",
    Kind.BYTES: "bytea[]",
}

#: Kinds whose texts may hold any character.
_FREE: Final = frozenset({Kind.TEXT, Kind.JSON, Kind.SET, Kind.BYTES})
_COPY_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ARRAY_ESCAPES: Final = {"\\": "\\\\", '"': '\\"'}


def copy_text(columns: Iterable[tuple[Kind, Sequence[Value]]], rows: int) -> bytes:
    """Return the rows of these columns in COPY's text format, each ending in a newline."""
    if not rows:
        return b""
    texts = [_copy_column(kind, values) for kind, values in columns]
    return ("\n".join(map("\t".join, zip(*texts, strict=True))) + "\n").encode()


def _copy_column(kind: Kind, values: Sequence[Value]) -> Iterable[str]:
    first = values[0]
    if first is values[-1] and values.count(first) == len(values):
        (text,) = _escaped(kind, [first], _COPY_ESCAPES)
        return repeat("\\N" if text is None else text, len(values))
    texts: list[Any] = _escaped(kind, values, _COPY_ESCAPES)
    return ["\\N" if text is None else text for text in texts] if None in texts else texts


def array(kind: Kind, values: Sequence[Value]) -> str:
    """Return the literal of an array, to be cast to ``ARRAYS[kind]``."""
    texts: list[Any] = _escaped(kind, values, _ARRAY_ESCAPES)
    if None in texts:
        quote = '"' if kind in _FREE else ""
        texts = ["NULL" if text is None else f"{quote}{text}{quote}" for text in texts]
    elif kind in _FREE and texts:
        return '{"' + '","'.join(texts) + '"}'
    return "{" + ",".join(texts) + "}"


def _escaped(kind: Kind, values: Sequence[Value], escapes: Mapping[str, str]) -> list[str | None]:
    texts = _texts(kind, values)
    if kind in _FREE:
        joined = "".join(filter(None, texts))
        found = [special for special in escapes if special in joined]
        if found:
            return [text and _replaced(text, found, escapes) for text in texts]
    return texts


def _replaced(text: str, found: Iterable[str], escapes: Mapping[str, str]) -> str:
    # Ten times as fast as str.translate. The backslash is the first of them.
    for special in found:
        text = text.replace(special, escapes[special])
    return text


def _texts(kind: Kind, values: Sequence[Value]) -> list[str | None]:
    """Return the values as PostgreSQL's input functions take them; null stays None."""
    shape = _SHAPES.get(kind)
    if shape is None:
        return list(values)  # type: ignore[arg-type]
    distinct = set(values) - {None}
    if len(distinct) < len(values) // 2:
        shape = {value: shape(value) for value in distinct}.__getitem__
    if None in values:
        return [None if value is None else shape(value) for value in values]
    return list(map(shape, values))


_SHAPES: Final[dict[Kind, Callable[[Value], str]]] = {
    Kind.INTEGER: str,
    Kind.BOOLEAN: str,
    Kind.FLOAT: repr,
    Kind.BYTES: lambda value: "\\x" + bytes(value).hex(),  # type: ignore[arg-type]
}
