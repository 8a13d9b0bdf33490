"""What both commands are given: spans of time, choices, files of settings; and what is wrong."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from shared.errors import BadSetting
from shared.reviews import TAKES

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def span(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """Return a span of time such as ``90m``, ``24h`` or ``7d``; a callback of an option."""
    if value is None:
        return None
    if value[:-1].isdigit() and value[-1:] in _UNITS:
        return timedelta(**{_UNITS[value[-1]]: int(value[:-1])})
    raise click.BadParameter(f"{value!r} is no span of time; write 90m, 24h or 7d", ctx, param)


def taken(text: str) -> tuple[str, str]:
    """Return whose value is taken, and what follows ``value=``; of the option ``--take``."""
    word, equals, rest = text.partition("=")
    if word not in TAKES or bool(equals) != (word == "value"):
        raise click.BadParameter("here, central or value=... is expected", param_hint="--take")
    return word, rest


def own_value(text: str, columns: tuple[str, ...]) -> dict[str, Any] | None:
    """Return a person's own value; a text that is no JSON object is that of the only column.

    None where there are several columns and the text is no object.
    """
    value = _object(text)
    if value is None and len(columns) == 1:
        return {columns[0]: None if text == "null" else text}
    return value


def _object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError as why:
        raise click.BadParameter(f"not JSON: {why}", param_hint="--take") from why
    return found if isinstance(found, dict) else None


def read_environment(text: str, name: str) -> Mapping[str, str]:
    """Return the variables of a file of NAME=value lines; raise BadSetting naming a bad line."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        variable, equals, value = bare.partition("=")
        if not equals or not variable.isidentifier():
            raise BadSetting(f"{name}, line {number}: NAME=value is expected")
        found[variable] = _unquoted(value.strip())
    return found


def _unquoted(text: str) -> str:
    """Return a value without the quotes around all of it; those within stay."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text
