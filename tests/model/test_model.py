"""With every rule no run breaks an invariant; without one, some does."""

from __future__ import annotations

import pytest

from tests.model.campaign import Order, replay, run
from tests.model.checks import Violation
from tests.model.rules import Rule
from tests.model.world import World

SEEDS = 150
#: Runs that may pass without a rule until one breaks an invariant.
ENOUGH = 25
#: Rules, and a seed whose run breaks an invariant without them; it is looked for from there on.
NEEDED = {
    Rule.FOLD_FIRST_OLD: 0,
    Rule.TIMES_OF_TOUCH: 1,
    Rule.WHOLE_TRANSACTIONS: 8,
    Rule.DRAIN_BEFORE_APPLY: 3,
    Rule.BASE_IS_DECIDED: 0,
    Rule.TIME_OF_COLUMN: 67,
    Rule.FRESH_ID: 0,
    Rule.OWN_IS_SEEN: 3,
    Rule.KEEP_UNTIL_DECIDED: 4,
    Rule.WATERMARK: 11,
    Rule.SITE_BOUNDARY: 1,
    Rule.BASE_CHECK: 0,
    Rule.HISTORY: 0,
    Rule.ID_ALONE: 0,
    Rule.HEADS_WITH_ACK: 0,
    Rule.PARK: 1,
    Rule.PARK_BEHIND: 33,
    Rule.WAIT_FOR_PARENT: 3,
    Rule.FENCE: 17,
    Rule.CHUNKS_WHOLE: 0,
    Rule.CLAMP: 5,
    Rule.COMMIT_ORDER: 0,
    Rule.SHARE_LEAVES: 2,
    Rule.FEED_CHAIN: 1,
    Rule.CURSOR_WITH_EFFECT: 3,
    Rule.OVERLAY: 0,
    Rule.SNAPSHOT_ACK: 18,
    Rule.NOT_BACKWARDS: 0,
    Rule.TAKE_MISSING: 5,
    Rule.UNKNOWN_ASIDE: 46,
}
#: The same of rules that only a restore makes needed.
NEEDED_BY_RESTORES = {
    Rule.KEEP_UNTIL_SAFE: 20,
    Rule.INSTANCE: 80,
    Rule.NOTHING_IN_FLIGHT: 15,
    Rule.NEW_EPOCH: 37,
    Rule.FACTS_HOME: 83,
    Rule.UNVERIFIED: 48,
    Rule.FURTHEST: 586,
    Rule.SALVAGE: 8,
    Rule.MERGED_AFTER: 112,
    Rule.BASE_IS_AN_ID: 201,
    Rule.OWN_BY_LINEAGE: 214,
    Rule.DROP_SENT: 223,
    Rule.HELLO_FIRST: 245,
    Rule.INCLUDED: 311,
    Rule.FORGET_ORDERS: 478,
    Rule.LOST_ENTRIES: 12551,
}


@pytest.mark.parametrize("restores", [False, True], ids=["no restores", "restores"])
def test_no_run_breaks_an_invariant_and_the_runs_meet_every_policy_and_verdict(restores):
    order = Order(0, SEEDS, restores=restores)
    report = run(order)
    assert {replay(order, seed): why for seed, why in report.broken.items()} == {}
    # What needs two restores of one kind is too rare for so few runs.
    rare = {"clone adopted", "salvage merged", "parked home", "touch dropped"}
    assert set(report.missed(order)) <= rare


@pytest.mark.parametrize("rule", NEEDED, ids=lambda rule: rule.name)
def test_without_a_rule_some_run_breaks_an_invariant(rule):
    assert _breaks(rule, NEEDED[rule], restores=False)


@pytest.mark.parametrize("rule", NEEDED_BY_RESTORES, ids=lambda rule: rule.name)
def test_without_a_rule_some_run_with_restores_breaks_an_invariant(rule):
    assert _breaks(rule, NEEDED_BY_RESTORES[rule], restores=True)


def _breaks(rule: Rule, first: int, *, restores: bool) -> bool:
    for seed in range(first, first + ENOUGH):
        try:
            World(seed, frozenset({rule}), restores=restores).run()
        except Violation:
            return True
    return False
