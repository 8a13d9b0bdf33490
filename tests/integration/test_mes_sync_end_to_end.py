"""A site's commands beside a running agent, with a real centre behind the broker."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from edge.csv_import import Order, read_map, run_import
from edge.reviews import Choice, resolve
from edge.status import read_picture
from edge.store import setup
from edge.verdict import judge
from tests.integration.import_world import LOG_MAP, real_log
from tests.integration.whole_world import world  # noqa: F401

if TYPE_CHECKING:
    from tests.integration.whole_world import Edge, World

SITE = "SITE_001"
NOW = "2026-01-01T00:00:00.000Z"


async def in_review(world: World) -> tuple[Edge, str]:
    """Let both ends edit one plan while the site is cut off; return the site and the conflict."""
    edge = world.edges[SITE]
    edge.write("INSERT INTO inspection_plans (plan_code, sample_size) VALUES ('P-7', 5)")
    await world.settle()
    await edge.stop()
    edge.write("UPDATE inspection_plans SET sample_size = 7, changed_by = 'j.kiss'")
    await world.central(
        "UPDATE mes.inspection_plans SET sample_size = 9, changed_by = 'm.weber' RETURNING 1"
    )
    await edge.start()
    await world.settle()
    ((conflict,),) = edge.read("SELECT id FROM sync_conflicts")
    return edge, conflict


def decide(edge: Edge, conflict: str, choice: Choice) -> None:
    opened = setup.open_to_look(edge.path)
    with closing(opened.connection) as connection:
        resolve(connection, opened.catalog, conflict, choice, now=NOW)


async def test_a_decision_made_at_the_site_stands_at_the_centre(world: World):
    edge, conflict = await in_review(world)
    assert edge.read("SELECT sample_size FROM inspection_plans") == [(9,)]
    picture = read_picture(edge.path, 0)
    assert [each.code for each in judge(picture).reasons if each.code == "MES-REVIEWS"]
    choice = Choice(take="here", reason="re-measured", by="j.kiss")
    await asyncio.to_thread(decide, edge, conflict, choice)
    await world.settle()
    assert await world.central("SELECT sample_size, changed_by FROM mes.inspection_plans") == [
        (7, "j.kiss")
    ]
    assert await world.central(
        "SELECT state, take, value::text, decided_by, reason FROM mes.sync_reviews"
    ) == [("RESOLVED", "here", '{"sample_size": 7}', "j.kiss", "re-measured")]
    assert read_picture(edge.path, 0).conflicts.open == 0


async def test_a_decision_made_while_cut_off_arrives_when_the_site_is_back(world: World):
    edge, conflict = await in_review(world)
    await edge.stop()
    choice = Choice(take="value", value={"sample_size": "8"}, reason="agreed", by="j.kiss")
    await asyncio.to_thread(decide, edge, conflict, choice)
    await edge.start()
    await world.settle()
    assert await world.central("SELECT sample_size FROM mes.inspection_plans") == [(8,)]
    assert await world.central("SELECT state FROM mes.sync_reviews") == [("RESOLVED",)]


async def test_a_log_imported_beside_the_agent_stands_at_the_centre(world: World):
    edge = world.edges[SITE]

    def load() -> int:
        opened = setup.open_to_look(edge.path)
        with closing(opened.connection):
            order = Order(
                file=real_log(),
                plan=read_map(LOG_MAP, opened.catalog, site=SITE),
                rejects=edge.path.with_suffix(".rejects.csv"),
                site=SITE,
            )
            return run_import(opened.connection, order, now_ms=0, watch=lambda _: None).taken

    assert await asyncio.to_thread(load) == 4543
    await world.settle(timeout_s=120)
    assert await world.central(
        "SELECT count(*), sum(qty_good)::int, sum(duration_s)::int / 60 FROM mes.job_responses"
    ) == [(4543, 92519, 800578)]
    assert await world.central("SELECT count(*) FROM mes.work_orders") == [(225,)]
    status = judge(read_picture(edge.path, 0))
    assert status.picture.backlog.transactions == status.picture.backlog.undrained_rows == 0
