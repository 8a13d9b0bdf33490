"""The agent: what it does when the link, the store or a program is not as it should be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import threading
import time
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from central import handshake
from edge import metrics
from edge.agent import Agent
from edge.beat import state_path
from edge.gauges import measure
from edge.settings import EdgeSettings
from edge.status import read_picture
from edge.store import EdgeStore
from edge.store import open as opening
from edge.verdict import SILENT_MAX_MS, judge
from edge.wake import LOOK_EVERY_S, Wake
from shared.catalog import Policy
from shared.errors import NotAuthorised
from sync.handshake import Welcome
from sync.nats_session import Session
from sync.transport import Link, LinkSettings
from tests.faults.cases import local_orders
from tests.integration.import_world import CATALOG, Site
from tests.integration.whole_world import whole_world

SITE = "SITE_001"
NOW_MS = 1_700_000_000_000


@pytest.fixture
def site(tmp_path) -> Site:
    made = Site("F07", tmp_path / "F07.db")  # in its place: a copy would be refused by its agent
    EdgeStore.open(made.store, CATALOG, site=made.name, now_ms=NOW_MS, host="test").close()
    return made


@contextlib.asynccontextmanager
async def offline_agent(site: Site, **settings_of_it: int):
    """Run an agent that reaches no broker; give its task."""
    given = {"drain_pause_ms": 10, **settings_of_it}
    settings = EdgeSettings(site=site.name, store=site.store, **given)
    store = EdgeStore.open(site.store, CATALOG, site=site.name, now_ms=NOW_MS, host="test")
    nowhere = LinkSettings(servers=("nats://127.0.0.1:1",), name=site.name)
    with contextlib.closing(store):
        async with Link(nowhere) as link:
            task = asyncio.create_task(Agent(settings, store, link).run())
            try:
                yield task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def until(claim, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_broker_that_refuses_us_for_a_while_ends_nothing(
    centre, nats_server, tmp_path, monkeypatch
):
    """As a node of a cluster does that does not know our account yet."""
    sessions, refusing = [], threading.Event()
    open_session = Session.open

    async def opened(self, server: str) -> None:
        await open_session(self, server)
        sessions.append(self)
        if self._settings.name == SITE and refusing.is_set():
            raise NotAuthorised(f"{server} refuses the credentials of {SITE}")

    monkeypatch.setattr(Session, "open", opened)
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        edge = world.edges[SITE]
        refusing.set()
        next(each for each in sessions if each._settings.name == SITE).drop("a node went down")
        edge.write(local_orders("A1"))
        await world.eventually(lambda: edge.read("SELECT 1 FROM _sync_out WHERE n = 1"))

        def verdict():
            return judge(read_picture(edge.path, time.time_ns() // 10**6))

        await world.eventually(lambda: [r.code for r in verdict().reasons] == ["MES-REFUSED"])
        await asyncio.sleep(1.0)  # long enough for every task to have met it
        assert not edge._task.done()
        edge.write(local_orders("A2"))
        refusing.clear()
        await world.settle()
        assert len(await world.central("SELECT 1 FROM mes.work_orders")) == 2
        await world.eventually(lambda: not verdict().reasons)


async def test_a_site_whose_hellos_never_agree_shows_what_the_centre_answers(
    centre, nats_server, tmp_path, monkeypatch
):
    judge_hello, disagreeing = handshake.judge, threading.Event()

    def judged(site, said, known):
        if disagreeing.is_set():
            return Welcome.SHOW, "a reason that stays"
        return judge_hello(site, said, known)

    monkeypatch.setattr(handshake, "judge", judged)
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        edge = world.edges[SITE]

        def reasons():
            seen = read_picture(edge.path, time.time_ns() // 10**6)
            later = replace(seen, at_ms=seen.at_ms + SILENT_MAX_MS)  # as after so long
            return {each.code: each.message for each in judge(later).reasons}

        disagreeing.set()
        await world.eventually(lambda: "a reason that stays" in reasons().get("MES-NOT-AGREED", ""))
        assert "MES-CENTRE-SILENT" not in reasons()
        disagreeing.clear()
        await world.eventually(lambda: "MES-NOT-AGREED" not in reasons())


async def test_stopping_while_a_program_holds_the_store_ends_in_good_order(
    site, monkeypatch, caplog
):
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 100)
    async with offline_agent(site) as task:
        await until(state_path(site.store).exists)
        with contextlib.closing(sqlite3.connect(site.store, isolation_level=None)) as program:
            program.execute("INSERT INTO work_orders (order_no) VALUES ('A-1')")
            program.execute("BEGIN IMMEDIATE")  # before the agent has seen what was committed
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            program.execute("COMMIT")
    assert json.loads(state_path(site.store).read_text())["stopped"] is True
    assert "not drained at the end" in caplog.messages
    assert not [each.name for each in threading.enumerate() if each.name.startswith("store")]


async def test_what_was_committed_before_the_end_is_drained_and_logged(site, caplog):
    caplog.set_level(logging.INFO)
    async with offline_agent(site) as task:
        await until(state_path(site.store).exists)
        with contextlib.closing(sqlite3.connect(site.store)) as program, program:
            program.execute("INSERT INTO work_orders (order_no) VALUES ('A-1')")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    drained = [each.fields["n"] for each in caplog.records if each.message == "drained"]
    assert drained == [1]


async def test_a_commit_through_a_link_to_the_store_wakes_the_agent(site, tmp_path):
    link = tmp_path / "folder" / "link.db"
    link.parent.mkdir()
    link.symlink_to(site.store)
    wake = Wake(link)
    watching = asyncio.create_task(wake.watch())
    try:
        await asyncio.sleep(0.1)
        with contextlib.closing(sqlite3.connect(site.store)) as program, program:
            program.execute("INSERT INTO work_orders (order_no) VALUES ('A-1')")
        started = time.monotonic()
        await wake.wait()
        assert time.monotonic() - started < LOOK_EVERY_S / 2
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_conflicts_of_yesterday_are_no_longer_counted_today(site):
    picture = read_picture(site.store, NOW_MS)
    labels = {"site": site.name, "policy": Policy.LATTICE.value}
    metrics.CONFLICTS.labels(**labels).set(7)
    measure(picture)
    assert REGISTRY.get_sample_value("mes_edge_conflicts_today", labels) == 0
