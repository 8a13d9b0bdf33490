"""The same steps as Hypothesis chooses them: it looks for what fails, and shrinks it by itself."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.sim.campaign import Lab
from tests.sim.narrow import narrow
from tests.sim.world import FAULTS, USUAL

#: Writes and moves more often than faults, as Hypothesis takes the first ones for the simplest.
STEPS = (*USUAL, *USUAL, *FAULTS)


@pytest.fixture(scope="module")
def lab(_superuser_url):
    with Lab(_superuser_url) as lab:
        yield lab


def machine_of(lab: Lab) -> type[RuleBasedStateMachine]:
    class Stores(RuleBasedStateMachine):
        """A world that takes any step at any time."""

        @initialize(config=st.integers(0, 2**12))
        def begin(self, config):
            self.world = lab.world(config)
            self.narrowed = narrow(self.world.clock, is_small=self.world.is_small)
            self.narrowed.__enter__()
            lab.runner.run(self.world.start())

        @rule(name=st.sampled_from(STEPS), number=st.integers(0, 999))
        def step(self, name, number):
            lab.runner.run(self.world.step(name, number))

        def teardown(self):
            if not hasattr(self, "world"):
                return
            try:
                lab.runner.run(self.world.settle())
                lab.runner.run(self.world.at_rest())
            finally:
                lab.runner.run(self.world.close())
                self.narrowed.__exit__(None, None, None)
                shutil.rmtree(self.world.folder)

    return Stores


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
