"""A store is put back to an older copy of itself: its numbers would be given out once more."""

from __future__ import annotations

from tests.faults.cases import local_orders, note, notes, state_events
from tests.faults.conftest import SITE
from tests.faults.copies import copied, put_back


async def test_what_the_copy_lacks_comes_home_and_the_site_goes_on_in_a_new_epoch(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"))
    await world.settle()
    copy = await copied(edge)
    edge.write(local_orders("A2"), note("A1", "after the copy"))
    edge.write(state_events(20))
    await world.settle()
    await put_back(edge, copy)
    await edge.start()
    await world.eventually(lambda: set(notes(edge)) == {"A1", "A2"})
    edge.write(local_orders("A3"))
    await world.settle()
    assert notes(edge) == {"A1": "after the copy", "A2": None, "A3": None}
    assert edge.read("SELECT count(*) FROM equipment_state_events") == [(20,)]
    epochs = await world.central(
        "SELECT fork_n, closed_at_n FROM sync.epoch WHERE site = %s ORDER BY opened_at", SITE
    )
    assert len(epochs) == 2
    assert epochs[0][1] > epochs[0][0]
    assert epochs[1] == (None, None)
    assert await world.central("SELECT 1 FROM sync.site WHERE stopped_because IS NOT NULL") == []
    ((told,),) = edge.read("SELECT message FROM _sync_event WHERE code = 'MES-RESTORED'")
    assert "taken home from the centre" in told


async def test_numbers_that_were_used_before_the_first_contact_meet_nobody(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"))
    await world.settle()
    copy = await copied(edge)
    for k in range(3):
        edge.write(local_orders(f"LOST{k}"))
        await world.settle()
    await put_back(edge, copy)
    # The agent is down, the plant goes on; then it drains with no link to the centre.
    edge.write(local_orders("B1"), note("A1", "written after the restore"))
    store = edge.open()
    for k in range(5):
        edge.write(local_orders(f"C{k}"))
        store.drain(2_000_000_000_000 + k)
    store.close()
    await edge.start()
    await world.settle()
    wanted = {"A1", "B1", *(f"LOST{k}" for k in range(3)), *(f"C{k}" for k in range(5))}
    assert set(notes(edge)) == wanted
    assert notes(edge)["A1"] == "written after the restore"


async def test_a_write_over_what_the_store_has_lost_is_a_conflict_with_both_values_kept(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"))
    await world.settle()
    copy = await copied(edge)
    edge.write(note("A1", "by the store that is no more"))
    await world.settle()
    await put_back(edge, copy)
    edge.write(note("A1", "by the store that was put back"))
    await edge.start()
    await world.settle()
    ((here, there),) = await world.central(
        "SELECT here_value, central_value FROM mes.sync_conflicts"
    )
    assert "put back" in str(here)
    assert "no more" in str(there)
    assert notes(edge) == {"A1": "by the store that was put back"}


async def test_writes_that_the_copy_held_undrained_count_once(world):
    edge = world.edges[SITE]
    edge.write("INSERT INTO equipment (equipment_code, name) VALUES ('M1', 'Mill')")
    await world.settle()
    count = "UPDATE equipment SET cycle_count = cycle_count + 5 WHERE equipment_code = 'M1'"
    copy = await copied(edge, count)
    await world.settle()
    await put_back(edge, copy)
    await edge.start()
    await world.settle()
    assert edge.read("SELECT cycle_count FROM equipment") == [(5,)]
    told = edge.read("SELECT message FROM _sync_event WHERE code = 'MES-SENT-BEFORE'")
    assert ["'cycle_count': 5" in message for (message,) in told] == [True]
    edge.write(count)
    await world.settle()
    assert await world.central("SELECT cycle_count FROM mes.equipment") == [(10,)]


async def test_a_store_that_is_lost_without_a_copy_begins_anew_and_takes_all_home(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"), note("A1", "kept at the centre"))
    await world.settle()
    await edge.stop()
    for each in edge.path.parent.glob(f"{edge.path.name}*"):
        each.unlink()
    await edge.start()
    await world.settle()
    edge.write(local_orders("A2"))
    await world.settle()
    assert notes(edge) == {"A1": "kept at the centre", "A2": None}


async def test_a_store_restored_twice_from_the_same_copy_goes_on_both_times(world):
    edge = world.edges[SITE]
    edge.write(local_orders("A1"))
    await world.settle()
    copy = await copied(edge)
    for life in ("B", "C", "D"):
        edge.write(local_orders(f"{life}1"))
        await world.settle()
        await put_back(edge, copy)
        edge.write(local_orders(f"{life}2"))
        await edge.start()
        await world.settle()
    assert set(notes(edge)) == {"A1", "B1", "B2", "C1", "C2", "D1", "D2"}
