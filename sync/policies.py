"""What each policy says of one group of columns that two sides wrote without seeing one another.

Pure functions of the values and the authors. "Here" is the write that is being decided, "there" is
whoever set what stands in the head. The centre's own writes are decided by the same rules, so here
may be the centre and there a site.

last_write
    The later clock of (wall time, site name). A site's clock counts no less than that of its own
    earlier writes on the row, as a hybrid clock would. Of two where the head's time is unknown,
    the head stands.
central
    The centre's value. Between two people at the centre the later clock, between two sites the
    head.
site
    The site's value. Between two people at the centre, or two sites, the later clock.
sum
    Head + (new - old), exactly. Null counts as nothing.
max, min, lattice
    The larger, the smaller, the further along, by the group's first column. Null is "no value
    yet" and gives way. In a draw the first to write keeps the other columns (who, and when).
add_remove_set
    The head, without what the write took out of what it saw, with what it put in.
append_only
    The head.
review
    A person decides. Meanwhile each column runs on its safer value; null is no limit, so any value
    is safer than none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from shared.catalog import Column, Kind, Policy
from shared.errors import InvalidValue
from sync.decisions import CENTRE, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.changes import Value
    from sync.decisions import Author, Clock

#: Wider than any number of the catalogue; it raises where it would round.
_EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation, Overflow])
_INTEGER_END: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Clash:
    """A group of columns as the head has it and as the write wants it."""

    #: The group's columns; the first leads.
    columns: tuple[Column, ...]
    head: Mapping[str, Value]
    new: Mapping[str, Value]
    old: Mapping[str, Value]
    here: Author
    #: Latest clock of the writing side on this group, its own earlier writes included.
    here_clock: Clock
    #: Last of the other side to write the group; None where that was before the base, or unknown.
    there: Author | None
    #: Latest clock of the other side among writes that took effect.
    there_clock: Clock | None
    #: Whether the versions since the base are known.
    known: bool
    #: Whether what stands was written by the writing side itself.
    own_stands: bool

    @property
    def lead(self) -> Column:
        """Return the column that max, min and lattice compare."""
        return self.columns[0]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy says: whose value stands, and what the group's columns then hold."""

    outcome: Outcome
    result: Mapping[str, Value]


def same(one: Value, other: Value) -> bool:
    """Return whether two canonical values are one and the same."""
    return type(one) is type(other) and one == other


def decide(policy: Policy, clash: Clash) -> Ruling:
    """Return the ruling of a policy on a group that is in conflict."""
    return _RULES[policy](clash)


def take_here(clash: Clash) -> Ruling:
    """Let the write stand. Columns of the group that it did not carry stay as they are."""
    return Ruling(
        Outcome.HERE, {c.name: clash.new.get(c.name, clash.head.get(c.name)) for c in clash.columns}
    )


def take_head(clash: Clash, outcome: Outcome = Outcome.CENTRAL) -> Ruling:
    """Let the head stand."""
    return Ruling(outcome, {c.name: clash.head.get(c.name) for c in clash.columns})


def goes_back(column: Column, head: Value, new: Value) -> bool:
    """Return whether a write would move a lattice back."""
    return bool(column.order) and _rank(column, new) < _rank(column, head)


# --- one side wins ---------------------------------------------------------------------------


def _last_write(clash: Clash) -> Ruling:
    return take_here(clash) if _is_later(clash) else take_head(clash)


def _is_later(clash: Clash) -> bool:
    if clash.there_clock is None:
        # Known, but nobody since the base: the head was in the writer's own store when it wrote,
        # only covered by its own undecided value. So the write is later by any causal clock.
        return clash.known
    return clash.here_clock > clash.there_clock


def _central(clash: Clash) -> Ruling:
    if clash.here.site != CENTRE:
        return take_head(clash)
    if clash.there and clash.there.site == CENTRE:
        return _last_write(clash)
    return take_here(clash)


def _site(clash: Clash) -> Ruling:
    there = clash.there.site if clash.there else CENTRE
    if clash.here.site == CENTRE:
        return _last_write(clash) if there == CENTRE else take_head(clash)
    return take_here(clash) if there == CENTRE else _last_write(clash)


def _append_only(clash: Clash) -> Ruling:
    return take_head(clash)


# --- values are compared ---------------------------------------------------------------------


def _larger(clash: Clash) -> Ruling:
    return _extreme(clash, 1)


def _smaller(clash: Clash) -> Ruling:
    return _extreme(clash, -1)


def _extreme(clash: Clash, sign: int) -> Ruling:
    name = clash.lead.name
    if name not in clash.new:
        return take_head(clash)  # the write did not move what is compared
    order = sign * _compare(clash.lead, clash.new[name], clash.head.get(name), sign)
    if order:
        return take_here(clash) if order > 0 else take_head(clash)
    return take_here(clash) if _wrote_first(clash) else take_head(clash)


def _wrote_first(clash: Clash) -> bool:
    if clash.own_stands:
        return True  # a correction of one's own
    return clash.there is not None and clash.here.clock < clash.there.clock


