"""The vocabulary of a decision: what is asked, by whom, after what, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from shared.catalog import Policy
from shared.changes import SHARED, Op, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: ``Author.site`` of whatever is written at the centre.
CENTRE: Final = SHARED

#: ``Conflict.group`` where the row itself is contested, not some of its columns.
WHOLE_ROW: Final = "*"

#: These must not be replaced by a later write of the same site that had not seen the verdict.
_OPEN_POLICIES: Final = (Policy.REVIEW, Policy.MAX, Policy.MIN)

Clock = tuple[int, str]


class Outcome(StrEnum):
    """Whose value stands after a conflict."""

    HERE = "here"  #: that of the write
    CENTRAL = "central"  #: the one that the centre had
    MERGED = "merged"  #: both count
    REVIEW = "review"  #: the safer one, until a person decides
    KEPT = "kept"  #: the centre's, since a lattice does not go back


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote, where and when."""

    #: A site, or ``CENTRE``.
    site: str
    #: The person, where the table names one.
    writer: str | None
    #: Wall time of the touch, corrected by the clock's offset and held to the drift bound; of a row
    #: that was touched several times, that of the last touch.
    at_ms: int
    #: Whether the time had to be held to the bound.
    clamped: bool

    @property
    def clock(self) -> Clock:
        """Return what the later of two writes is told by."""
        return (self.at_ms, self.site)


class Moment(NamedTuple):
    """When a column was touched."""

    #: As ``Author.at_ms``.
    at_ms: int
    clamped: bool


#: Columns that were last touched at another time than their row, by that time.
ColumnTimes = tuple[tuple[frozenset[str], Moment], ...]


def _as_of(author: Author, times: ColumnTimes, columns: Collection[str]) -> Author:
    """Return an author with the latest time at which any of these columns was touched."""
    if not times:
        return author
    moments = [moment for names, moment in times if not names.isdisjoint(columns)]
    if not moments or set(columns).difference(*(names for names, _ in times)):
        moments.append(Moment(author.at_ms, author.clamped))
    latest = max(moments)
    return replace(author, at_ms=latest.at_ms, clamped=latest.clamped)


@dataclass(frozen=True, slots=True)
class Version:
    """One decided version of the row at the centre, later than a write's base."""

    id: str
    op: Op
    #: Columns that its write touched; all of them for an insert or a delete.
    columns: frozenset[str]
    author: Author
    #: Those in which the write did not take effect.
    overruled: frozenset[str] = frozenset()
    #: ``Resolution.contested`` of its write.
    contested: frozenset[str] = frozenset()
    times: ColumnTimes = ()
    #: Made by a store of which its site went back to an older copy: nobody there has seen it. Or
    #: made after the write that is decided on, which was parked: then that has not seen it.
    lost: bool = False
    #: Not where it is of a change that was parked: it has the columns in which that had not seen
    #: what others wrote, all of them overruled.
    counts: bool = True

    def author_of(self, columns: Collection[str]) -> Author:
        """Return who wrote these columns, some of the version's, and when."""
        return _as_of(self.author, self.times, columns)


@dataclass(frozen=True, slots=True)
class Write:
    """A change of one row that asks for a decision."""

    op: Op
    tx_id: str
    base: str | None
    #: Insert: every column the writer knows. Update: the touched ones. Delete: none.
    new: Mapping[str, Value]
    #: Update: what the writer saw of the touched columns.
    old: Mapping[str, Value]
    author: Author
    #: Columns whose lattice a signed release allows to go back.
    relaxed: frozenset[str] = frozenset()
    times: ColumnTimes = ()

    def author_of(self, columns: Collection[str]) -> Author:
        """Return who wrote these columns, some of the write's, and when."""
        return _as_of(self.author, self.times, columns)


@dataclass(frozen=True, slots=True)
class Conflict:
    """The record of one conflict: both values, both authors, and what was decided.

    A record of the whole row (policy "delete", or a fact that someone tried to change) holds an
    empty mapping where a side has no row; ``central`` is then what the row held last.
    """

    columns: tuple[str, ...]
    group: str
    policy: Policy | Literal["delete"]
    outcome: Outcome
    #: What the writer saw; None for an insert, or where nobody knows.
    base: Mapping[str, Value] | None
    here: Mapping[str, Value]
    central: Mapping[str, Value]
    result: Mapping[str, Value]
    #: None where what stands is no later than the base, or its history is unknown.
    central_author: Author | None
    here_author: Author


@dataclass(frozen=True, slots=True)
class Resolution:
    """What to do to the head, and what to write into the conflict history."""

    #: Columns to set in the head; of a row that comes to stand (``revive``), all that are known.
    values: Mapping[str, Value]
    delete: bool = False
    #: There is no row, and one is to stand with ``values``: it is new, or comes back.
    revive: bool = False
    conflicts: tuple[Conflict, ...] = ()
    #: Columns of the write that did not take effect.
    overruled: frozenset[str] = frozenset()

    @property
    def contested(self) -> frozenset[str]:
        """Return the columns in which a later write, made before this verdict is seen, conflicts.

        They may have taken effect. But a review must not be decided by someone who had not seen
        it, nor a larger value be lost to a writer who did not know of it.
        """
        return frozenset(
            column
            for conflict in self.conflicts
            if conflict.policy in _OPEN_POLICIES or conflict.outcome is Outcome.REVIEW
            for column in conflict.columns
        )
