"""Rows that nobody captured, parents that come late, bad rows, and loads beside a live plant."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from uuid import uuid4

import pytest

from central import snapshot
from edge import agent, loading
from shared.observe import JsonLines
from tests.faults.cases import state_events
from tests.integration.central_world import execute
from tests.integration.compare_world import counts, tampered, tampered_there, verify
from tests.integration.family import F1, F2, F3, family_template, world
from tests.integration.site_world import mes_sync

__all__ = ["family_template", "world"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.postgres, pytest.mark.nats]

#: What a change may take from one end to the other while machines are busy with something else.
PROMPT_S = 5.0


def many(table: str, column: str, prefix: str, count: int) -> str:
    """Return the statement of a site's program that makes so many rows."""
    return (
        f"INSERT INTO {table} ({column}) WITH RECURSIVE k(n) AS"
        f" (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {count})"
        f" SELECT '{prefix}' || n FROM k"
    )


async def applied(world) -> dict[str, int]:
    """Return how many transactions of each site the centre has applied."""
    return dict(await world.central("SELECT site, sum(last_n)::int FROM sync.epoch GROUP BY site"))


async def count(world, table: str, condition: str) -> int:
    ((found,),) = await world.central(f"SELECT count(*) FROM mes.{table} WHERE {condition}")
    return found


# --- uncaptured rows, and what brings them --------------------------------------------------------


async def test_rows_that_nobody_captured_go_up_by_a_repair_of_their_site_alone(world):
    """A hundred, then the half of them that the centre has lost; and none where none is lost."""
    edge = world.edges[F1]
    edge.write("INSERT INTO items (code) VALUES ('seen')")
    tampered(edge, many("items", "code", "U", 100))
    await world.settle_counts()
    before = await applied(world)
    assert await count(world, "items", "code LIKE 'U%'") == 0
    report = await verify(edge, "items", repair=True)
    assert (counts(report), report.differing) == ({"items": (0, 0, 100)}, 0)
    assert await count(world, "items", "code LIKE 'U%'") == 100
    await tampered_there(
        world, "DELETE FROM mes.items WHERE code LIKE 'U%' AND substr(code, 2)::int <= 50"
    )
    report = await verify(edge, "items", repair=True)
    assert (counts(report), report.differing) == ({"items": (0, 0, 50)}, 0)
    assert await count(world, "items", "code LIKE 'U%'") == 100
    again = await verify(edge, "items", repair=True)
    assert (again.found, counts(again)) == (0, {})
    await world.settle()
    after = await applied(world)
    assert {site for site in after if after[site] != before.get(site, 0)} == {F1}


async def test_a_child_brings_its_parent_along_that_nobody_captured(world, monkeypatch):
    """Nobody has to know: that the child waits tells the agent which row the centre lacks."""
    monkeypatch.setattr(agent, "_PRUNE_EVERY_S", 0.2)
    edge, ids = world.edges[F1], [str(uuid4()) for _ in range(2)]
    await edge.stop()
    await edge.start()  # an agent that looks as often as that
    tampered(
        edge,
        f"INSERT INTO parents (id, name) VALUES ('{ids[0]}', 'unseen')",
        f"INSERT INTO children (id, name, pid) VALUES ('{ids[1]}', 'unseen', '{ids[0]}')",
    )
    edge.write(f"INSERT INTO grandchildren (name, pid) VALUES ('early', '{ids[1]}')")
    await world.eventually(lambda: count(world, "grandchildren", "name = 'early'"))
    await world.settle()
    waited = "SELECT state FROM mes.sync_parked WHERE reason = 'parent_missing'"
    assert await world.central(waited) == [("applied",)] * 2
    assert await world.central("SELECT id::text FROM mes.parents WHERE name = 'unseen'") == [
        (ids[0],)
    ]


# --- bad rows -------------------------------------------------------------------------------------


async def test_a_bad_row_holds_up_no_other_and_is_shown_where_it_was_written(world):
    edge = world.edges[F1]
    edge.write("INSERT INTO items (code) VALUES ('first')")
    await world.settle()
    await edge.stop()
    await execute(world.url, f"INSERT INTO mes.items (site_id, code) VALUES ('{F1}', 'taken')")
    edge.write("INSERT INTO items (code) VALUES ('taken'), ('good')")
    await edge.start()
    await world.eventually(lambda: count(world, "items", "code = 'good'"))
    since = time.monotonic()
    edge.write("UPDATE items SET qty = 5 WHERE code = 'first'")
    await world.eventually(lambda: count(world, "items", "code = 'first' AND qty = 5"))
    assert time.monotonic() - since < PROMPT_S
    await world.settle()
    shown = await asyncio.to_thread(mes_sync, edge.path, "status", "--json")
    assert "MES-PARKED" in {each["code"] for each in shown.document["reasons"]}
    listed = await asyncio.to_thread(mes_sync, edge.path, "parked", "list", "--json")
    assert "taken" in listed.out


