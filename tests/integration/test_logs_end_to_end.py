"""Logs at the default level tell the way of a transaction, there and back, by its id."""

from __future__ import annotations

import json
import logging

import pytest

from central import ingest
from shared.observe import NAMED_MAX, JsonLines, span
from sync.transport import Link, LinkSettings
from tests.faults.cases import local_orders, state_events
from tests.integration.whole_world import whole_world

SITE = "SITE_001"
WAY = [("edge.agent", "drained"), ("edge.lanes", "sent"), ("central.ingest", "applied"),
       ("edge.lanes", "applied")]  # fmt: skip


@pytest.fixture
def lines(caplog):
    """Give the lines that a process at the default level would have written."""
    caplog.set_level(logging.INFO)
    written = JsonLines()
    return lambda: [written.format(record) for record in caplog.records]


def way_of(tx_id: str, lines: list[str]) -> list[tuple[str, str]]:
    """Return who said what of a transaction, as whoever searches for its id sees it."""
    found = [json.loads(line) for line in lines if tx_id in line]
    return [(each["logger"], each["event"]) for each in found]


async def test_a_transaction_is_followed_by_its_id_from_edge_to_centre_and_back(
    centre, nats_server, tmp_path, lines
):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        edge = world.edges[SITE]
        edge.write(local_orders("A1"), state_events(3))
        await world.settle()
        ((tx_id,),) = edge.read("SELECT tx_id FROM _sync_out")
        await world.eventually(lambda: way_of(tx_id, lines()) == WAY)


async def test_each_of_a_few_transactions_that_travel_together_is_followed(
    centre, nats_server, tmp_path, lines
):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        edge = world.edges[SITE]
        await edge.stop()
        for number in range(5):
            edge.write(local_orders(f"A{number}"))
            store = edge.open()
            store.drain(1_000 + number)
            store.close()
        await edge.start()
        await world.settle()
        for (tx_id,) in edge.read("SELECT tx_id FROM _sync_out"):
            await world.eventually(lambda i=tx_id: set(WAY[1:]) <= set(way_of(i, lines())))


async def test_a_transaction_too_large_for_memory_is_followed_too(
    centre, nats_server, tmp_path, lines, monkeypatch
):
    monkeypatch.setattr(ingest, "PARTS_MAX", 0)  # every one is kept in PostgreSQL until it is whole
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        edge = world.edges[SITE]
        edge.write(state_events(3))
        await world.settle()
        ((tx_id,),) = edge.read("SELECT tx_id FROM _sync_out")
        await world.eventually(lambda: way_of(tx_id, lines()) == WAY)


def test_many_transactions_are_named_by_their_ends():
    all_of_them = [(n, f"id {n}") for n in range(1, NAMED_MAX + 2)]
    assert span(all_of_them[:1]) == {"n": 1, "tx_id": "id 1"}
    assert span(all_of_them[:3]) == {
        "first_n": 1, "last_n": 3, "tx_ids": ["id 1", "id 2", "id 3"]
    }  # fmt: skip
    assert span(all_of_them) == {
        "first_n": 1, "last_n": NAMED_MAX + 1, "tx_ids": ["id 1", f"id {NAMED_MAX + 1}"]
    }  # fmt: skip


async def test_the_lines_of_a_link_name_it(nats_server, lines):
    async with Link(LinkSettings(servers=(nats_server.url,), name="F07")) as link:
        await link.wait_connected(5)
    assert [json.loads(line)["link"] for line in lines() if "connected to" in line] == ["F07"]
