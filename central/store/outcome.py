"""What became of a run of transactions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.changes import Position
    from sync.protocol import Verdict


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of a run."""

    #: The last link of the chain that is decided.
    position: Position
    #: On the first transaction that was not taken; APPLY where all are settled.
    verdict: Verdict
    #: Rows that took effect, those of conflicts among them.
    rows: int
    #: Conflicts recorded, by policy.
    conflicts: Mapping[str, int]
    #: Rows that were parked or wait.
    parked: int
    #: Transactions that were known already, or fenced.
    skipped: int
    #: From begin to commit.
    apply_ms: float
    #: Ids of transactions that came after their epoch was closed; they had no effect anywhere.
    fenced: tuple[str, ...] = ()
    #: FORK: a person has stopped the site, or is asked to look.
    is_stopped: bool = False


def added(before: RunOutcome | None, after: RunOutcome) -> RunOutcome:
    """Return the outcome of two parts of a run that were applied one after the other."""
    if before is None:
        return after
    return RunOutcome(
        position=after.position,
        verdict=after.verdict,
        rows=before.rows + after.rows,
        conflicts=dict(Counter(before.conflicts) + Counter(after.conflicts)),
        parked=before.parked + after.parked,
        skipped=before.skipped + after.skipped,
        apply_ms=before.apply_ms + after.apply_ms,
        fenced=before.fenced + after.fenced,
        is_stopped=after.is_stopped,
    )
