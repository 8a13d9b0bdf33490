"""Whatever a CSV file and its map hold, lines are taken or rejected, and the import ends."""

from __future__ import annotations

import pytest

from tests.fuzz.imports import IMPORTS


@pytest.mark.slow
@pytest.mark.parametrize("target", IMPORTS, ids=lambda target: target.name)
def test_whatever_a_file_and_its_map_hold_is_taken_or_refused(target, seed):
    target.run(seed)
