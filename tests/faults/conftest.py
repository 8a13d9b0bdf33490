"""A whole system for each fault: of one site within this process, or of two with all its programs
as processes of their own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from central.agent import run_feed, run_ingest
from central.roles import as_role
from central.settings import CentralSettings
from tests.faults.system import System, running_system
from tests.integration.central_world import CATALOG
from tests.integration.conftest import centre, centre_template
from tests.integration.whole_world import SITE, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

__all__ = ["SITE", "centre", "centre_template", "fed", "feeding", "ingesting", "system", "world"]


@pytest.fixture
async def fed(world):
    """The world without an ingest; the feed goes on."""
    await world.stop_centre()
    async with feeding(world.url, world.nats_url):
        yield world


@pytest.fixture
async def system(centre, nats_server, tmp_path) -> AsyncIterator[System]:
    """Two sites, one ingest and the feed as processes, settled."""
    async with running_system(centre, nats_server.url, tmp_path) as system:
        yield system


@asynccontextmanager
async def ingesting(database_url: str, nats_url: str) -> AsyncIterator[None]:
    """Run an ingest until the end of the block."""
    settings = CentralSettings(
        database_url=as_role(database_url, "mes_ingest"), nats_servers=(nats_url,), lease_s=1.0
    )
    async with _running(run_ingest(settings, CATALOG)):
        yield


@asynccontextmanager
async def feeding(database_url: str, nats_url: str) -> AsyncIterator[None]:
    """Run the feed, and no ingest, until the end of the block."""
    settings = CentralSettings(
        database_url=as_role(database_url, "mes_ingest"), nats_servers=(nats_url,)
    )
    async with _running(run_feed(settings, CATALOG)):
        yield


@asynccontextmanager
async def _running(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
