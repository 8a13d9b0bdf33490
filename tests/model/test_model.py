"""With every rule no run breaks an invariant; without one, some does."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.model.checks import Violation
from tests.model.rules import Rule
from tests.model.world import World

SEEDS = 150
#: Rules, and a seed whose run breaks an invariant without them; it is looked for from there on.
NEEDED = {
    Rule.FOLD_FIRST_OLD: 16,
    Rule.TIMES_OF_TOUCH: 0,
    Rule.WHOLE_TRANSACTIONS: 2,
    Rule.DRAIN_BEFORE_APPLY: 3,
    Rule.BASE_IS_DECIDED: 0,
    Rule.FRESH_ID: 0,
    Rule.KEEP_UNTIL_DECIDED: 8,
    Rule.WATERMARK: 11,
    Rule.SITE_BOUNDARY: 97,
    Rule.BASE_CHECK: 0,
    Rule.HISTORY: 0,
    Rule.ID_ALONE: 4,
    Rule.PARK: 2,
    Rule.WAIT_FOR_PARENT: 5,
    Rule.FENCE: 6,
    Rule.CHUNKS_WHOLE: 0,
    Rule.CLAMP: 39,
    Rule.COMMIT_ORDER: 0,
    Rule.SHARE_LEAVES: 2,
    Rule.FEED_CHAIN: 16,
    Rule.CURSOR_WITH_EFFECT: 8,
    Rule.OVERLAY: 0,
    Rule.SNAPSHOT_ACK: 164,
    Rule.NOT_BACKWARDS: 2,
    Rule.TAKE_MISSING: 16,
    Rule.UNKNOWN_ASIDE: 6,
}
MET = (
    "apply", "skip", "gap", "chunked", "snapshot", "parked: poison", "parked: unique",
    "parked: parent", "parked: behind", "parked: foreign", "retried",
    *(f"policy: {name}" for name in (
        "last_write", "central", "site", "sum", "max", "min", "lattice", "add_remove_set", "review",
        "delete",
    )),
    *(f"outcome: {name}" for name in ("here", "central", "merged", "review", "kept")),
)  # fmt: skip


def test_no_run_breaks_an_invariant_and_the_runs_meet_every_policy_and_verdict():
    reach: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = World(seed)
        try:
            world.run()
        except Violation as why:
            trace = "\n".join(world.trace[-60:])
            pytest.fail(f"python -m tests.model --seed {seed} --trace: {why}\n{trace}")
        reach += world.centre.reach
    assert [what for what in MET if not reach[what]] == []


@pytest.mark.parametrize("rule", NEEDED, ids=lambda rule: rule.name)
def test_without_a_rule_some_run_breaks_an_invariant(rule):
    for seed in range(NEEDED[rule], NEEDED[rule] + SEEDS):
        try:
            World(seed, frozenset({rule})).run()
        except Violation:
            return
    pytest.fail(f"nothing breaks without {rule.name}")
