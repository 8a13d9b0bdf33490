"""What two sides wrote at once, as both ends have it. Pure.

A conflict is named by its id, the id of its review, or by the last characters of either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.catalog import Table
    from shared.changes import Value

#: Characters by which people name a conflict: enough for a few thousand of them.
SHORT: Final = 8
_NAME: Final = re.compile(r"[0-9a-f-]{4,36}")

#: An instant, as an end's store gives it.
When = TypeVar("When")


class UnknownConflict(SyncError):
    """There is no such conflict; `conflicts list --all` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side(Generic[When]):
    """What one side wrote."""

    #: By column; empty where the side deleted the row, None where nobody knows.
    value: Mapping[str, Value] | None
    #: A site, or ``*`` for the centre.
    site: str | None
    #: The person, where the table or the session names one.
    writer: str | None
    #: When, by the site's clock corrected; None where what stood is older than the base.
    at: When | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review(Generic[When]):
    """What a person has to decide, or has decided."""

    id: str
    state: str
    #: What stands meanwhile.
    shown: Mapping[str, Value] | None
    take: str | None
    value: Mapping[str, Value] | None
    decided_by: str | None
    reason: str | None
    decided_at: When | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Generic[When]):
    """One conflict of the history; each end adds what it alone knows of it."""

    id: str
    table: str
    row_id: str
    #: The row's natural key, where it has one and stands.
    key: str | None
    group: str
    #: The policy that decided, or ``delete`` where a side deleted the row.
    policy: str
    verdict: str
    base: Mapping[str, Value] | None
    here: Side[When]
    central: Side[When]
    result: Mapping[str, Value] | None
    #: A clock ran ahead and was held to the drift bound.
    clock_clamped: bool
    tx_id: str | None
    decided_at: When
    review: Review[When] | None

    @property
    def state(self) -> str:
        """Return whether it waits for a person, was decided by one, or by its policy."""
        if self.review is None:
            return "decided"
        return "open" if self.review.state == "OPEN" else "resolved"

    @property
    def short(self) -> str:
        """Return the end of the id, by which people name it."""
        return self.id[-SHORT:]

    @property
    def row(self) -> str:
        """Return table and key of the row, as people name it."""
        return f"{self.table} {self.key or self.row_id}"


def recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a Record but its key, of a row of the history joined with its review."""
    return {
        "id": row["id"],
        "table": row["table_name"],
        "row_id": row["row_id"],
        "group": row["column_group"],
        "policy": row["policy"],
        "verdict": row["verdict"],
        "base": row["base_value"],
        "here": _side(row, "here"),
        "central": _side(row, "central"),
        "result": row["result_value"],
        "clock_clamped": bool(row["clock_clamped"]),
        "tx_id": row["tx_id"],
        "decided_at": row["decided_at"],
        "review": _review(row),
    }


def _side(row: Mapping[str, Any], name: str) -> Side[Any]:
    return Side(
        value=row[f"{name}_value"],
        site=row[f"{name}_site"],
        writer=row[f"{name}_writer"],
        at=row[f"{name}_at"],
    )


def _review(row: Mapping[str, Any]) -> Review[Any] | None:
    if row["review_id"] is None or row["state"] is None:
        return None
    return Review(
        id=row["review_id"],
        state=row["state"],
        shown=row["shown_value"],
        take=row["take"],
        value=row["taken"],
        decided_by=row["decided_by"],
        reason=row["reason"],
        decided_at=row["taken_at"],
    )


def check_name(name: str) -> None:
    """Raise UnknownConflict where the text can't be the name of a conflict."""
    if not _NAME.fullmatch(name):
        raise UnknownConflict(
            f"{name!r} names no conflict: give an id, or at least its last 4 characters"
        )


_Found = TypeVar("_Found", bound=Record[Any])


def the_one(found: Sequence[_Found], name: str, *, command: str) -> _Found:
    """Return what was found by a name; raise UnknownConflict where that is nothing, or several."""
    if not found:
        raise UnknownConflict(f"no conflict {name}; see `{command} conflicts list --all`")
    if len(found) > 1:
        raise UnknownConflict(f"{name} names several: {', '.join(each.id for each in found)}")
    return found[0]


def group_columns(table: Table, conflict: Record[Any]) -> tuple[str, ...]:
    """Return the columns that were in conflict, by the names that they have now."""
    known = {group.name: group.columns for group in table.groups}
    if conflict.group in known:
        return known[conflict.group]
    named = dict.fromkeys([*(conflict.here.value or {}), *(conflict.central.value or {})])
    return tuple(table.current_name(name) for name in named)
