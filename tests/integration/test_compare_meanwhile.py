"""What a person writes between the comparison of a row and its repair stands."""

from __future__ import annotations

import asyncio

import pytest

import edge.compare as comparing
from edge.compare.centre import Centre
from tests.integration.central_world import SITES, execute
from tests.integration.compare_world import counts, tampered, tampered_there, verify
from tests.integration.test_compare import orders, reports
from tests.integration.whole_world import whole_world

SITE = SITES[0]
NEW = (
    "INSERT INTO work_orders (order_no, source, qty_ordered, uom) VALUES ('NEW', 'LOCAL', '1',"
    " 'pcs')"
)

DAY = "2026-11-26T06:00:00.000Z"
TAMPERED = {"notes": "'tampered'", "priority": "3", "planned_start": "'2020-01-01T00:00:00.000Z'"}


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        edge = world.edges[SITE]
        edge.write(orders(5))
        await world.settle()
        yield world


def before(monkeypatch, owner, name, act, pause_s=0.0):
    """Do something before a function is called, once, and let some time pass."""
    real, done = getattr(owner, name), []

    async def first_act(*given, **named):
        if not done:
            done.append(act())
            await asyncio.sleep(pause_s)
        return await real(*given, **named)

    monkeypatch.setattr(owner, name, first_act)


@pytest.mark.parametrize("pause_s", [0.0, 1.0])
async def test_a_row_written_after_it_was_judged_is_left_to_the_next_comparison(
    world, monkeypatch, pause_s
):
    edge = world.edges[SITE]
    tampered(edge, "UPDATE work_orders SET notes = 'tampered' WHERE order_no = 'WO-1'")
    write = "UPDATE work_orders SET notes = 'a person' WHERE order_no = 'WO-1'"
    before(monkeypatch, comparing, "repair", lambda: edge.write(write), pause_s)
    report = await verify(edge, repair=True)
    assert [each.repair for each in report.differences] == ["moved"]
    await world.settle()
    notes = "SELECT notes FROM {} WHERE order_no = 'WO-1'"
    assert await world.central(notes.format("mes.work_orders")) == [("a person",)]
    assert edge.read(notes.format("work_orders")) == [("a person",)]


@pytest.mark.parametrize(
    ("column", "stood", "person"),
    [("notes", "line one\ntwo", "a person"), ("priority", 50, 7), ("planned_start", None, DAY)],
)
async def test_a_write_that_is_made_while_a_repair_is_under_way_stands_whatever_the_policy(
    world, monkeypatch, column, stood, person
):
    edge = world.edges[SITE]
    of_one = f"SET {column} = ? WHERE order_no = 'WO-1'"
    tampered(edge, f"UPDATE work_orders SET {column} = {TAMPERED[column]} WHERE order_no = 'WO-1'")
    write = (f"UPDATE work_orders {of_one}", (person,))
    before(monkeypatch, Centre, "repair", lambda: edge.write(write))
    report = await verify(edge, repair=True)
    assert [each.repair for each in report.differences] == ["sent"]
    await world.settle()
    value = f"SELECT {column} FROM work_orders WHERE order_no = 'WO-1'"
    assert edge.read(value) == [(person,)]
    assert (await verify(edge)).found == 0
    (kept,) = await world.central(
        "SELECT verdict, central_value FROM mes.sync_conflicts WHERE policy <> 'repair'"
    )
    assert kept == ("here", {column: stood})


async def test_a_deletion_that_is_made_while_a_repair_is_under_way_stands(world, monkeypatch):
    edge = world.edges[SITE]
    tampered(edge, "UPDATE work_orders SET notes = 'tampered' WHERE order_no = 'WO-1'")
    act = "DELETE FROM work_orders WHERE order_no = 'WO-1'"
    before(monkeypatch, Centre, "repair", lambda: edge.write(act))
    await verify(edge, repair=True)
    await world.settle()
    assert edge.read("SELECT 1 FROM work_orders WHERE order_no = 'WO-1'") == []
    assert await world.central("SELECT 1 FROM mes.work_orders WHERE order_no = 'WO-1'") == []


async def test_a_write_of_the_centre_after_a_repair_is_later_than_it(world):
    edge = world.edges[SITE]
    tampered(edge, "UPDATE work_orders SET notes = 'tampered' WHERE order_no = 'WO-1'")
    assert (await verify(edge, repair=True)).differing == 0
    await execute(world.url, "UPDATE mes.work_orders SET notes = 'plan' WHERE order_no = 'WO-1'")
    await world.settle()
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'WO-1'") == [("plan",)]


@pytest.mark.parametrize("pause_s", [0.0, 1.0])
async def test_a_row_nobody_captured_is_sent_as_it_stands_when_it_is_repaired(
    world, monkeypatch, pause_s
):
    edge = world.edges[SITE]
    tampered(edge, NEW)
    write = "UPDATE work_orders SET notes = 'meanwhile' WHERE order_no = 'NEW'"
    before(monkeypatch, comparing, "repair", lambda: edge.write(write), pause_s)
    await verify(edge, repair=True)
    await world.settle()
    notes = "SELECT notes FROM mes.work_orders WHERE order_no = 'NEW'"
    assert await world.central(notes) == [("meanwhile",)]


async def test_two_repairs_at_once_keep_one_record_of_each_row(world, monkeypatch):
    edge = world.edges[SITE]
    both, here, real = asyncio.Event(), set(), comparing.repair

    async def after_both_have_compared(*given):
        here.add(asyncio.current_task())
        if len(here) == 2:
            both.set()
        await both.wait()
        return await real(*given)

    monkeypatch.setattr(comparing, "repair", after_both_have_compared)
    edge.write(reports(30))
    await world.settle()
    tampered(
        edge,
        "UPDATE work_orders SET notes = 'x' WHERE order_no IN ('WO-1', 'WO-2')",
        "DELETE FROM work_orders WHERE order_no = 'WO-3'",
        NEW,
        "DELETE FROM job_responses WHERE _seq BETWEEN 20 AND 22",
    )
    await tampered_there(
        world,
        "DELETE FROM mes.job_responses WHERE qty_good BETWEEN 10 AND 14",
        "DELETE FROM mes.work_orders WHERE order_no = 'WO-5'",
    )
    one, two = await asyncio.gather(verify(edge, repair=True), verify(edge, repair=True))
    assert counts(one) == counts(two) == {"work_orders": (2, 1, 2), "job_responses": (0, 3, 5)}
    await world.settle()
    assert (await verify(edge)).found == 0
    records = "SELECT policy, count(*), count(DISTINCT row_id) FROM mes.sync_conflicts GROUP BY 1"
    assert await world.central(records) == [("repair", 7, 7)]