async def test_both_ends_count_the_same_rows_of_a_transaction(world, caplog):
    """What the site says that it drained is what the centre applied and parked."""
    caplog.set_level(logging.INFO)
    edge, written = world.edges[F1], JsonLines()
    await edge.stop()
    await execute(world.url, f"INSERT INTO mes.items (site_id, code) VALUES ('{F1}', 'both')")
    edge.write(
        "INSERT INTO items (code) VALUES ('both'), ('c1'), ('c2')",
        "INSERT INTO parents (name) VALUES ('c1')",
        state_events(5),
    )
    await edge.start()
    await world.settle()
    lines = [json.loads(written.format(record)) for record in caplog.records]
    (drained,) = [each for each in lines if each["event"] == "drained"]
    (outcome,) = [each for each in lines if each["event"] == "applied" and "parked" in each]
    assert drained["tx_id"] == outcome["tx_id"]
    assert (drained["rows"], outcome["rows"], outcome["parked"]) == (9, 8, 1)


# --- loads ----------------------------------------------------------------------------------------


@pytest.fixture
def slowly(monkeypatch):
    """Have snapshots made and loaded in many small steps."""
    monkeypatch.setattr(snapshot, "CHUNK_ROWS_MAX", 50)
    monkeypatch.setattr(loading, "BREATH_S", 0.2)


async def wants_all(world, prefix: str) -> None:
    """Give F3 four hundred rows that it has to load, and stop it before it hears of them."""
    edge = world.edges[F3]
    await edge.stop()
    await execute(
        world.url,
        f"INSERT INTO mes.items (site_id, code) SELECT '{F3}', '{prefix}' || n"
        " FROM generate_series(1, 400) AS n",
    )
    asks_for_a_load(edge)


def asks_for_a_load(edge) -> None:
    with contextlib.closing(edge.open()) as store:
        store.want_snapshot("a test wants it", time.time_ns() // 10**6)


def progress(edge) -> list[tuple[str, int]]:
    return edge.read("SELECT id, next_chunk FROM _sync_snapshot")


def is_further(edge, than: int) -> bool:
    return any(k > than for _, k in progress(edge))


async def test_a_load_goes_on_through_restarts_and_further_requests_and_never_backwards(
    world, slowly
):
    edge, seen = world.edges[F3], [("", 0)]
    await wants_all(world, "L")
    for _ in range(3):
        await edge.start()
        await world.eventually(lambda k=seen[-1][1]: is_further(edge, k))
        await edge.stop()
        seen += progress(edge)
        asks_for_a_load(edge)
    await edge.start()
    await world.settle()
    assert len({made for made, _ in seen[1:]}) == 1
    assert [k for _, k in seen] == sorted({k for _, k in seen})
    assert progress(edge) == []
    assert len(edge.read("SELECT 1 FROM items WHERE code LIKE 'L%'")) == 400


async def test_what_others_write_and_what_the_site_sends_does_not_wait_for_its_load(world, slowly):
    loads, others = world.edges[F3], world.edges[F2]
    await wants_all(world, "M")
    await loads.start()
    await world.eventually(lambda: is_further(loads, 0))
    since = time.monotonic()
    loads.write("INSERT INTO parents (name) VALUES ('up')")
    others.write("INSERT INTO items (code) VALUES ('up')")
    await execute(world.url, f"INSERT INTO mes.items (site_id, code) VALUES ('{F2}', 'down')")
    await world.eventually(lambda: others.read("SELECT 1 FROM items WHERE code = 'down'"))
    await world.eventually(lambda: count(world, "items", "code = 'up'"))
    await world.eventually(lambda: count(world, "parents", "name = 'up'"))
    assert progress(loads), "the window was not hit: all is loaded"
    assert time.monotonic() - since < PROMPT_S
    await world.settle()


async def test_a_load_brings_what_is_missing_keeps_what_nobody_captured_and_twice_is_once(world):
    edge = world.edges[F3]
    edge.write(many("items", "code", "K", 20))
    await world.settle()
    tampered(edge, "INSERT INTO items (code) VALUES ('uncaptured')")
    tampered(edge, "DELETE FROM items WHERE code = 'K7'")
    before, contents = await applied(world), []
    for _ in range(2):
        await edge.stop()
        asks_for_a_load(edge)
        await edge.start()
        wants = "SELECT 1 FROM _sync_site WHERE needs_snapshot"
        await world.eventually(lambda query=wants: not edge.read(query))
        contents.append(edge.read("SELECT * FROM items ORDER BY id"))
    assert contents[0] == contents[1]
    assert {"K7", "uncaptured"} <= {code for (code,) in edge.read("SELECT code FROM items")}
    assert await applied(world) == before
    await verify(edge, "items", repair=True)
    await world.settle()
    assert await count(world, "items", "code = 'uncaptured'") == 1
