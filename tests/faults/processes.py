"""Our programs as processes, which a test may stop and kill."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from central.roles import as_role
from tests.faults.conftest import SITE

if TYPE_CHECKING:
    from asyncio.subprocess import Process

ROOT = Path(__file__).parents[2]


async def run_agent(store: Path, nats_url: str, **settings: str) -> Process:
    """Start the agent of the site."""
    environment = {
        "MES_SITE": SITE,
        "MES_STORE": str(store),
        "MES_NATS_SERVERS": nats_url,
        "MES_BEAT_S": "1",
        "MES_LOG_LEVEL": "error",
        **settings,
    }
    return await _run("edge.cli.edge_command", "run", environment=environment)


async def run_ingest(database_url: str, nats_url: str) -> Process:
    """Start an ingest of the centre."""
    return await _run_central("ingest", database_url, nats_url)


async def run_feed(database_url: str, nats_url: str) -> Process:
    """Start the feed of the centre."""
    return await _run_central("feed", database_url, nats_url)


async def _run_central(work: str, database_url: str, nats_url: str) -> Process:
    environment = {
        "MES_DATABASE_URL": as_role(database_url, "mes_ingest"),
        "MES_NATS_SERVERS": nats_url,
        "MES_LEASE_S": "1",
        "MES_LOG_LEVEL": "error",
    }
    return await _run("central", work, environment=environment)


async def _run(module: str, *arguments: str, environment: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env=environment, cwd=ROOT
    )
