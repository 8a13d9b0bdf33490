"""Settings: frozen dataclasses, read once from the environment, documented by their own fields.

The field ``batch_rows_max`` is the variable ``MES_BATCH_ROWS_MAX``.
Secrets are never settings: a setting names the file that holds them.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from shared.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "MES_"
#: Where the commands take their settings from.
WHERE = "in the environment, or in a file: --env-file FILE, before the command's name"

Settings = TypeVar("Settings")


def variable(name: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + name.upper()


def read_settings(
    kind: type[Settings], environment: Mapping[str, str], *, where: str = WHERE, **given: Any
) -> Settings:
    """Return the settings; ``given`` ones (from a command line) go before the environment.

    Raises ``BadSetting`` that names every variable that is missing or can't be read, and ``where``
    a person sets those that are missing.
    """
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    hints = get_type_hints(kind)
    wrong, missing = [], []
    for each in fields(kind):  # type: ignore[arg-type]
        name = variable(each.name)
        if each.name in values:
            continue
        if name in environment:
            try:
                values[each.name] = _parse(hints[each.name], environment[name])
            except ValueError:
                wrong.append(f"{name}={environment[name]!r} is not {hints[each.name]}")
        elif each.default is MISSING and each.default_factory is MISSING:
            missing.append(f"{name} is not set: {each.metadata.get('help', each.name)}")
    if missing:
        wrong += [*missing[:-1], f"{missing[-1]}. Set {_it(missing)} {where}"]
    if wrong:
        raise BadSetting("; ".join(wrong))
    return kind(**values)


def _it(named: Sequence[str]) -> str:
    return "it" if len(named) == 1 else "them"


def _parse(hint: Any, text: str) -> Any:
    known: dict[Any, Any] = {str: str, int: int, float: float, Path: Path, bool: _flag}
    for plain, parse in known.items():
        if hint is plain or hint == plain | None:
            return parse(text)
    if hint == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if hint == tuple[Path, ...]:
        return tuple(Path(part) for part in text.split(":") if part)
    raise ValueError(text)


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(text)
