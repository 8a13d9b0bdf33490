"""The centre goes back to a backup, and two sites tell of one row that both of them get."""

from __future__ import annotations

import pytest

from tests.faults.conftest import SITE
from tests.faults.restorable import OTHER, plant

pytestmark = pytest.mark.postgres
__all__ = ["plant"]

_MADE = """INSERT INTO mes.material_definitions (id, site_id, created_at, material_code)
    VALUES (uuidv7(), '*', now(), '{}')"""
_SHOWN = "SELECT material_code, description FROM material_definitions ORDER BY 1"


def described(text: str) -> str:
    return f"UPDATE mes.material_definitions SET description = '{text}'"


async def test_the_later_of_two_sites_words_on_a_shared_row_stands_everywhere(plant):
    world, (first, second) = plant.world, (plant.world.edges[each] for each in (SITE, OTHER))
    await plant.plan(_MADE.format("M-1"))
    await world.settle()
    backup = await plant.backup()
    await plant.plan(described("the older word"))
    await world.settle()
    await second.stop()  # its line is down for the rest of the lost time
    await plant.plan(described("the newer word"))
    await plant.plan(_MADE.format("M-2"))
    wanted = [("M-1", "the newer word"), ("M-2", None)]
    await world.eventually(lambda: first.read(_SHOWN) == wanted)
    await first.stop()
    await plant.restore(backup)
    await world.start_centre()
    for each in (second, first):
        await each.start()
        came = "SELECT 1 FROM sync.restore WHERE site = %s"
        await world.eventually(lambda: world.central(came, each.site), timeout_s=30)  # noqa: B023
    await world.settle()
    assert first.read(_SHOWN) == second.read(_SHOWN) == wanted
    assert await world.central(_SHOWN.replace("material_d", "mes.material_d")) == wanted
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]
