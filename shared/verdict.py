"""How bad it is, and why: the words of a verdict at both ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(IntEnum):
    """How bad it is; also the exit code of a ``status``."""

    OK = 0
    DEGRADED = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """Return the level as a word."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is not as it should be, and what to do or to type about it."""

    code: str
    level: Level
    message: str
    hint: str = ""


def gravest_first(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return the reasons in the order in which to look at them."""
    return tuple(sorted(reasons, key=lambda reason: reason.level, reverse=True))


def worst(reasons: Iterable[Reason]) -> Level:
    """Return how bad it is where all this is so."""
    return max((reason.level for reason in reasons), default=Level.OK)
