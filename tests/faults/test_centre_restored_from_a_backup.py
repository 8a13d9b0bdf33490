"""The centre goes back to an older backup: what sites have that it lost comes home."""

from __future__ import annotations

import psycopg
import pytest

from central.roles import as_role
from central.store import CentralStore
from central.store.lives import life_now
from tests.faults.backup import file_copy
from tests.faults.cases import local_orders, note, notes, planned_orders, state_events
from tests.faults.conftest import SITE, feeding
from tests.faults.copies import copied, goes_on_anew, put_back
from tests.faults.restorable import (
    OTHER,
    conflict,
    edits_after_the_restore,
    lives,
    load_in_part,
    lost_edits,
    met_by_policy,
    park_a_sum,
    park_an_order,
    plant,
    restores,
)
from tests.integration.central_world import CATALOG

pytestmark = pytest.mark.postgres
__all__ = ["plant"]


async def test_what_sites_wrote_since_the_backup_comes_again_and_counts_once(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"), "INSERT INTO equipment (equipment_code) VALUES ('M1')")
    await world.settle()
    backup = await plant.backup()
    edge.write(local_orders("A2"), note("A1", "since the backup"))
    edge.write("UPDATE equipment SET cycle_count = cycle_count + 3")
    edge.write(state_events(30))
    world.edges[OTHER].write(local_orders("B1"))
    await world.settle()
    edge.write("UPDATE equipment SET cycle_count = cycle_count + 4")
    await world.settle()
    await plant.restore(backup)
    assert await world.central("SELECT order_no FROM mes.work_orders") == [("A1",)]
    edge.write(local_orders("A3"))
    await plant.come_home()
    await world.settle()
    found = dict(await world.central("SELECT order_no, notes FROM mes.work_orders"))
    assert found == {"A1": "since the backup", "A2": None, "A3": None, "B1": None}
    assert await world.central("SELECT count(*) FROM mes.equipment_state_events") == [(30,)]
    assert await world.central("SELECT cycle_count FROM mes.equipment") == [(7,)]
    assert edge.read("SELECT cycle_count FROM equipment") == [(7,)]
    edge.write("UPDATE equipment SET cycle_count = cycle_count + 5", note("A2", "goes on"))
    await world.settle()
    assert await world.central("SELECT cycle_count FROM mes.equipment") == [(12,)]
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def test_what_was_written_at_the_centre_alone_is_salvaged_from_the_sites_that_have_it(plant):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1", "P2"))
    await world.settle()
    backup = await plant.backup()
    await plant.plan(planned_orders("P3"))
    await plant.plan(note("P1", "by the planner", "mes."))
    await plant.plan("DELETE FROM mes.work_orders WHERE order_no = 'P2'")
    await world.settle()
    edge.write(note("P3", "built on what only the lost centre had"))
    await world.settle()
    await plant.restore(backup)
    await plant.come_home()
    await world.settle()
    wanted = {"P1": "by the planner", "P3": "built on what only the lost centre had"}
    assert notes(edge) == wanted
    assert dict(await world.central("SELECT order_no, notes FROM mes.work_orders")) == wanted
    assert (SITE,) in await restores(plant)
    edge.write(note("P1", "and goes on"))
    await world.settle()
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def test_a_write_at_the_restored_centre_meets_what_came_home_by_policy(plant):
    await lost_edits(plant)
    async with await psycopg.AsyncConnection.connect(plant.world.url) as connection:
        await life_now(connection)
    await edits_after_the_restore(plant)
    await plant.come_home()
    await plant.world.settle()
    await met_by_policy(plant)


async def test_conflicts_decided_in_the_lost_time_are_still_on_record(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"))
    await world.settle()
    backup = await plant.backup()
    await edge.stop()
    edge.write(note("A1", "at the site"))
    await plant.plan(note("A1", "at the centre", "mes."))
    await edge.start()
    await world.settle()
    before = await world.central("SELECT id, here_value, central_value FROM mes.sync_conflicts")
    assert len(before) == 1
    shown = notes(edge)
    await plant.restore(backup)
    assert await world.central("SELECT count(*) FROM mes.sync_conflicts") == [(0,)]
    await plant.come_home()
    await world.settle()
    after = await world.central("SELECT id, here_value, central_value FROM mes.sync_conflicts")
    assert after == before
    assert notes(edge) == shown


async def test_a_row_parked_in_the_lost_time_is_parked_again_and_can_be_retried(plant):
    world, edge = plant.world, plant.edge
    backup = await plant.backup()
    await park_an_order(plant)
    parked = "SELECT id::text, state, reason FROM mes.sync_parked"
    ((ticket, state, reason),) = before = await world.central(parked)
    assert (state, reason) == ("parked", "key_taken")
    await plant.restore(backup)
    await plant.come_home()
    await world.settle_counts(60)
    assert await world.central(parked) == before
    assert await world.central("SELECT ticket::text FROM sync.waiting") == [(ticket,)]
    await plant.plan("UPDATE mes.work_orders SET order_no = 'N1-P' WHERE order_no = 'N1'")
    async with CentralStore.open(as_role(world.url, "mes_ingest"), CATALOG) as store:
        assert await store.retry(ticket)
    await world.settle()
    assert set(notes(edge)) == {"N1", "N1-P"}


@pytest.mark.parametrize("ends", ["applied", "discarded"])
async def test_what_was_parked_at_the_backup_and_settled_since_waits_no_more(plant, ends):
    """A sum among it: what was applied has come home as a row, and is not applied again."""
    world, edge = plant.world, plant.edge
    await park_a_sum(plant)
    backup = await plant.backup()
    ((ticket,),) = await world.central(
        "SELECT id::text FROM mes.sync_parked WHERE reason = 'key_taken'"
    )
    await plant.plan("DELETE FROM mes.equipment WHERE equipment_code = 'M1'")
    async with CentralStore.open(as_role(world.url, "mes_ingest"), CATALOG) as store:
        assert await (store.retry(ticket) if ends == "applied" else store.discard(ticket, "me"))
    await world.settle_counts()
    states = "SELECT id::text, state FROM mes.sync_parked ORDER BY 1"
    sums = "SELECT cycle_count FROM mes.equipment"
    before = await world.central(states), await world.central(sums)
    assert (ticket, ends) in before[0]
    assert before[1] == ([(5,)] if ends == "applied" else [])
    await plant.restore(backup)
    await plant.come_home()
    await world.settle_counts(60)
    assert (await world.central(states), await world.central(sums)) == before
    open_ones = [(each,) for each, state in before[0] if state in ("parked", "waiting")]
    assert await world.central("SELECT ticket::text FROM sync.waiting ORDER BY 1") == open_ones
    assert edge.read("SELECT cycle_count FROM equipment") == before[1]


async def test_a_report_that_waited_at_the_backup_and_was_applied_since_is_applied_again(plant):
    """The record of it comes home as applied, and before the order that it waited for."""
    world, order = plant.world, "018f4b7e-0000-7000-8000-0000000000aa"
    plant.edge.write(
        "INSERT INTO job_responses (equipment_id, work_order_id, report_type, qty_good)"
        f" VALUES ('{order}', '{order}', 'PRODUCTION', '5')"
    )
    await world.settle_counts()
    assert await world.central("SELECT state FROM mes.sync_parked") == [("waiting",)]
    backup = await plant.backup()
    await plant.plan(planned_orders("P1").replace("uuidv7()", f"'{order}'"))
    applied = "SELECT 1 FROM mes.sync_parked WHERE state = 'applied'"
    await world.eventually(lambda: world.central(applied), timeout_s=30)
    await world.settle()
    await plant.restore(backup)
    await plant.come_home()
    await world.eventually(lambda: world.central(applied), timeout_s=30)
    await world.settle()
    assert await world.central("SELECT work_order_id::text FROM mes.job_responses") == [(order,)]
    assert await world.central("SELECT count(*) FROM sync.waiting") == [(0,)]


async def test_the_centre_goes_back_while_a_site_is_on_a_new_epoch(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"))
    await world.settle()
    copy = await copied(edge)
    edge.write(local_orders("A2"))
    await world.settle()
    backup = await plant.backup()
    await put_back(edge, copy)
    edge.write(local_orders("A3"))
    await edge.start()
    await world.settle()
    edge.write(local_orders("A4"))
    await world.settle()
    await plant.restore(backup)
    await plant.come_home()
    await world.settle()
    assert set(notes(edge)) == {"A1", "A2", "A3", "A4"}


async def test_both_ends_go_back_at_once(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"))
    await world.settle()
    backup = await plant.backup()
    edge.write(local_orders("A2"))
    await world.settle()
    copy = await copied(edge)
    edge.write(local_orders("A3"))
    await world.settle()
    await put_back(edge, copy)
    edge.write(local_orders("A4"))
    await plant.restore(backup)
    await plant.plan(planned_orders("P1"))
    await world.start_centre()
    await edge.start()
    await world.settle()
    # A3 was only in the two lives that are gone: nobody has it any more.
    assert set(notes(edge)) == {"A1", "A2", "A4", "P1"}


async def test_a_copy_of_the_files_of_a_server_that_was_shut_down_is_noticed_too(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"))
    await world.settle()
    await world.stop_centre()
    backup = file_copy(plant.server, plant.folder / "files")
    await world.start_centre()
    edge.write(local_orders("A2"))
    await world.settle()
    await plant.restore(backup)
    await plant.come_home()
    await world.settle()
    assert set(notes(edge)) == {"A1", "A2"}
    assert (SITE,) in await restores(plant)


async def test_a_server_that_crashed_once_more_before_the_hello_still_gets_all_home(plant):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1", "P2", "P3"))
    await world.settle()
    backup = await plant.backup()
    for number in ("P1", "P2"):
        await plant.plan(note(number, "in the lost time", "mes."))
    await world.settle()
    await edge.stop()
    await plant.restore(backup)
    await world.start_centre()
    await world.eventually(lambda: lives(plant), timeout_s=20)
    for number in ("P1", "P3", "P3", "P3"):
        await plant.plan(note(number, "between two starts", "mes."))
    await world.stop_centre()
    plant.server.kill()
    plant.server.start()
    await world.start_centre()
    await edge.start()
    await plant.noticed()
    await world.settle()
    here, there = await conflict(plant)
    assert "in the lost time" in here
    assert "between two starts" in there
    assert notes(edge)["P2"] == "in the lost time"


async def test_a_snapshot_of_the_lost_time_that_was_half_loaded_comes_home_too(plant):
    world, edge = plant.world, plant.edge
    await plant.plan(planned_orders("P1"))
    await world.settle()
    backup = await plant.backup()
    await edge.stop()
    await plant.plan(note("P1", "in the lost time", "mes."))
    await load_in_part(plant, lambda: "in the lost time" in str(notes(edge)))
    await plant.restore(backup)
    await world.start_centre()
    await edge.start()
    await plant.noticed()
    await world.settle()
    assert notes(edge) == {"P1": "in the lost time"}
    assert await world.central("SELECT notes FROM mes.work_orders") == [("in the lost time",)]


async def test_a_site_that_goes_back_before_it_has_sent_again_overwrites_nothing_unrecorded(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"))
    await world.settle()
    backup = await plant.backup()
    edge.write(local_orders("A2"))
    await world.settle()
    copy = await copied(edge)
    edge.write(note("A1", "came home with the rows"))
    await world.settle()
    await plant.restore(backup)
    async with feeding(world.url, world.nats_url):  # and no ingest: nothing comes again
        await plant.noticed()
        await put_back(edge, copy)
    edge.write(note("A1", "written under a number that was used"))
    await world.start_centre()
    await edge.start()
    await world.eventually(lambda: goes_on_anew(edge), timeout_s=30)
    await world.settle()
    here, there = await conflict(plant)
    assert "was used" in here
    assert "came home" in there
    assert set(notes(edge)) == {"A1", "A2"}


async def test_rows_whose_transactions_were_pruned_come_home_as_rows(plant):
    world, edge = plant.world, plant.edge
    edge.write(local_orders("A1"))
    await world.settle()
    backup = await plant.backup()
    edge.write(local_orders("A2"), note("A1", "since the backup"))
    await world.settle()
    await edge.stop()
    edge.write("DELETE FROM _sync_out")  # as when a backup that nobody marked counts for safe
    await edge.start()
    await plant.restore(backup)
    await plant.come_home()
    await world.settle()
    wanted = {"A1": "since the backup", "A2": None}
    assert notes(edge) == wanted
    assert dict(await world.central("SELECT order_no, notes FROM mes.work_orders")) == wanted
