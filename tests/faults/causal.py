"""Whether what programs saw while things failed could have happened in an order that makes sense.

A *session* is a program that stays at one store, looks, and writes numbered transactions: number k
puts k into the two rows of its pair ``k % PAIRS``, and nobody else ever writes these rows. So what
a look shows of a session tells which of its transactions had their effect, all of them or in part,
and the histories of all sessions together tell what each of them had seen before.

Pure: histories are recorded by ``tests.faults.sessions`` and judged here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: A session writes its pairs in turn, so that its order shows.
PAIRS = 2

#: What the two rows of a pair hold; 0 for a row that is not there.
Pair = tuple[int, int]


class Kind(StrEnum):
    """What must never be seen."""

    #: One row of a pair is newer than the other: a part of a transaction.
    TORN = "part of a transaction"
    #: A session does not see what it wrote itself.
    OWN_WRITE_GONE = "read your writes"
    #: A session sees an older state than it saw before.
    BACKWARDS = "monotonic reads"
    #: A session's later transaction is seen, and an earlier one is not.
    OVERTAKEN = "monotonic writes"
    #: A transaction is seen without what its writer had seen before it wrote.
    CAUSE_MISSING = "writes follow reads"
    #: A value is seen that nobody wrote there.
    INVENTED = "only what was written"


@dataclass(frozen=True, slots=True)
class Tried:
    """The session is about to commit its transaction ``k``; it may try again, and have it once."""

    k: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """The store has told the session that its transaction ``k`` is committed."""

    k: int


@dataclass(frozen=True, slots=True)
class Saw:
    """One look, in one transaction: the pairs of each session whose rows this store has."""

    pairs: Mapping[str, tuple[Pair, ...]]


Event = Tried | Wrote | Saw


@dataclass(frozen=True, slots=True)
class Violation:
    """What a session saw that must not be."""

    kind: Kind
    #: Who saw it, and in which of its events.
    session: str
    at: int
    #: Whose transactions it is about.
    writer: str
    why: str

    def __str__(self) -> str:
        """Return it as a line for the one who reads a failed test."""
        return f"{self.kind}: {self.session} event {self.at}, of {self.writer}: {self.why}"


def state_after(k: int) -> tuple[Pair, ...]:
    """Return the pairs of a session once its transactions up to ``k`` have had their effect."""
    last = [k - (k - pair) % PAIRS for pair in range(PAIRS)]
    return tuple((max(0, each), max(0, each)) for each in last)


def newest(pairs: Sequence[Pair]) -> int:
    """Return the number of the newest transaction that shows in these pairs."""
    return max((value for pair in pairs for value in pair), default=0)


def check(histories: Mapping[str, Sequence[Event]]) -> list[Violation]:
    """Return everything that must not have been seen; by session, its events in their order."""
    causes = {session: _causes(session, events) for session, events in histories.items()}
    found: list[Violation] = []
    for session, events in histories.items():
        found += _of_session(_Reader(session, causes), events)
    return found


def _causes(session: str, events: Iterable[Event]) -> dict[int, dict[str, int]]:
    """Return by transaction of a session what it had seen of the others before it first tried."""
    seen: dict[str, int] = {}
    causes: dict[int, dict[str, int]] = {}
    for event in events:
        if isinstance(event, Tried):
            causes.setdefault(event.k, dict(seen))
        elif isinstance(event, Saw):
            for writer, pairs in event.pairs.items():
                if writer != session:
                    seen[writer] = max(seen.get(writer, 0), newest(pairs))
    return causes


@dataclass(slots=True)
class _Reader:
    """What a session has seen and written so far."""

    session: str
    causes: Mapping[str, Mapping[int, Mapping[str, int]]]
    wrote: int = 0
    #: By writer and pair, the newest value seen.
    seen: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * PAIRS))


def _of_session(reader: _Reader, events: Sequence[Event]) -> Iterator[Violation]:
    for at, event in enumerate(events):
        if isinstance(event, Wrote):
            reader.wrote = max(reader.wrote, event.k)
        elif isinstance(event, Saw):
            for writer, pairs in event.pairs.items():
                for kind, why in _of_look(reader, event, writer, pairs):
                    yield Violation(kind, reader.session, at, writer, why)


def _of_look(
    reader: _Reader, saw: Saw, writer: str, pairs: Sequence[Pair]
) -> Iterator[tuple[Kind, str]]:
    k = newest(pairs)
    yield from _of_content(pairs, k, tried=max(reader.causes.get(writer, {}), default=0))
    if writer == reader.session and k < reader.wrote:
        yield Kind.OWN_WRITE_GONE, f"{k} after it wrote {reader.wrote}"
    yield from _of_order(reader.seen[writer], pairs)
    for cause, seen in reader.causes.get(writer, {}).get(k, {}).items():
        if cause in saw.pairs and newest(saw.pairs[cause]) < seen:
            shown = newest(saw.pairs[cause])
            yield Kind.CAUSE_MISSING, f"{k} was written after {seen} of {cause}, now at {shown}"


def _of_content(pairs: Sequence[Pair], k: int, tried: int) -> Iterator[tuple[Kind, str]]:
    """Judge what one look shows of one session, by itself."""
    if k > tried:
        yield Kind.INVENTED, f"{k}, and it has only tried {tried}"
    for number, (pair, wanted) in enumerate(zip(pairs, state_after(k), strict=True)):
        if pair[0] != pair[1]:
            yield Kind.TORN, f"pair {number} holds {pair}"
        elif any(value and value % PAIRS != number for value in pair):
            yield Kind.INVENTED, f"pair {number} holds {pair}"
        elif pair < wanted:
            yield Kind.OVERTAKEN, f"{k} shows, and pair {number} is at {pair[0]}, not {wanted[0]}"


def _of_order(seen: list[int], pairs: Sequence[Pair]) -> Iterator[tuple[Kind, str]]:
    """Judge a look by the looks before it, and remember it."""
    for number, pair in enumerate(pairs):
        if min(pair) < seen[number]:
            yield Kind.BACKWARDS, f"pair {number} holds {pair}, and was at {seen[number]} before"
        seen[number] = max(seen[number], *pair)
