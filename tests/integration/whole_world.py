"""A whole system in one process: broker, centre and edges as they run in production, but for the
processes around them. What the edges' programs do is done by plain sqlite3 connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central import roles
from central.agent import run_feed, run_ingest
from central.rolled import differences
from central.settings import CentralSettings
from central.unions import KEPT
from deploy.local.contents import compare_site
from edge.agent import Agent
from edge.settings import EdgeSettings
from edge.store import EdgeStore
from shared.catalog_file import load_catalog
from sync.transport import Link, LinkSettings
from tests.integration.central_world import CATALOG, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

#: The site of ``world``.
SITE = "SITE_001"


@dataclass
class Edge:
    """A site: its store, and its agent while it runs."""

    site: str
    path: Path
    nats_url: str
    catalog: Any = CATALOG
    _task: asyncio.Task | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def open(self) -> EdgeStore:
        return EdgeStore.open(
            self.path,
            self.catalog,
            site=self.site,
            now_ms=time.time_ns() // 10**6,
            host=socket.gethostname(),
        )

    async def _run(self) -> None:
        settings = EdgeSettings(
            site=self.site, store=self.path, beat_s=1.0, drain_pause_ms=10, **self.settings
        )
        store = await asyncio.to_thread(self._open_anywhere)
        link = LinkSettings(
            servers=(self.nats_url,), name=self.site, reconnect_spread_s=0.05,
            reconnect_wait_max_s=0.5, bytes_per_s_max=settings.bytes_per_s_max or None,
        )  # fmt: skip
        try:
            async with Link(link) as up:
                await Agent(settings, store, up).run()
        finally:
            store.close()

    def _open_anywhere(self) -> EdgeStore:
        return self.open()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"agent {self.site}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def program(self) -> sqlite3.Connection:
        """Return what a program of the plant writes with."""
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def write(self, *statements: str | tuple) -> None:
        """Run the statements in one transaction, as a program of the plant does."""
        connection = self.program()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for each in statements:
                text, given = (each, ()) if isinstance(each, str) else each
                connection.execute(text, given)
            connection.execute("COMMIT")
        finally:
            connection.close()

    def read(self, query: str, *given) -> list[tuple]:
        connection = self.program()
        try:
            return connection.execute(query, given).fetchall()
        finally:
            connection.close()

    def level(self, feeds: dict[str, int]) -> bool:
        """Whether all is drained and decided, and the feeds are applied to their ends."""
        with contextlib.closing(self.program()) as store:
            store.execute("BEGIN")  # one moment: a drain between two looks would hide its rows
            try:
                (last_n, acked_n, own, shared, loading), *_ = store.execute(
                    "SELECT last_n, acked_n, own_pos, shared_pos,"
                    " needs_snapshot OR EXISTS (SELECT 1 FROM _sync_in) FROM _sync_site"
                ).fetchall()
                waiting = any(store.execute(query).fetchall() for query in self._undrained(store))
            except (sqlite3.OperationalError, ValueError):  # the agent is still making the store
                return False
        level = (own, shared) == (feeds.get(self.site, 0), feeds.get("*", 0))
        return level and last_n == acked_n and not (loading or waiting)

    def _undrained(self, store: sqlite3.Connection) -> list[str]:
        names = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        logs = [name for (name,) in names if name.startswith("_sync_log_")]
        return [f'SELECT 1 FROM "{name}" LIMIT 1' for name in logs] + [
            f"""SELECT 1 FROM "{t.name}" WHERE _seq >
                (SELECT journal_mark FROM _sync_table WHERE name = '{t.name}') LIMIT 1"""
            for t in self.catalog.tables
            if t.fact
        ]


@dataclass
class World:
    """The centre, and the edges by site."""

    url: str
    nats_url: str
    edges: dict[str, Edge]
    _centre: list[asyncio.Task] = field(default_factory=list)

    async def start_centre(self, catalog: Any = CATALOG) -> None:
        """Start the feed and the ingest, by a catalogue to which the database was migrated."""
        settings = CentralSettings(
            database_url=roles.as_role(self.url, "mes_ingest"),
            nats_servers=(self.nats_url,),
            lease_s=3.0,
        )
        works = (run_feed(settings, catalog), run_ingest(settings, catalog))
        self._centre = [asyncio.create_task(work) for work in works]

    async def stop_centre(self) -> None:
        for task in self._centre:
            task.cancel()
        ended = await asyncio.gather(*self._centre, return_exceptions=True)
        self._centre = []
        for each in ended:
            if isinstance(each, Exception):
                raise each

    async def central(self, query: str, *given) -> list[tuple]:
        return await fetch(self.url, query, *given)

    async def eventually(self, claim, *, timeout_s: float = 60.0) -> Any:
        """Wait until the claim returns something true, and return it."""
        until = time.monotonic() + timeout_s
        while True:
            found = claim()
            found = await found if asyncio.iscoroutine(found) else found
            if found:
                return found
            if time.monotonic() > until:
                raise AssertionError(f"did not come true in {timeout_s} s: {claim}")
            await asyncio.sleep(0.03)

    async def settle(self, timeout_s: float = 90.0) -> None:
        """Wait until all is decided and applied, and check that both ends hold the same rows.

        The sums of the reports are those of the centre's facts then.
        """
        await self.settle_counts(timeout_s)
        with psycopg.connect(self.url) as centre:
            for edge in self.edges.values():
                with contextlib.closing(edge.program()) as store:
                    compared = compare_site(store, centre, edge.catalog, edge.site)
                differing = [f"{each}" for each in compared if not each.equal]
                assert not differing, "\n".join(differing)
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            for edge in self.edges.values():
                for rollup in KEPT:
                    assert await differences(connection, rollup, edge.site) == []

    async def settle_counts(self, timeout_s: float = 90.0) -> None:
        """Wait until all is decided and applied, without comparing rows."""
        await self.eventually(self._settled, timeout_s=timeout_s)

    async def _settled(self) -> bool:
        if await self.central("SELECT 1 FROM sync.touched LIMIT 1"):
            return False
        feeds = dict(await self.central("SELECT scope, pos FROM sync.feed_head"))
        return all(edge.level(feeds) for edge in self.edges.values())


@asynccontextmanager
async def whole_world(
    centre: str, nats_url: str, folder: Path, sites: tuple[str, ...], **settings: Any
) -> AsyncIterator[World]:
    """Run a centre and its edges until the end of the block."""
    edges = {site: Edge(site, folder / f"{site}.db", nats_url, settings=settings) for site in sites}
    world = World(centre, nats_url, edges)
    async with AsyncExitStack() as stack:
        await world.start_centre()
        stack.push_async_callback(world.stop_centre)
        for edge in edges.values():
            await edge.start()
            stack.push_async_callback(edge.stop)
        yield world


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    """A whole system of one site, settled."""
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        yield world


__all__ = ["SITE", "Edge", "World", "load_catalog", "whole_world", "world"]
