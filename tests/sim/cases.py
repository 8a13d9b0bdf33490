"""One group of columns in one write: who wrote it, whose value is the later, the larger, the safer.

Part of the second writing of the policies; see ``tests.sim.verdicts``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.catalog import Column, Group, Table

Values = dict[str, Any]
CENTRE = "*"


#: When something was touched, and whether its clock had to be held to the bound.
Moment = tuple[int, bool]


class CannotHold(Exception):
    """Both changes together make a value that the column can't hold."""


@dataclass(frozen=True)
class By:
    """Who wrote, and when."""

    site: str
    at_ms: int
    clamped: bool = False
    writer: str | None = None

    @property
    def clock(self) -> tuple[int, str]:
        """What the later of two writes is told by."""
        return self.at_ms, self.site


@dataclass(eq=False)
class Past:
    """One version of a row that the centre decided."""

    name: str
    op: str
    columns: frozenset[str]
    by: By
    overruled: frozenset[str] = frozenset()
    contested: frozenset[str] = frozenset()
    #: Clock of the site's drain; 0 for the centre's own.
    hlc: int = 0
    #: Of columns that were last touched at another time than the row.
    times: dict[str, Moment] = field(default_factory=dict)
    #: Made by a store that went back to an older copy of itself, which has not seen it.
    is_lost: bool = False
    #: Not of a change that was parked.
    counts: bool = True

    @property
    def site(self) -> str:
        """Where it was written."""
        return self.by.site


@dataclass(frozen=True)
class Wish:
    """A change of one row that a site sent."""

    op: str
    tx_id: str
    by: By
    new: Values
    old: Values
    relaxed: frozenset[str] = frozenset()
    times: dict[str, Moment] = field(default_factory=dict)
    #: Its own site's that it has not seen all the same: it was parked while they were made.
    unseen: frozenset[Past] = frozenset()

    @property
    def site(self) -> str:
        """Where it was written."""
        return self.by.site


@dataclass
class Note:
    """A record of the history that has to be there."""

    group: str
    policy: str
    verdict: str
    columns: tuple[str, ...]
    base: Values | None
    here: Values
    central: Values
    result: Values
    there: By | None
    author: By


@dataclass
class Verdict:
    """What becomes of a row."""

    #: The row afterwards; None where there is none.
    row: Values | None
    changed: bool = False
    notes: list[Note] = field(default_factory=list)
    overruled: frozenset[str] = frozenset()

    @property
    def contested(self) -> frozenset[str]:
        """Columns in which a write that was made before this was seen is in conflict."""
        return frozenset(
            column
            for note in self.notes
            if note.policy in ("review", "max", "min") or note.verdict == "review"
            for column in note.columns
        )


