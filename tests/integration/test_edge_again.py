"""What the centre, which went back, is to do again is told again should it go back once more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.store.tips import Lost
from shared.catalog import Catalog
from shared.changes import START
from sync.handshake import Closed, Closure
from tests.integration.edge_loads import begin, chunk, finish, order
from tests.integration.edge_world import CATALOG, Plant, away, uid

LOST = Lost(0, 0, whole=True)
NOW_MS = 1_800_000_000_000


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db")
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, n, table_name, row_id)")
    for number in (1, 2):
        plant.insert("orders", id=uid(number), order_no=f"WO-{number}")
        plant.drain()
    plant.take(ack=plant.ack(2))
    yield plant
    plant.close()


def begin_anew(plant, *again):
    plant.store.begin_anew(LOST, again, "a restore", NOW_MS)


def new_epoch(plant, number, known_n=0):
    closed = Closed(Closure(plant.epoch, 0, 0), uid(number), 0)
    plant.store.begin_epoch(closed, NOW_MS, None, known_n)


def again(plant, lost=LOST):
    return sorted(plant.store.included(lost)[1])


def written(plant, number):
    """Return the write that made an order, as the centre is told of it."""
    return plant.tx_id(number), "orders", uid(number)


def test_what_was_told_is_told_again_until_a_snapshot_says_what_became_of_it(plant):
    begin_anew(plant, written(plant, 1), written(plant, 2))
    both = again(plant)
    assert both == [written(plant, 1), written(plant, 2)]
    begin_anew(plant, *both)
    assert again(plant) == both
    begin(plant, ack=plant.ack(2))
    chunk(plant, 0, order(1, at=7, order_no="WO-1"))  # the other one was not taken
    finish(plant)
    assert again(plant) == []
    assert plant.value("SELECT count(*) FROM _sync_again") == 0


def test_what_an_ack_has_passed_is_not_told_again_in_the_next_epoch(plant):
    first, second = written(plant, 1), written(plant, 2)
    new_epoch(plant, 101, known_n=2)
    begin_anew(plant, first, second)
    begin(plant)
    finish(plant)
    assert again(plant) == [first, second]  # the snapshot ends before both
    plant.take(ack=plant.ack(1))
    assert again(plant) == [second]
    new_epoch(plant, 102)
    assert again(plant) == [second]


def test_a_store_that_follows_the_centre_anew_stands_at_the_beginning_of_both_feeds(plant):
    assert plant.store.hello().own != START
    begin_anew(plant)
    assert plant.store.hello().own == plant.store.hello().shared == START


def test_of_a_snapshot_under_way_only_what_it_has_not_brought_is_told_again(plant):
    begin_anew(plant, written(plant, 1), written(plant, 2))
    begin(plant, ack=plant.ack(2))
    chunk(plant, 0, order(1, at=7, order_no="WO-1"))
    assert again(plant) == [written(plant, 2)]
    begin_anew(plant, *again(plant))
    assert again(plant) == [written(plant, 2)]  # the other one's order is void now, as all are


def test_what_a_newer_backup_holds_is_not_told_again(plant):
    begin_anew(plant, written(plant, 1), written(plant, 2))
    assert again(plant, Lost(0, 1, whole=True)) == [written(plant, 2)]


def test_what_was_not_acked_is_sent_as_ever_and_not_told_again(plant):
    plant.insert("orders", id=uid(3), order_no="WO-3")
    plant.drain()
    begin_anew(plant, written(plant, 3))
    assert again(plant) == []


@pytest.mark.parametrize("is_kept", [False, True])
def test_own_writes_on_a_shared_row_that_was_taken_away_are_told_though_the_plant_keeps_it(
    tmp_path, is_kept
):
    shared = [
        replace(t, share=("site_id", "line")) if t.name == "orders" else t for t in CATALOG.tables
    ]
    plant = Plant(tmp_path / "shared.db", Catalog(1, tuple(shared)))
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, n, table_name, row_id)")
    if is_kept:
        never = "BEGIN SELECT RAISE(ABORT, 'never'); END"
        plant.write(f"CREATE TRIGGER a_rule BEFORE DELETE ON orders {never}")
    plant.insert("orders", id=uid(1), order_no="WO-1")
    plant.take(ack=plant.ack(plant.drain()))
    plant.take(away("orders", uid(1), order=5))
    assert (plant.row("orders", uid(1)) is not None) == is_kept
    assert again(plant) == [written(plant, 1)]
    plant.close()