def _compare(column: Column, one: Value, other: Value, sign: int) -> int:
    """Return 1, 0 or -1; null is beyond the end that ``sign`` looks away from, so it gives way."""
    if one is None or other is None:
        return sign * ((one is not None) - (other is not None))
    left, right = _measure(column, one), _measure(column, other)
    return int(left > right) - int(left < right)


def _measure(column: Column, value: Value) -> Any:
    """Return what a value is compared by."""
    if column.order:
        return _rank(column, value)
    return _number(value) if column.type.kind is Kind.DECIMAL else value


def _rank(column: Column, value: Value) -> int:
    """Return how far along a value is; null, or a code that is no more, is before the first."""
    return column.order.index(str(value)) if str(value) in column.order else -1


# --- both sides count ------------------------------------------------------------------------


def merge_both(column: Column, head: Value, new: Value, old: Value) -> Value:
    """Return the head with what the write changed: its difference, or its additions and removals.

    Where nothing came between, that is the value that was written, to the letter.
    """
    if same(head, old):
        return new
    if column.type.kind is Kind.SET:
        saw, wants = _members(old), _members(new)
        return _text_of_set((_members(head) - (saw - wants)) | (wants - saw))
    change = _EXACT.subtract(_number(new), _number(old))
    return _number_value(column, _EXACT.add(_number(head), change))


def _merged(clash: Clash) -> Ruling:
    result = {c.name: clash.head.get(c.name) for c in clash.columns}
    for column in clash.columns:
        name = column.name
        if name in clash.new:
            head, new, old = clash.head.get(name), clash.new[name], clash.old.get(name)
            result[name] = merge_both(column, head, new, old)
    return Ruling(Outcome.MERGED, result)


def _members(value: Value) -> frozenset[str]:
    return frozenset(json.loads(value)) if isinstance(value, str) else frozenset()


def _text_of_set(members: frozenset[str]) -> str:
    return json.dumps(sorted(members), ensure_ascii=False, separators=(",", ":"))


def _number(value: Value) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))


def _number_value(column: Column, number: Decimal) -> Value:
    """Return the canonical value, or raise InvalidValue where the column can't hold the sum."""
    limits = column.type
    low, high = limits.low, limits.high
    if limits.kind is Kind.INTEGER:
        fits = -_INTEGER_END <= number < _INTEGER_END
    else:
        fits = abs(number) < Decimal(10) ** ((limits.precision or 0) - (limits.scale or 0))
    if not fits or (low is not None and number < low) or (high is not None and number > high):
        message = f"{column.name}: both changes together make {number:f}, which it can't hold"
        raise InvalidValue(message)
    if limits.kind is Kind.INTEGER:
        return int(number)
    text = f"{number:f}" if number else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- a person decides ------------------------------------------------------------------------


def _review(clash: Clash) -> Ruling:
    """Run on the safer value of each column; on one side's group where no mixture makes sense."""
    head = {c.name: clash.head.get(c.name) for c in clash.columns}
    here = head | {name: clash.new[name] for name in head if name in clash.new}
    result = {c.name: (here if _is_safer(c, clash) else head)[c.name] for c in clash.columns}
    is_mixed = result not in (head, here)
    if is_mixed and (_units_differ(clash.columns, head, here) or _cross(clash.columns, result)):
        result = here if _is_the_sites(clash) else head
    return Ruling(Outcome.REVIEW, result)


def _is_safer(column: Column, clash: Clash) -> bool:
    """Return whether the written value is the one to run on meanwhile."""
    if column.name not in clash.new:
        return False
    if column.safe in ("smaller", "larger"):
        sign = 1 if column.safe == "larger" else -1
        new, head = clash.new[column.name], clash.head.get(column.name)
        return sign * _compare(column, new, head, sign) > 0
    return _is_the_sites(clash)


def _is_the_sites(clash: Clash) -> bool:
    """Return whether a site wrote, and what stands is the centre's."""
    there = clash.there.site if clash.there else CENTRE
    return clash.here.site != CENTRE and there == CENTRE


def _units_differ(
    columns: Sequence[Column], one: Mapping[str, Value], other: Mapping[str, Value]
) -> bool:
    """Return whether the two sides count in different units: a number of each can't be compared."""
    units = {column.unit for column in columns} & one.keys()
    return any(not same(one[unit], other[unit]) for unit in units if unit)


def _cross(columns: Sequence[Column], values: Mapping[str, Value]) -> bool:
    """Return whether a lower limit lies above an upper one of the same unit: nothing is between."""
    return any(
        _compare(low, values[low.name], values[high.name], 1) > 0
        for low, high in product(columns, columns)
        if (low.safe, high.safe) == ("larger", "smaller") and low.unit == high.unit is not None
        if values[low.name] is not None and values[high.name] is not None
    )


_RULES: Final[Mapping[Policy, Callable[[Clash], Ruling]]] = {
    Policy.LAST_WRITE: _last_write,
    Policy.CENTRAL: _central,
    Policy.SITE: _site,
    Policy.SUM: _merged,
    Policy.MAX: _larger,
    Policy.MIN: _smaller,
    Policy.LATTICE: _larger,
    Policy.ADD_REMOVE_SET: _merged,
    Policy.APPEND_ONLY: _append_only,
    Policy.REVIEW: _review,
}
