"""What a measure and a key figure are: a name, what it is in words, and how it comes about.

Pure. What there is of them stands in ``kpis`` and ``kpis_of_orders``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ISO: Final = "ISO 22400-2:2014"


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that adds up."""

    name: str
    #: How it comes of the sums of a source, as SQL; ``k`` is the row of sums.
    of: str
    about: str
    unit: str = "pieces"
    #: Needs to know the type of the report.
    by_type: bool = False


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different things occur."""

    name: str
    #: The dimension whose values are told apart.
    dimension: str
    about: str
    unit: str = "count"


@dataclass(frozen=True, slots=True)
class Kpi:
    """A ratio of sums."""

    name: str
    over: str
    under: str
    about: str
    source: str
    unit: str = "ratio"

    @property
    def formula(self) -> str:
        """Return it as people read it."""
        return f"{_braced(self.over)} / {_braced(self.under)}"

    @property
    def sql(self) -> str:
        """Return it as SQL over columns that have the names of the measures."""
        return f"({self.over})::numeric / nullif({self.under}, 0)"

    @property
    def measures(self) -> tuple[str, ...]:
        """Return the names of the measures that it is made of."""
        words = self.over.split() + self.under.split()
        return tuple(dict.fromkeys(word.strip("()") for word in words if word[0].isalpha()))


def _braced(text: str) -> str:
    return f"({text})" if " " in text else text