class Case:
    """One group of columns in one write."""

    def __init__(
        self, table: Table, group: Group, row: Values, since: Sequence[Past] | None, wish: Wish
    ) -> None:
        self.table, self.group, self.row, self.wish = table, group, row, wish
        self.known = since is not None
        self.touched = [c for c in group.columns if c in wish.new]
        self.lead: Column = table.column(group.columns[0])
        wrote = [v for v in since or () if v.columns & set(group.columns)]
        own = [v for v in wrote if wish.op != "I" and is_own(v, wish)]
        theirs = [v for v in wrote if v not in own]
        effective = [v for v in theirs if (v.columns - v.overruled) & set(group.columns)]
        names = set(group.columns)
        others = effective or theirs
        self.there = as_of(others[-1], names & others[-1].columns) if others else None
        self.by = as_of(wish, set(self.touched))
        self.clock = max([self.by.clock, *(as_of(v, names & v.columns).clock for v in own)])
        self.their_clock = max(
            (as_of(v, names & (v.columns - v.overruled)).clock for v in effective), default=None
        )
        stands: dict[str, Past] = {}
        for version in wrote:
            stands |= dict.fromkeys(version.columns - version.overruled, version)
        self.own_stands = all(any(stands.get(c) is v for v in own) for c in self.touched)

    @property
    def here(self) -> Values:
        return {c: self.wish.new.get(c, self.row.get(c)) for c in self.group.columns}

    @property
    def head(self) -> Values:
        return {c: self.row.get(c) for c in self.group.columns}

    def is_equal(self) -> bool:
        return all(same(self.row.get(c), self.wish.new[c]) for c in self.touched)

    def alone(self) -> tuple[str, Values]:
        policy, lead = str(self.group.policy), self.lead
        if policy in ("sum", "add_remove_set"):
            return "merged", self.added()
        if policy == "append_only":
            return "central", self.head
        if policy == "lattice" and lead.name in self.wish.new:
            back = rank(lead, self.wish.new[lead.name]) < rank(lead, self.row.get(lead.name))
            if back and lead.name not in self.wish.relaxed:
                return "kept", self.head
        return "here", self.here

    def contested(self) -> tuple[str, Values]:
        policy = str(self.group.policy)
        if self.is_equal() and policy != "sum":
            return "here", self.here
        if policy in ("sum", "add_remove_set"):
            return "merged", self.added()
        if policy == "review":
            return "review", self.safest()
        return ("here", self.here) if self.wins(policy) else ("central", self.head)

    def wins(self, policy: str) -> bool:
        by_centre = self.wish.site == CENTRE
        there = self.there.site if self.there else CENTRE
        both_at_centre = by_centre and self.there is not None and there == CENTRE
        match policy:
            case "central":
                return self.is_later() if both_at_centre else by_centre
            case "site" if by_centre:
                return there == CENTRE and self.is_later()
            case "site":
                return there == CENTRE or self.is_later()
            case "max" | "min" | "lattice":
                return self.is_further(-1 if policy == "min" else 1)
        return policy != "append_only" and self.is_later()

    def is_later(self) -> bool:
        if self.their_clock is None:
            return self.known
        return self.clock > self.their_clock

    def is_further(self, sign: int) -> bool:
        name = self.lead.name
        if name not in self.wish.new:
            return False
        here, head = self.wish.new[name], self.row.get(name)
        if here is None or head is None:
            order = (here is not None) - (head is not None)
        else:
            one, other = _measure(self.lead, here), _measure(self.lead, head)
            order = sign * ((one > other) - (one < other))
        if order:
            return order > 0
        first = self.there is not None and self.by.clock < self.there.clock
        return self.own_stands or first

    def safest(self) -> Values:
        result, is_site = self.head, self.wish.site != CENTRE
        takes_all = is_site and (not self.there or self.there.site == CENTRE)
        for name in self.touched:
            column, here, head = self.table.column(name), self.wish.new[name], self.row.get(name)
            if column.safe in ("smaller", "larger"):
                sign = 1 if column.safe == "larger" else -1
                if here is not None and (head is None or sign * (here - head) > 0):
                    result[name] = here
            elif takes_all:
                result[name] = here
        whole = self.head | {name: self.wish.new[name] for name in self.touched}
        if result not in (self.head, whole) and not self.can_be(result, whole):
            return whole if takes_all else self.head
        return result

    def can_be(self, result: Values, whole: Values) -> bool:
        """Tell whether limits of both sides may stand together: of one unit, and some room left."""
        limits = [self.table.column(name) for name in result]
        for unit in {c.unit for c in limits if c.unit in result}:
            if not same(self.row.get(unit), whole[unit]):
                return False
        lower = [(c.unit, result[c.name]) for c in limits if c.safe == "larger" and c.unit]
        upper = [(c.unit, result[c.name]) for c in limits if c.safe == "smaller" and c.unit]
        return all(
            unit != other or low is None or high is None or low <= high
            for unit, low in lower
            for other, high in upper
        )

    def added(self) -> Values:
        result = self.head
        for name in self.touched:
            column = self.table.column(name)
            head, new, old = self.row.get(name), self.wish.new[name], self.wish.old.get(name)
            if str(column.type.kind) == "set":
                saw, wants = _members(old), _members(new)
                result[name] = _set((_members(head) - (saw - wants)) | (wants - saw))
            else:
                result[name] = _counted(column, head, new, old)
            if same(head, old):
                result[name] = new
        return result

    def takes_from_somebody(self, verdict: str) -> bool:
        return not self.is_equal() and not (verdict == "here" and self.own_stands)

    def note(self, verdict: str, result: Values) -> Note:
        wish = self.wish
        return Note(
            self.group.name, str(self.group.policy), verdict, self.group.columns,
            {c: wish.old[c] for c in self.group.columns if c in wish.old} or None,
            {c: wish.new[c] for c in self.touched}, self.head, result, self.there, self.by,
        )  # fmt: skip


def by_others(table: Table, since: Sequence[Past] | None, wish: Wish) -> set[str]:
    """Return the columns that were written by whoever had not seen this write, nor it them."""
    persons = {c.name for c in table.columns if c.writer}
    if since is None:
        return set(table.names) - persons
    found: set[str] = set()
    for version in since:
        found |= version.overruled | version.contested if is_own(version, wish) else version.columns
    return found - persons


def is_own(version: Past, wish: Wish) -> bool:
    is_seen = not version.is_lost and version not in wish.unseen
    return version.site == wish.site and wish.site != CENTRE and is_seen


def last_of(some: Sequence[Past] | None, wish: Wish) -> By | None:
    theirs = [v for v in some or () if not is_own(v, wish)]
    found = theirs or [*(some or ())]
    return found[-1].by if found else None


def as_of(wrote: Past | Wish, columns: Collection[str]) -> By:
    """Return who wrote, as of the latest touch of these columns."""
    row = (wrote.by.at_ms, wrote.by.clamped)
    at_ms, clamped = max((wrote.times.get(c, row) for c in columns), default=row)
    return replace(wrote.by, at_ms=at_ms, clamped=clamped)


# --- values -----------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def rank(column: Column, value: Any) -> int:
    return column.order.index(value) if value in column.order else -1


def _measure(column: Column, value: Any) -> Any:
    if column.order:
        return rank(column, value)
    return Decimal(value) if str(column.type.kind) == "decimal" else value


def _members(text: Any) -> set[str]:
    return set(json.loads(text)) if isinstance(text, str) else set()


def _set(members: set[str]) -> str:
    return json.dumps(sorted(members), ensure_ascii=False, separators=(",", ":"))


def _counted(column: Column, head: Any, new: Any, old: Any) -> int:
    total = (head or 0) + (new or 0) - (old or 0)
    low, high = column.type.low, column.type.high
    if not same(head, old) and (
        (low is not None and total < low) or (high is not None and total > high)
    ):
        raise CannotHold(column.name)
    return int(total)
