"""What two sides wrote at once, in the words of both commands. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.catalog import Table


class _Side(Protocol):
    @property
    def value(self) -> Mapping[str, Any] | None: ...


class Sided(Protocol):
    """A record of the history, as either end has it."""

    @property
    def group(self) -> str:
        """Return the name of the group of columns."""
        ...

    @property
    def here(self) -> _Side:
        """Return what the site wrote."""
        ...

    @property
    def central(self) -> _Side:
        """Return what stood at the centre."""
        ...


def group_columns(table: Table, conflict: Sided) -> tuple[str, ...]:
    """Return the columns that were in conflict, by the names that they have now."""
    known = {group.name: group.columns for group in table.groups}
    if conflict.group in known:
        return known[conflict.group]
    named = dict.fromkeys([*(conflict.here.value or {}), *(conflict.central.value or {})])
    return tuple(table.current_name(name) for name in named)


def brief(value: Mapping[str, Any] | None) -> str:
    """Return a side's value in a few characters; a lone column's without its name."""
    if value is None:
        return "-"
    if not value:
        return "deleted"
    return ", ".join("null" if v is None else str(v) for v in value.values())


def in_full(value: Mapping[str, Any] | None) -> str:
    """Return a side's value with the names of its columns."""
    if value is None:
        return "not known"
    if not value:
        return "no row"
    return "  ".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())


def effect(before: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return what a decision changes in the row that stands."""
    return "; ".join(
        f"{name} {json.dumps(before.get(name), ensure_ascii=False)} -> "
        f"{json.dumps(value, ensure_ascii=False)}"
        for name, value in changes.items()
    ) or "nothing, it stands already"  # fmt: skip
