"""A backup that is marked at the centre: what the sites let go of, and what they are told."""

from __future__ import annotations

import math
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

import edge.agent
from central.backups import Mark, set_mark
from central.upkeep import advance_safe
from edge.gauges import measure
from edge.status import read_picture
from edge.verdict import judge
from tests.integration.central_world import connect
from tests.integration.whole_world import World, whole_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.postgres, pytest.mark.nats]
SITES = ("SITE_001", "SITE_002")


@pytest.fixture
async def world(centre, nats_server, tmp_path, monkeypatch) -> AsyncIterator[World]:
    monkeypatch.setattr(edge.agent, "_PRUNE_EVERY_S", 0.1)
    async with whole_world(centre, nats_server.url, tmp_path, SITES) as opened:
        await opened.settle_counts()
        yield opened


async def write(world: World, site: str) -> int:
    """Have a program write, and all of it decided; return the number that it went by."""
    world.edges[site].write(
        ("INSERT INTO work_orders (order_no) VALUES (?)", (f"WO-{uuid.uuid4().hex[:8]}",))
    )
    await world.settle_counts()
    ((last_n,),) = world.edges[site].read("SELECT last_n FROM _sync_site")
    return last_n


async def say(world: World, name: str, *marks: Mark) -> None:
    async with connect(world.url) as connection:
        for mark in marks:
            await set_mark(connection, name, mark)


async def keep_up(world: World) -> None:
    async with connect(world.url) as connection:
        await advance_safe(connection, safe_after_s=0)


def kept(world: World, site: str) -> list[int]:
    """The numbers of the transactions that a site would send again."""
    return [n for (n,) in world.edges[site].read("SELECT DISTINCT n FROM _sync_out ORDER BY n")]


def picture(world: World, site: str):
    return read_picture(world.edges[site].path, time.time_ns() // 10**6)


async def test_an_idle_site_lets_go_of_what_is_in_the_oldest_backup_and_of_nothing_else(world):
    first = {site: await write(world, site) for site in SITES}
    await say(world, "mon", Mark.BEGUN)
    second = await write(world, "SITE_001")
    await say(world, "mon", Mark.FINISHED)
    await keep_up(world)
    # Nobody writes any more: the feed alone brings it.
    await world.eventually(lambda: not kept(world, "SITE_002"))
    await world.eventually(lambda: kept(world, "SITE_001") == [second])
    assert second == first["SITE_001"] + 1
    await say(world, "tue", Mark.BEGUN, Mark.FINISHED)
    await keep_up(world)
    await say(world, "mon", Mark.GONE)
    await keep_up(world)
    await world.eventually(lambda: not kept(world, "SITE_001"))


async def test_a_site_shows_until_when_it_is_protected_also_when_it_is_cut_off(world):
    assert not picture(world, "SITE_001").protected.marked
    await write(world, "SITE_001")
    before_ms = time.time_ns() // 10**6
    await say(world, "mon", Mark.BEGUN, Mark.FINISHED)
    await write(world, "SITE_001")
    await keep_up(world)
    await world.eventually(lambda: picture(world, "SITE_001").protected.through_ms)
    told = picture(world, "SITE_001").protected
    assert (told.marked, told.why) == (True, "")
    assert before_ms - 60_000 < told.through_ms <= told.newest_ms
    await world.stop_centre()
    await world.edges["SITE_001"].stop()
    assert picture(world, "SITE_001").protected == told
    await world.edges["SITE_001"].start()  # nobody answers it any more
    await world.eventually(lambda: picture(world, "SITE_001").agent.running)
    await world.eventually(lambda: picture(world, "SITE_001").agent.connected)
    assert picture(world, "SITE_001").protected == told


async def test_a_site_warns_and_measures_when_no_backup_is_left(world):
    await write(world, "SITE_001")
    await say(world, "mon", Mark.BEGUN, Mark.FINISHED)
    await keep_up(world)
    await world.eventually(lambda: picture(world, "SITE_001").kept.transactions == 0)
    await world.eventually(lambda: picture(world, "SITE_001").protected.marked)
    measure(picture(world, "SITE_001"))
    site = {"site": "SITE_001"}
    assert REGISTRY.get_sample_value("mes_edge_protected_age_seconds", site) == 0
    await say(world, "mon", Mark.GONE)
    await write(world, "SITE_001")
    await keep_up(world)
    await world.eventually(lambda: picture(world, "SITE_001").protected.why)
    seen = picture(world, "SITE_001")
    assert [reason.code for reason in judge(seen).reasons] == ["MES-BACKUP-OLD"]
    assert seen.kept.transactions == 1
    measure(seen)
    assert math.isnan(REGISTRY.get_sample_value("mes_edge_protected_age_seconds", site) or 0)
    assert REGISTRY.get_sample_value("mes_edge_kept_transactions", site) == 1
    assert REGISTRY.get_sample_value("mes_edge_backup_late", site) == 1
