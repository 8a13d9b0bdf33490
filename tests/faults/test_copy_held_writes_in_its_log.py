"""A store was copied while its log held writes: its lost life has sent those, and nothing else."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.roles import as_role
from central.store import CentralStore
from edge.lanes import now_ms
from tests.faults.cases import local_orders, note, notes, planned_orders
from tests.faults.conftest import SITE
from tests.faults.copies import copied, put_back
from tests.faults.test_store_cloned import moved
from tests.integration.central_world import CATALOG, execute
from tests.integration.whole_world import Edge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.whole_world import World

HOUR_MS = 3_600_000
COUNT = "UPDATE equipment SET cycle_count = cycle_count + 5 WHERE equipment_code = 'M1'"


def slowed(edge: Edge, table: str) -> None:
    """Have what stands in a log be written by a clock that is an hour slow."""
    edge.write(f"UPDATE _sync_log_{table} SET at_ms = at_ms - {HOUR_MS}")


async def test_what_a_clone_wrote_before_the_original_drained_is_sent(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"), "INSERT INTO equipment (equipment_code) VALUES ('M1')")
    await world.settle()
    await edge.stop()
    clone = Edge(SITE, edge.path.parent / "elsewhere" / "store.db", world.nats_url)
    clone.path.parent.mkdir()
    shutil.copy(edge.path, clone.path)
    clone.write(local_orders("C1"), note("A1", "at the clone"), COUNT)
    await edge.start()
    edge.write(local_orders("A2"), "UPDATE work_orders SET priority = 7 WHERE order_no = 'A1'")
    await world.settle()
    await edge.stop()
    moved(clone)
    world.edges[SITE] = clone
    await clone.start()
    await world.settle()
    assert notes(clone) == {"A1": "at the clone", "A2": None, "C1": None}
    assert clone.read("SELECT priority FROM work_orders WHERE order_no = 'A1'") == [(7,)]
    assert await world.central("SELECT cycle_count FROM mes.equipment") == [(5,)]
    assert clone.read("SELECT 1 FROM _sync_event WHERE code = 'MES-SENT-BEFORE'") == []
    await clone.stop()


async def test_a_slow_clock_after_the_restore_loses_nothing_that_was_written_since(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1", "A2"))
    await world.settle()
    copy = await copied(edge, note("A1", "held by the copy"))
    await world.settle()
    edge.write(note("A2", "by the store that is no more"))
    await world.settle()
    await put_back(edge, copy)
    edge.write(local_orders("B1"), note("A2", "written since"))
    slowed_rows = "id <> (SELECT id FROM work_orders WHERE order_no = 'A1')"
    edge.write(f"UPDATE _sync_log_work_orders SET at_ms = at_ms - {HOUR_MS} WHERE {slowed_rows}")
    await edge.start()
    await world.settle()
    assert set(notes(edge)) == {"A1", "A2", "B1"}
    ((here,),) = await world.central("SELECT here_value FROM mes.sync_conflicts")
    assert "written since" in str(here)
    (event,) = edge.read("SELECT message FROM _sync_event WHERE code = 'MES-SENT-BEFORE'")
    assert "held by the copy" in str(event)


async def test_a_column_written_since_on_a_row_that_was_sent_is_sent_alone(world):
    edge = world.edges[SITE]
    edge.write("INSERT INTO equipment (equipment_code, name) VALUES ('M1', 'Mill')")
    await world.settle()
    copy = await copied(edge, COUNT)
    await world.settle()
    await put_back(edge, copy)
    edge.write("UPDATE equipment SET name = 'Lathe'")
    edge.write(f"UPDATE _sync_log_equipment SET at_ms = at_ms - {HOUR_MS} WHERE seq > 1")
    await edge.start()
    await world.settle()
    assert await world.central("SELECT cycle_count, name FROM mes.equipment") == [(5, "Lathe")]
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def copied_with_what_is_parked(edge: Edge, world: World) -> Path:
    """Return a copy that holds an order in its log, whose number the centre has given out too."""
    await edge.stop()
    edge.write(local_orders("N1"))
    await execute(world.url, planned_orders("N1"))
    copy = await copied(edge)
    await world.settle_counts()
    return copy


async def test_what_the_lost_life_sent_and_was_parked_is_not_parked_twice(world):
    edge = world.edges[SITE]
    copy = await copied_with_what_is_parked(edge, world)
    await put_back(edge, copy)
    await edge.start()
    await world.settle_counts()
    assert await world.central("SELECT state FROM mes.sync_parked") == [("parked",)]


async def test_what_was_sent_while_the_clock_was_far_ahead_counts_once(world):
    edge = world.edges[SITE]
    edge.write("INSERT INTO equipment (equipment_code) VALUES ('M1')")
    await world.settle()
    await edge.stop()
    edge.write(COUNT)
    edge.write(f"UPDATE _sync_log_equipment SET at_ms = at_ms + {HOUR_MS}")
    copy = edge.path.with_suffix(".copy")
    shutil.copy(edge.path, copy)
    store = edge.open()
    ((at_ms,),) = edge.read("SELECT max(at_ms) FROM _sync_log_equipment")
    store.drain(at_ms + 1)
    store.close()
    await edge.start()
    await world.settle()
    assert await world.central("SELECT clamped FROM sync.version WHERE clamped") == [(True,)]
    await put_back(edge, copy)
    await edge.start()
    await world.settle()
    assert await world.central("SELECT cycle_count FROM mes.equipment") == [(5,)]


async def test_of_a_large_transaction_only_what_was_not_sent_is_left(world):
    edge = world.edges[SITE]
    edge.write(
        "WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 4500)"
        " INSERT INTO equipment (equipment_code, name) SELECT 'M' || n, hex(randomblob(50)) FROM k"
    )
    await world.settle()
    copy = await copied(edge, "UPDATE equipment SET cycle_count = cycle_count + 1")
    await world.settle()
    await put_back(edge, copy)
    edge.write("UPDATE equipment SET name = 'Lathe' WHERE equipment_code IN ('M7', 'M4400')")
    await edge.start()
    await world.settle()
    assert await world.central(
        "SELECT sum(cycle_count), count(*) FILTER (WHERE name = 'Lathe') FROM mes.equipment"
    ) == [(4500, 2)]
    ((told,),) = edge.read("SELECT message FROM _sync_event WHERE code = 'MES-RESTORED'")
    assert "4500 rows of equipment had been sent before" in told


async def test_a_sum_that_the_copy_held_and_that_was_written_since_counts_each_write_once(world):
    edge = world.edges[SITE]
    edge.write("INSERT INTO equipment (equipment_code) VALUES ('M1')")
    await world.settle()
    made = "INSERT INTO equipment (equipment_code, cycle_count) VALUES ('M2', 100)"
    copy = await copied(edge, COUNT, made)
    await world.settle()
    await put_back(edge, copy)
    edge.write(COUNT, "UPDATE equipment SET cycle_count = cycle_count + 1")
    await edge.start()
    await world.settle()
    counted = "SELECT equipment_code, cycle_count FROM {} ORDER BY 1"
    wanted = [("M1", 11), ("M2", 101)]
    assert await world.central(counted.format("mes.equipment")) == wanted
    assert edge.read(counted.format("equipment")) == wanted
    told = edge.read("SELECT message FROM _sync_event WHERE code = 'MES-SENT-BEFORE' ORDER BY no")
    assert sum("'cycle_count': 5}" in message for (message,) in told) == 1


async def test_what_the_lost_life_sent_and_a_person_discarded_is_not_sent_again(world):
    edge = world.edges[SITE]
    copy = await copied_with_what_is_parked(edge, world)
    ((ticket,),) = await world.central("SELECT ticket::text FROM sync.waiting")
    async with CentralStore.open(as_role(world.url, "mes_ingest"), CATALOG) as store:
        assert await store.discard(ticket, "a planner")
    await world.settle()
    await put_back(edge, copy)
    await edge.start()
    await world.settle()
    assert await world.central("SELECT state FROM mes.sync_parked") == [("discarded",)]


async def test_a_report_of_the_lost_life_that_waited_for_its_order_comes_home_with_it(world):
    edge, order = world.edges[SITE], "018f4b7e-0000-7000-8000-0000000000aa"
    copy = await copied(edge)
    edge.write(
        "INSERT INTO job_responses (equipment_id, work_order_id, report_type, qty_good)"
        f" VALUES ('{order}', '{order}', 'PRODUCTION', '5')"
    )
    await world.settle_counts()
    assert await world.central("SELECT state FROM mes.sync_parked") == [("waiting",)]
    await put_back(edge, copy)
    await edge.start()
    await world.settle_counts()
    assert edge.read("SELECT count(*) FROM job_responses") == [(0,)]
    await execute(world.url, planned_orders("P1").replace("uuidv7()", f"'{order}'"))
    await world.eventually(
        lambda: edge.read("SELECT qty_good FROM job_responses") == [("5",)], timeout_s=40
    )
    await world.settle()


@pytest.mark.parametrize("written_since", [0, 1])
async def test_a_copy_that_had_drained_what_an_older_copy_has_sent_since_counts_it_once(
    world, written_since
):
    edge = world.edges[SITE]
    edge.write("INSERT INTO equipment (equipment_code) VALUES ('M1')", local_orders("A1"))
    await world.settle()
    await edge.stop()
    edge.write(COUNT, note("A1", "held by the older copy"))
    older = edge.path.with_suffix(".older")
    shutil.copy(edge.path, older)
    edge.write(*[COUNT] * written_since)
    for _ in range(2):
        store = edge.open()
        ((at_ms,),) = edge.read("SELECT coalesce(max(at_ms), 0) FROM _sync_log_equipment")
        store.drain(max(at_ms, now_ms()) + 1)
        store.close()
        edge.write(local_orders(f"B{now_ms()}"))
    newer = edge.path.with_suffix(".newer")
    shutil.copy(edge.path, newer)
    await put_back(edge, older)
    await edge.start()
    await world.settle()
    await put_back(edge, newer)
    await edge.start()
    await world.settle()
    wanted = [(5 + 5 * written_since,)]
    assert await world.central("SELECT cycle_count FROM mes.equipment") == wanted
    assert edge.read("SELECT cycle_count FROM equipment") == wanted
    assert len(notes(edge)) == 3
    # The rest of a sum that both lives wrote is a conflict like any other.
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(written_since,)]


async def unsent_in_a_copy(edge: Edge, world: World, *undrained: str) -> Path:
    """Put an older copy in place, write some, and return a copy with one transaction unsent.

    Both were copied without their agent, and what is ``undrained`` stands in the second one's log.
    """
    edge.write("INSERT INTO equipment (equipment_code) VALUES ('M1')", local_orders("A1", "A2"))
    await world.settle()
    older = await copied(edge)
    edge.write(local_orders("LOST"))
    await world.settle()
    await put_back(edge, older)
    for each in (note("A1", "unsent"), note("A2", "unsent")):
        edge.write(each, COUNT)
        store = edge.open()
        store.drain(now_ms() + 1)
        store.close()
    if undrained:
        edge.write(*undrained)
    copy = edge.path.with_suffix(".twice")
    shutil.copy(edge.path, copy)
    await edge.start()
    await world.settle()
    return copy


async def test_a_copy_with_writes_unsent_and_undrained_counts_each_once_when_put_back_twice(world):
    edge = world.edges[SITE]
    copy = await unsent_in_a_copy(edge, world, COUNT)
    assert edge.read("SELECT cycle_count FROM equipment") == [(15,)]
    await put_back(edge, copy)
    await edge.start()
    await world.settle()
    assert edge.read("SELECT cycle_count FROM equipment") == [(15,)]
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def test_what_an_earlier_life_had_moved_and_sent_hides_nothing_that_was_written_on_it(world):
    edge = world.edges[SITE]
    copy = await unsent_in_a_copy(edge, world)
    edge.write(note("A2", "on top of it"))
    await world.settle()
    await put_back(edge, copy)
    async with await psycopg.AsyncConnection.connect(world.url) as held:
        # The ingest decides on nothing, while all that is decided comes home.
        await held.execute("LOCK TABLE sync.applied IN SHARE MODE")
        await edge.start()
        await world.eventually(
            lambda: edge.read("SELECT 1 FROM _sync_site WHERE NOT needs_snapshot AND acked_n = 0")
        )
        seen = notes(edge)
    await world.settle()
    assert seen == notes(edge) == {"A1": "unsent", "A2": "on top of it", "LOST": None}
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]
