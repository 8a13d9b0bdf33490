"""What the centre, the broker and a site count of what came through."""

from __future__ import annotations

import json

from prometheus_client import REGISTRY

from sync.transport import Link, LinkSettings
from tests.faults.conftest import SITE


async def applied(world) -> int:
    """Return how many transactions had their effect at the centre."""
    return (await world.central("SELECT count(*) FROM sync.applied"))[0][0]


def skipped() -> float:
    """Return how many transactions the ingests of this process knew already."""
    return REGISTRY.get_sample_value("mes_central_skipped_total", {"site": SITE}) or 0.0


async def stored(world) -> int:
    """Return how many messages of the site its stream has ever stored; 0 where there is none."""
    async with Link(LinkSettings(servers=(world.nats_url,), name="onlooker")) as link:
        await link.wait_connected(5)
        answer = json.loads(await link.request(f"$JS.API.STREAM.INFO.UP_{SITE}", b""))
    return answer["state"]["last_seq"] if "state" in answer else 0


def unsent(edge) -> int:
    """Return how many transactions are drained and not decided."""
    return edge.read("SELECT last_n - acked_n FROM _sync_site")[0][0]


async def all_is_there_once(world, *, events: int, orders: int) -> None:
    """Check that nothing was lost or doubled, and that each number was decided once."""
    assert await world.central(
        "SELECT (SELECT count(*) FROM mes.equipment_state_events),"
        " (SELECT count(*) FROM mes.work_orders), (SELECT count(*) FROM mes.sync_parked)"
    ) == [(events, orders, 0)]
    assert await world.central("SELECT sum(last_n) FROM sync.epoch") == [(await applied(world),)]
