"""What some runs are made to meet more often than by chance: each for rules that seldom matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bias:
    """How a run is made up."""

    #: Methods of the world that break something, each as often as it is named; all where empty.
    faults: tuple[str, ...] = ()
    #: Stores or the centre go back.
    restores: bool = False
    #: Share of the steps in which somebody writes.
    writes: float = 0.36
    #: Share of the steps in which nothing breaks.
    calm: float = 0.9
    #: Share of the writes that are made at the sites.
    at_sites: float = 0.55
    #: Share of the due dates that can be applied.
    fit: float = 0.8
    #: Copies of a site's file that are kept; None for all.
    copies: int | None = None


USUAL: Final = Bias()

BIASES: Final = {
    "usual": USUAL,
    # Programs do what no store has refused: a fact again, a code that is taken, a state backwards.
    "programs": Bias(
        (
            "fact_made_again", "code_of_both", "state_goes_back", "backup_centre", "agent_dies",
            "broker_loses",
        ),
        calm=0.9,
    ),
    # A parked write is tried again after its site has written on, by a clock that went back.
    "retries": Bias(
        ("parked_and_overtaken", "clock_jumps", "retries"),
        calm=0.95, at_sites=0.9, fit=0.6,
    ),
    # People give up what is parked, and what waited behind it is tried without it.
    "given up": Bias(
        (
            "discarded_and_built_on", "lets_go", "lets_go", "retries", "forgets", "agent_dies",
            "broker_loses",
        ),
        calm=0.9, at_sites=0.9, fit=0.5,
    ),
    # A site's file is put back over and over to one of a few copies, the newer after the older.
    "lives": Bias(
        ("newer_after_older", "restore_site", "agent_dies"),
        restores=True, calm=0.95, at_sites=0.8, copies=2,
    ),
    # What a lost life has sent comes long after it, and after the next one's hello.
    "late": Bias(
        ("broker_delays", "broker_delays", "restore_site", "restore_site", "broker_repeats"),
        restores=True, calm=0.8, at_sites=0.8, copies=2,
    ),
    # The centre goes back to before a site's epoch began; much is lost on the way again.
    "histories": Bias(
        ("epochs_of_a_lost_past", "parents_of_a_lost_past", "broker_loses", "broker_swaps"),
        restores=True, calm=0.95, at_sites=0.8, copies=2,
    ),
    # Entries of the centre's lost past come after the hello.
    "entries": Bias(("entries_of_a_lost_past", "centre_restarts"), restores=True, calm=0.95),
    # The centre goes back while snapshots, entries and messages of its lost past are under way.
    "under way": Bias(
        (
            "restore_centre", "restore_centre", "asks_for_a_snapshot", "feed_is_pruned",
            "backup_centre", "agent_dies", "clock_jumps",
        ),
        restores=True, calm=0.8,
    ),
}  # fmt: skip
