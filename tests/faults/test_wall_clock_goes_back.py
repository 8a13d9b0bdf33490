"""A site's clock is an hour off, jumps ahead or goes back; the later of two writes still stands.

SQLite asks the machine for the time, so a write by a wrong clock is dated in its log row, in the
transaction that made it; the agent's own clock is set by its one function.
"""

from __future__ import annotations

import asyncio
import time

import pytest

import central.status
import edge.agent
import edge.handshake
import edge.lanes
import edge.status
from central.picture import read_picture
from central.roles import as_role
from edge.verdict import judge
from tests.faults.cases import local_orders
from tests.faults.conftest import SITE
from tests.integration.central_world import CATALOG, connect, execute

HOUR_MS = 3_600_000
DRIFT_MS = 300_000


def real_ms() -> int:
    return time.time_ns() // 10**6


def notes_by_a_clock(text: str, off_ms: int) -> tuple[str, ...]:
    """Return the statements of a program whose clock is off by so much."""
    return (
        f"UPDATE work_orders SET notes = '{text}' WHERE order_no = 'A'",
        f"UPDATE _sync_log_work_orders SET at_ms = at_ms + {off_ms}",
    )


def notes_at_the_centre(text: str) -> str:
    return f"UPDATE mes.work_orders SET notes = '{text}' WHERE order_no = 'A'"


@pytest.fixture
def clock(world, monkeypatch):
    """Return how to set the site's clock off, as the centre hears of it at the next hello."""
    plant = world.edges[SITE]

    async def set_off(off_ms: int) -> None:
        await plant.stop()
        for module in (edge.agent, edge.handshake, edge.lanes):
            monkeypatch.setattr(module, "now_ms", lambda: real_ms() + off_ms)
        await plant.start()
        await world.eventually(lambda: abs(_offset(plant) + off_ms) < 60_000)

    return set_off


def _offset(plant) -> int:
    return plant.read("SELECT offset_ms FROM _sync_site")[0][0]


async def quarrel(world, *, site_first: bool, off_ms: int) -> tuple:
    """Have both ends write notes without seeing the other's; return what stands, and the record."""
    plant = world.edges[SITE]
    plant.write(local_orders("A"))
    await world.settle()
    await plant.stop()
    here, there = notes_by_a_clock("site", off_ms), notes_at_the_centre("centre")
    if site_first:
        plant.write(*here)
        await asyncio.sleep(0.05)
        await execute(world.url, there)
    else:
        await execute(world.url, there)
        await asyncio.sleep(0.05)
        plant.write(*here)
    await plant.start()
    await world.settle()
    ((notes,),) = plant.read("SELECT notes FROM work_orders WHERE order_no = 'A'")
    ((policy, verdict, clamped, here_ms),) = await world.central(
        "SELECT policy, verdict, clock_clamped, extract(epoch FROM here_at) * 1000"
        " FROM mes.sync_conflicts"
    )
    assert policy == "last_write"
    assert plant.read("SELECT verdict, clock_clamped FROM sync_conflicts") == [
        (verdict, int(clamped))
    ]
    return notes, verdict, clamped, float(here_ms)


@pytest.mark.parametrize("off_ms", [HOUR_MS, -HOUR_MS])
@pytest.mark.parametrize(
    ("site_first", "stands", "verdict"), [(True, "centre", "central"), (False, "site", "here")]
)
async def test_an_hour_off_that_the_hello_measured_changes_no_verdict(
    world, clock, off_ms, site_first, stands, verdict
):
    await clock(off_ms)
    notes, decided, clamped, here_ms = await quarrel(world, site_first=site_first, off_ms=off_ms)
    assert (notes, decided, clamped) == (stands, verdict, False)
    assert abs(here_ms - real_ms()) < 60_000


async def test_a_clock_that_jumped_ahead_is_held_to_five_minutes_and_flagged(world):
    notes, verdict, clamped, here_ms = await quarrel(world, site_first=True, off_ms=HOUR_MS)
    assert (notes, verdict, clamped) == ("site", "here", True)
    assert abs(here_ms - DRIFT_MS - real_ms()) < 60_000


async def test_a_clock_that_went_back_loses_by_what_it_shows_and_is_not_flagged(world):
    notes, verdict, clamped, here_ms = await quarrel(world, site_first=False, off_ms=-HOUR_MS)
    assert (notes, verdict, clamped) == ("centre", "central", False)
    assert abs(here_ms + HOUR_MS - real_ms()) < 60_000


async def test_a_site_never_loses_to_its_own_earlier_write_however_far_its_clock_goes_back(world):
    plant = world.edges[SITE]
    plant.write(local_orders("A"))
    for number, off_ms in enumerate((0, HOUR_MS, -HOUR_MS, -2 * HOUR_MS)):
        await world.settle()  # its log is empty: the next write alone is dated
        plant.write(*notes_by_a_clock(f"n{number}", off_ms))
    await world.settle()
    assert plant.read("SELECT notes FROM work_orders") == [("n3",)]
    assert await world.central("SELECT 1 FROM mes.sync_conflicts") == []
    stamps = await world.central("SELECT hlc FROM sync.version ORDER BY ord")
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("off_ms", [HOUR_MS, -HOUR_MS])
async def test_a_site_whose_clock_is_off_is_heard_of_every_beat_and_called_away_by_nobody(
    world, clock, off_ms
):
    await clock(off_ms)
    beats = [await _heard_of(world)]
    for _ in range(2):
        await world.eventually(lambda: _heard_since(world, beats[-1]))
        beats.append(await _heard_of(world))
    assert all(abs(each.timestamp() * 1000 - real_ms()) < 60_000 for each in beats)
    url = as_role(world.url, "mes_ingest")
    async with connect(url) as connection:
        picture = await read_picture(connection, CATALOG, None)
    site = next(each for each in central.status.judge(picture).sites if each.picture.site == SITE)
    assert "MES-AWAY" not in {each.code for each in site.reasons}
    here = judge(edge.status.read_picture(world.edges[SITE].path, real_ms() + off_ms))
    assert {each.code for each in here.reasons} == {"MES-CLOCK"}


async def _heard_of(world):
    ((at,),) = await world.central("SELECT hello_at FROM sync.site WHERE site = %s", SITE)
    return at


async def _heard_since(world, before) -> bool:
    return await _heard_of(world) > before
