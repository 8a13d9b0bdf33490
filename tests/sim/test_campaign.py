"""A short campaign on the real stores; `make sim RUNS=2000` is the long one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from edge.store import apply
from tests.sim.__main__ import main, told
from tests.sim.campaign import (
    RARE,
    RAREST,
    REQUIRED,
    RUNS_ALL,
    RUNS_MANY,
    missed,
    report,
)
from tests.sim.story import lab  # noqa: F401
from tests.sim.world import Plan

if TYPE_CHECKING:
    from edge.store.steps import Run, Shown

#: Enough to meet all that must be met.
RUNS = 50


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(1500)
def test_real_stores_agree_with_the_oracle_whatever_breaks(lab, seed):
    reach = Counter[str]()
    first = seed % 1_000_000
    for number in range(first, first + RUNS):
        outcome = lab.run(Plan.of_seed(number))
        reach += outcome.reach
        if outcome.why is not None:
            pytest.fail(
                f"{report(lab.shortened(outcome))}\nor: make sim SEED={number} STORES=1",
                pytrace=False,
            )
    never = missed(reach, RUNS)
    assert not never, f"{RUNS} runs from seed {first} never met {never}"


@pytest.mark.postgres
def test_steps_that_are_shown_as_they_come_are_found(lab, monkeypatch):
    def as_they_come(_: Shown, *runs: Run | None) -> tuple[Run, ...]:
        return tuple(run for run in runs if run)[:1]

    monkeypatch.setattr(apply, "next_runs", as_they_come)
    found = (str(lab.run(Plan.of_seed(number)).why) for number in range(100, 200))
    assert any("shows some of what the centre did" in why for why in found)


@pytest.mark.slow
@pytest.mark.postgres
def test_a_campaign_of_several_processes_tells_what_it_met(monkeypatch, capfd):
    monkeypatch.setattr("sys.argv", ["tests.sim", "--runs", "4", "--seed", "100", "--jobs", "2"])
    assert main() == 1
    told_last = capfd.readouterr().out.splitlines()[-2:]
    assert told_last[0].startswith("4 runs in ")
    assert told_last[1].startswith("never met: ")


def test_a_plan_is_read_back_as_it_was_printed():
    plan = Plan.of_seed(4711)
    assert Plan.of_text(str(plan)) == plan


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("seed", [104, 200, 4711])
def test_a_run_takes_the_same_way_twice(lab, seed):
    plan = Plan.of_seed(seed)
    first, again = lab.run(plan), lab.run(plan)
    assert first.why is again.why is None
    assert first.reach == again.reach


def test_a_campaign_that_never_met_something_fails_and_says_what(capsys):
    met = Counter(dict.fromkeys((*REQUIRED, *RARE, *RAREST), 1))
    assert missed(met, RUNS_ALL) == []
    for names, runs in ((REQUIRED, 50), (RARE, RUNS_MANY), (RAREST, RUNS_ALL)):
        for name in names:
            assert missed(met - Counter({name: 1}), runs) == [name]
    # What is rare is not asked of a short one.
    assert missed(met - Counter(dict.fromkeys((*RARE, *RAREST), 1)), RUNS_MANY - 1) == []
    assert told(met, [], runs=50, seconds=1.0, jobs=1) == 0
    assert told(met - Counter({"kill": 1}), [], runs=50, seconds=1.0, jobs=1) == 1
    assert "never met: kill" in capsys.readouterr().out
