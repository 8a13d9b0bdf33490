"""Run rules: what in a series of points is unlikely to be chance alone.

Pure. A rule looks at a window of as many points as it needs, never at fewer, and fires on the last
of them. A point without a value, or without limits, ends every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NELSON: Final = "Nelson, The Shewhart Control Chart: Tests for Special Causes, JQT 16 (1984) 237"
WESTERN_ELECTRIC: Final = "Western Electric, Statistical Quality Control Handbook (1956), p. 23"


@dataclass(frozen=True, slots=True)
class Mark:
    """A point as the rules see it."""

    value: float
    #: How many standard errors it is above the centre line; None where there are no limits.
    z: float | None
    #: It is outside the control limits.
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    name: str
    needs: int
    text: str
    source: str
    fires: Callable[[Sequence[Mark]], bool]
    #: It counts in zones of a symmetric distribution, which counts and proportions have not.
    in_zones: bool = False


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule fired on a point; the pattern began at ``since``."""

    rule: str
    point: int
    since: int


def violations(marks: Sequence[Mark | None], rules: Sequence[Rule]) -> list[Violation]:
    """Return what fires, in the order of the points."""
    found = [each for rule in rules for each in _of_rule(marks, rule)]
    return sorted(found, key=lambda each: (each.point, each.rule))


def _of_rule(marks: Sequence[Mark | None], rule: Rule) -> list[Violation]:
    found = []
    for end in range(rule.needs, len(marks) + 1):
        window = [mark for mark in marks[end - rule.needs : end] if mark is not None]
        if len(window) == rule.needs and rule.fires(window):
            found.append(Violation(rule.name, end - 1, end - rule.needs))
    return found


def chosen(text: str) -> tuple[Rule, ...]:
    """Return the rules of a list such as ``nelson`` or ``nelson-1,we-2``; raise ValueError."""
    found: dict[str, Rule] = {}
    for word in (each.strip().lower() for each in text.split(",")):
        rules = FAMILIES.get(word) or ((RULES[word],) if word in RULES else ())
        if not rules:
            raise ValueError(f"no such rule; there are {', '.join((*FAMILIES, *RULES))}")
        found |= {rule.name: rule for rule in rules}
    return tuple(found.values())


# --- what the rules look for -------------------------------------------------------------------


def _zs(window: Sequence[Mark]) -> list[float]:
    """Return the places of all points; none where one has no limits."""
    found = [mark.z for mark in window if mark.z is not None]
    return found if len(found) == len(window) else []


def _is_beyond(window: Sequence[Mark]) -> bool:
    return window[-1].beyond


def _are_on_one_side(window: Sequence[Mark]) -> bool:
    zs = _zs(window)
    return bool(zs) and (min(zs) > 0 or max(zs) < 0)


def _are_rising_or_falling(window: Sequence[Mark]) -> bool:
    steps = [b.value - a.value for a, b in pairwise(window)]
    return min(steps) > 0 or max(steps) < 0


def _are_alternating(window: Sequence[Mark]) -> bool:
    steps = [b.value - a.value for a, b in pairwise(window)]
    return all(a * b < 0 for a, b in pairwise([(s > 0) - (s < 0) for s in steps]))


def _many_on_one_side(sigmas: float, least: int) -> Callable[[Sequence[Mark]], bool]:
    """Return what tells that ``least`` are further out on the last one's side, as that one is."""

    def fires(window: Sequence[Mark]) -> bool:
        if not (zs := _zs(window)):
            return False
        side = 1 if zs[-1] > 0 else -1
        out = [side * z > sigmas for z in zs]
        return out[-1] and sum(out) >= least

    return fires


def _are_near(window: Sequence[Mark]) -> bool:
    zs = _zs(window)
    return bool(zs) and all(abs(z) < 1 for z in zs)


def _are_far(window: Sequence[Mark]) -> bool:
    zs = _zs(window)
    return bool(zs) and all(abs(z) > 1 for z in zs)


_TWO_OF_THREE: Final = _many_on_one_side(2, 2)
_FOUR_OF_FIVE: Final = _many_on_one_side(1, 4)

_NELSON: Final = (
    Rule("nelson-1", 1, "a point is beyond the control limits", NELSON, _is_beyond),
    Rule("nelson-2", 9, "9 points in a row are on one side of the centre line", NELSON,
         _are_on_one_side),
    Rule("nelson-3", 6, "6 points in a row all rise or all fall", NELSON, _are_rising_or_falling),
    Rule("nelson-4", 14, "14 points in a row go up and down by turns", NELSON, _are_alternating),
    Rule("nelson-5", 3, "2 of 3 points in a row are beyond 2 sigma on one side", NELSON,
         _TWO_OF_THREE, in_zones=True),
    Rule("nelson-6", 5, "4 of 5 points in a row are beyond 1 sigma on one side", NELSON,
         _FOUR_OF_FIVE, in_zones=True),
    Rule("nelson-7", 15, "15 points in a row are within 1 sigma, on either side", NELSON,
         _are_near, in_zones=True),
    Rule("nelson-8", 8, "8 points in a row are beyond 1 sigma, on either side", NELSON,
         _are_far, in_zones=True),
)  # fmt: skip
_WESTERN_ELECTRIC: Final = (
    Rule("we-1", 1, "a point is beyond the control limits", WESTERN_ELECTRIC, _is_beyond),
    Rule("we-2", 3, "2 of 3 points in a row are beyond 2 sigma on one side", WESTERN_ELECTRIC,
         _TWO_OF_THREE, in_zones=True),
    Rule("we-3", 5, "4 of 5 points in a row are beyond 1 sigma on one side", WESTERN_ELECTRIC,
         _FOUR_OF_FIVE, in_zones=True),
    Rule("we-4", 8, "8 points in a row are on one side of the centre line", WESTERN_ELECTRIC,
         _are_on_one_side),
)  # fmt: skip

FAMILIES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "nelson": _NELSON,
    "western-electric": _WESTERN_ELECTRIC,
}
RULES: Final = {rule.name: rule for rule in (*_NELSON, *_WESTERN_ELECTRIC)}
