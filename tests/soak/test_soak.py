"""A minute of it with four sites; `make soak` runs it for as long as one likes."""

from __future__ import annotations

import pytest

from tests.soak.plan import Kind
from tests.soak.run import Soak

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.nats]


@pytest.mark.timeout(600)  # it may settle for five minutes, and then says why
def test_a_minute_of_load_and_faults_ends_with_every_write_standing_or_on_record(tmp_path, seed):
    told: list[str] = []
    report = Soak(tmp_path, seconds=60, sites=4, seed=seed, say=told.append).run()
    assert report.passed, f"python -m tests.soak --minutes 1 --sites 4 --seed {seed}\n" + "\n".join(
        [*report.violations, *told]
    )
    # It met what it is about.
    assert len({fault.kind for fault in report.faults}) >= len(Kind) - 3
    assert report.figures["facts"] > 200
    assert report.figures["notes on record"] > 0
    assert report.figures["rows parked"] > 0
    assert report.figures["backups marked"] > 0
