"""What a comparison finds, and how it tells a difference from a row that is on its way.

Pure. A row is looked at three times: at the centre, here once the feeds have come as far as the
centre's look, and at the centre again. If the centre's row was the same both times, and nothing of
the row waits here or there, then both ends had time to agree on it; what is not the same now is
different. In between nobody waits for anybody: a row that is being written is looked at again, and
where that does not end it is counted, not reported.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.changes import Value

    #: What a column holds here, and at the centre.
    Pair = tuple[Value, Value]

SCHEMA: Final = "mes-sync.verify/v1"
#: Differing rows that a report names; the others are counted.
NAMED_MAX: Final = 200
#: Characters of a value in a report.
_VALUE_MAX: Final = 200


class State(StrEnum):
    """What is to be said of a row."""

    EQUAL = "equal"
    MOVING = "moving"  #: written at this moment, or on its way
    ASIDE = "aside"  #: it stands aside here, with its reason (``mes-sync parked list``)
    PARKED = "parked"  #: the centre holds back, or gave up, what the site wrote
    DIFFERENT = "different"  #: other values
    MISSING = "missing"  #: the centre has it, the site does not
    EXTRA = "extra"  #: the site has it, the centre does not

    @property
    def is_difference(self) -> bool:
        """Return whether both ends had time to agree on the row, and did not."""
        return self in (State.DIFFERENT, State.MISSING, State.EXTRA)


class Cause(StrEnum):
    """Which of the two is not as it should be: the rows, or what is known of their versions.

    ``shared.compare_lines`` has them in words.
    """

    ALTERED = "altered"
    ALTERED_HERE = "altered_here"
    ALTERED_THERE = "altered_at_the_centre"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """A row as the store has it."""

    #: In the order of the columns compared; None where there is no row.
    values: tuple[Value, ...] | None = None
    #: site_id and created_at, where there is a row.
    key: tuple[str, str] | None = None
    #: The centre's version that stands in it, as far as the store knows.
    version: str | None = None
    #: Something of it is not drained, not decided, or laid over a head.
    moving: bool = False
    #: Under which code it stands aside; "" where it does not.
    aside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """A row as the centre has it."""

    site_id: str
    created_at: str
    id: str
    version: str | None
    order: int
    deleted: bool
    left: bool
    queued: bool
    parked: str
    values: tuple[Value, ...] | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A row, and what is to be said of it."""

    state: State
    here: Here
    there: There


def judge(first: There, here: Here, again: There, same: Sequence[bool]) -> State:
    """Return what is to be said of a row that was looked at there, here, and there again.

    ``same`` says for each column compared whether both ends have the same value; it is empty where
    either has no row.
    """
    stood_still = (first.version, first.order, first.values) == (
        again.version, again.order, again.values,
    )  # fmt: skip
    if here.moving or first.queued or again.queued or not stood_still:
        return State.MOVING
    if (here.values is None) == (again.values is None) and all(same):
        return State.EQUAL
    if here.aside:
        return State.ASIDE
    if again.parked:
        return State.PARKED
    if here.values is None:
        return State.MISSING
    return State.EXTRA if again.values is None else State.DIFFERENT


def cause_of(
    judged: Judged, columns: Mapping[str, Pair], told: Mapping[str, Value]
) -> Cause | None:
    """Return why two ends may differ; None for facts, which have no versions.

    ``columns`` are those that differ, ``told`` what an old message says of the row under the
    version that both ends name: whoever does not have that was altered.
    """
    here, there = judged.here, judged.there
    if here.version is None and there.version is None:
        return None
    if here.version != there.version:
        return Cause.BEHIND
    if here.values is None or there.values is None:
        lost_there = there.values is None and not there.deleted
        return Cause.ALTERED_THERE if lost_there else Cause.ALTERED_HERE
    sides = {
        Cause.ALTERED_HERE if told[name] == central else Cause.ALTERED_THERE
        for name, (own, central) in columns.items()
        if name in told and told[name] in (own, central)
    }
    return sides.pop() if len(sides) == 1 else Cause.ALTERED


# --- the report ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is not the same at both ends."""

    table: str
    id: str
    #: What people call the row, where it has a natural key.
    name: str
    state: str
    cause: str | None
    #: Column -> the site's value and the centre's; of rows that one end lacks, what the other has.
    columns: Mapping[str, Pair]
    #: What was done about it: "", "sent", "resend", "lost", "moved".
    repair: str = ""


@dataclass(slots=True)
class TableReport:
    """What was found of one table."""

    table: str
    #: Rows of the store that were summed up.
    rows: int = 0
    different: int = 0
    missing: int = 0
    extra: int = 0
    #: Rows that are no difference: on their way, aside, parked.
    moving: int = 0
    aside: int = 0
    parked: int = 0
    repaired: int = 0
    #: Facts of earlier days are not kept at the centre, and were not compared; "" for none.
    since: str = ""
    #: There were more rows to look at than one comparison looks at.
    more: bool = False
    #: Why it was not compared; empty where it was.
    skipped: str = ""
    #: Columns that the centre does not have, and are left out.
    unknown: tuple[str, ...] = ()

    @property
    def differing(self) -> int:
        """Return the rows that differ, repaired or not."""
        return self.different + self.missing + self.extra

    def count(self, state: State) -> None:
        """Count a row."""
        if state is not State.EQUAL:
            name = state.value
            setattr(self, name, getattr(self, name) + 1)


@dataclass(slots=True)
class Report:
    """What a comparison came to."""

    run: str
    site: str
    began_ms: int
    took_ms: int = 0
    #: Every table of the site was to be compared, and was.
    whole: bool = True
    sent_bytes: int = 0
    received_bytes: int = 0
    tables: list[TableReport] = field(default_factory=list)
    #: The first of those that differ.
    differences: list[Difference] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Return the rows that differed when they were compared."""
        return sum(each.differing for each in self.tables)

    @property
    def differing(self) -> int:
        """Return the rows that differ still: those that were found and are not being repaired."""
        return self.found - sum(each.repaired for each in self.tables)

    def add(self, difference: Difference) -> None:
        """Keep a row that differs, if there is room for its name."""
        if len(self.differences) < NAMED_MAX:
            self.differences.append(difference)


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON-ready values; within a schema's version fields are only added."""
    return {
        "schema": SCHEMA,
        **{k: v for k, v in asdict(report).items() if k not in ("tables", "differences")},
        "found": report.found,
        "differing": report.differing,
        "tables": [asdict(each) | {"differing": each.differing} for each in report.tables],
        "differences": [_plain(each) for each in report.differences],
    }


def _plain(difference: Difference) -> dict[str, Any]:
    columns = {
        name: {"here": _shown(here), "centre": _shown(there)}
        for name, (here, there) in difference.columns.items()
    }
    named = replace(difference, columns={}, name=str(_shown(difference.name)))
    return asdict(named) | {"columns": columns}


def _shown(value: Value) -> Value:
    if isinstance(value, bytes):
        value = value.hex()
    if not isinstance(value, str):
        return value
    plain = value.replace("\x00", "\N{SYMBOL FOR NULL}")  # no document of PostgreSQL's holds one
    return plain if len(plain) <= _VALUE_MAX else f"{plain[: _VALUE_MAX - 1]}…"
