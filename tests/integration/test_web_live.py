"""The stream of events over a real connection: what is applied is told, and a stop ends it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from central.api.serve import listening, serve
from central.roles import INGEST, as_role
from central.web.app import build
from tests.integration.api_world import api, link
from tests.integration.apply_world import world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def revisions(lines: AsyncIterator[str]) -> dict[str, int]:
    """Return the next revisions that a stream tells."""
    async with asyncio.timeout(10):
        async for line in lines:
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")


async def test_what_is_applied_of_a_site_is_told_to_who_reaches_it(world, api):
    followed = asyncio.create_task(api.reach.live.follow(as_role(world.url, INGEST)))
    key = await api.key("plant:SITE_001")
    with listening("127.0.0.1", 0) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        served = asyncio.create_task(serve(build(api.reach), listener, ends=api.reach.live.end))
        shown = {"Authorization": f"Bearer {key}"}
        async with (
            httpx.AsyncClient(base_url=origin, headers=shown, timeout=20) as client,
            client.stream("GET", "/v1/events") as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            first = await revisions(lines)
            while not first:  # nobody had looked yet
                first = await revisions(lines)
            assert first.keys() == {"SITE_001"}
            other, own = world.site("SITE_002"), world.site()
            await other.writes(other.insert("work_orders", other.order()))
            await own.writes(own.insert("work_orders", own.order()))
            told = await revisions(lines)
            assert told.keys() == {"SITE_001"}
            assert told != first
            began = time.monotonic()
            served.cancel()
            assert [line async for line in lines if line] == []
        await asyncio.gather(served, return_exceptions=True)
        assert time.monotonic() - began < 3
    followed.cancel()
    await asyncio.gather(followed, return_exceptions=True)


async def test_changes_are_told_again_after_the_connection_was_cut(world, api):
    live, bell, own = api.reach.live, asyncio.Event(), world.site()
    live._bells[bell] = "test"
    url = make_conninfo(as_role(world.url, INGEST), application_name="to be cut")
    followed = asyncio.create_task(live.follow(url))
    async with asyncio.timeout(30):
        await bell.wait()
        bell.clear()
        cut = await world.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'to be cut'"
        )
        await own.writes(own.insert("work_orders", own.order()))
        await bell.wait()
    assert cut == 1
    assert not followed.done()
    followed.cancel()
    await asyncio.gather(followed, return_exceptions=True)
