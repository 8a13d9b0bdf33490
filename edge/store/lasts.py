"""Tells when each column of a row was changed last, without keeping the row's touches.

Pure. Of a column only its last touch counts, and of a row that was displaced or deleted only what
tells it from the one that took its place. So what is kept of a row does not grow with its touches,
of which a program makes thousands while no agent runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.changes import Value

    #: Brings the value of a column, by its bit, to its one form.
    Form = Callable[[int, Value], Value]

#: A row of the log: op, id, site_id, created_at, mask, at_ms, then an old value for each column.
Touch = tuple[Any, ...]
OP, ID, SITE, CREATED, MASK, AT, OLD = range(7)

#: A touch by its place among those of its row, and its wall time.
Moment = tuple[int, int]
NEVER: Final[Moment] = (-1, 0)
#: Of a column, when it was touched and what stood there before, in order.
Steps = list[tuple[int, "Value"]]
#: Beyond this many touches of a row its steps are not kept.
_STEPS_MAX: Final = 1_000
#: Masks that are kept beside those of single columns.
_MASKS_MAX: Final = 64


@dataclass(slots=True)
class Lasts:
    """When the columns of a row were changed last, as its touches so far tell."""

    #: Columns that count each write: of these all steps are kept, as long as they are few.
    counted: int
    form: Form
    steps: dict[int, Steps]
    #: Masks of columns that were touched together, and when they were last.
    by_mask: dict[int, Moment]
    #: When the row was inserted, where nothing stood there before that is known of.
    made: Moment = NEVER
    #: All columns of the row that was displaced or deleted last; None where none was.
    displaced: Sequence[Value] | None = None
    #: When the row that took its place came, or that one went.
    replaced: Moment = NEVER
    #: From this place on touches are of a row whose insert is yet to come.
    _open: int = 0

    def take(self, place: int, touch: Touch) -> None:
        """Take the next touch."""
        op, mask, moment = touch[OP], touch[MASK], (place, touch[AT])
        if op in "US":
            known = self.by_mask
            known[mask] = moment
            if len(known) > len(touch) + _MASKS_MAX:
                self.by_mask = _parted(known)
        elif op == "I":
            self._insert(moment)
        else:
            self._displace(touch[OLD:], moment)
        if self.counted:
            self._count(place, touch)

    def _insert(self, moment: Moment) -> None:
        """Date by an insert what was touched since the row before went.

        It is logged after it happened, so a trigger of the plant's may have touched the row first.
        """
        for mask, (place, _) in self.by_mask.items():
            if place >= self._open:
                self.by_mask[mask] = moment
        if self.displaced is not None and self.replaced[0] >= self._open:
            self.replaced = moment
        elif self.displaced is None and self.made == NEVER:
            self.made = moment
        self._open = moment[0] + 1

    def _displace(self, old: Sequence[Value], moment: Moment) -> None:
        """Learn by what was displaced or deleted which columns the row before it had changed."""
        if self.displaced is not None:
            pairs = enumerate(zip(self.displaced, old, strict=True))
            mask = sum(1 << bit for bit, (a, b) in pairs if self._differ(bit, a, b))
            if mask and self.by_mask.get(mask, NEVER) < self.replaced:
                self.by_mask[mask] = self.replaced
        self.displaced, self.replaced, self._open = old, moment, moment[0]

    def _differ(self, bit: int, before: Value, now: Value) -> bool:
        # Nearly all are the same as they stand, and bringing them to their one form takes longer.
        return differs(before, now) and differs(self.form(bit, before), self.form(bit, now))

    def _count(self, place: int, touch: Touch) -> None:
        if place >= _STEPS_MAX or self.displaced is not None:
            self.counted, self.steps = 0, {}
        for bit in bits_of(touch[MASK] & self.counted):
            self.steps.setdefault(bit, []).append((touch[AT], touch[OLD + bit]))


def _parted(by_mask: Mapping[int, Moment]) -> dict[int, Moment]:
    """Return what is known of masks by single columns, of which there are fewer."""
    parted: dict[int, Moment] = {}
    for mask, moment in by_mask.items():
        for bit in bits_of(mask):
            parted[1 << bit] = max(moment, parted.get(1 << bit, NEVER))
    return parted


def last_change(lasts: Lasts, columns: int, live: Sequence[Value]) -> Moment:
    """Return the touch that gave any of the columns its value; NEVER where none did.

    What was displaced or deleted tells by its old values whether the row that took its place was
    another one in these columns.
    """
    found = lasts.made
    for mask, moment in lasts.by_mask.items():
        if mask & columns and moment > found:
            found = moment
    if lasts.displaced is None or lasts.replaced < found:
        return found
    other = any(differs(lasts.displaced[bit], live[bit]) for bit in bits_of(columns))
    return lasts.replaced if other else found


def differs(before: Value, now: Value) -> bool:
    """Return whether two values are not the same, to the type: 1, 1.0 and '1' are three."""
    return before is not now and (type(before) is not type(now) or before != now)


def bits_of(mask: int) -> Iterator[int]:
    """Give the bits of a mask, the lowest first."""
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1
