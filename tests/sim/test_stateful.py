"""The same steps as Hypothesis chooses them: it looks for what fails, and shrinks it by itself."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.sim.campaign import Lab, Outcome, report
from tests.sim.narrow import narrow
from tests.sim.sent import Violation, fail
from tests.sim.story import lab  # noqa: F401
from tests.sim.world import CENTRE_CLOCK, CENTRE_RESTORES, FAULTS, RESTORES, USUAL, Plan, World

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Writes and moves more often than faults, as Hypothesis takes the first ones for the simplest.
STEPS = (*USUAL, *USUAL, *FAULTS, *RESTORES, *CENTRE_RESTORES, *CENTRE_CLOCK)


class Stores(RuleBasedStateMachine):
    """A world that takes any step at any time."""

    lab: Lab
    steps: tuple[str, ...]

    @initialize(config=st.integers(0, 2**12))
    def begin(self, config):
        self.plan, self.has_failed = Plan(config, ()), False
        self.world = self.lab.world(config)
        world = self.world
        self.narrowed = narrow(world.clock, world.ids, is_small=world.is_small)
        self.narrowed.__enter__()
        with self.told():
            self.lab.runner.run(self.world.start())

    @rule(data=st.data(), number=st.integers(0, 999))
    def step(self, data, number):
        name = data.draw(st.sampled_from(self.steps))
        self.plan = Plan(self.plan.config, (*self.plan.steps, (name, number)))
        with self.told():
            self.lab.runner.run(self.world.step(name, number))

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Say of what fails by which command it fails again."""
        try:
            yield
        except Exception as why:
            self.has_failed = True
            outcome = Outcome(self.plan, why, self.world.reach, self.world.trace)
            why.add_note(report(outcome, lines=60))
            raise

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            if not self.has_failed:
                with self.told():
                    self.lab.runner.run(self.world.settle())
                    self.lab.runner.run(self.world.at_rest())
        finally:
            self.lab.runner.run(self.world.close())
            self.narrowed.__exit__(None, None, None)
            shutil.rmtree(self.world.folder)


def machine_of(lab: Lab, steps: tuple[str, ...] = STEPS) -> type[Stores]:
    return type("StoresOfLab", (Stores,), {"lab": lab, "steps": steps})


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_whatever_hypothesis_thinks_of_real_stores_agree_with_the_oracle(lab):
    chosen = settings(
        max_examples=15,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine_of(lab), settings=chosen)


@pytest.mark.postgres
@pytest.mark.timeout(120)
def test_what_hypothesis_finds_tells_the_command_that_repeats_it(lab, monkeypatch):
    async def obey(world: World) -> None:
        if world.reach["user transaction"] > 1:
            fail("obeyed after two writes")

    monkeypatch.setattr(World, "obey", obey)
    few = settings(
        max_examples=3,
        stateful_step_count=6,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(Violation) as found:
        run_state_machine_as_test(machine_of(lab, ("write", "obey")), settings=few)
    (command,) = re.findall(r"repeat it: make sim STEPS='(.+)'", "\n".join(found.value.__notes__))
    plan = Plan.of_text(command)
    assert len(plan.steps) <= 6
    assert str(lab.run(plan).why) == str(found.value)
