"""A deletion is remembered as long as something older could come, and then forgotten."""

from __future__ import annotations

import pytest

from edge.store import tombstones
from edge.store.tombstones import KEPT_MS
from tests.integration.edge_loads import begin
from tests.integration.edge_world import Plant, away, put, uid, version

ROW, OTHER = uid(1), uid(2)


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db")
    plant.take(put("orders", {"id": ROW, "order_no": "A"}, {"id": OTHER, "order_no": "B"}, order=1))
    yield plant
    plant.close()


def prune(plant, *, after_ms=2 * KEPT_MS):
    plant.store.prune(next(plant.clock) + after_ms)


def test_a_deletion_is_forgotten_when_its_time_is_over(plant):
    plant.take(away("orders", ROW, order=3))
    prune(plant, after_ms=KEPT_MS - 60_000)
    assert plant.base("orders", ROW) == (version(3), 3)
    plant.take(put("orders", {"id": ROW, "order_no": "A"}, order=2))
    assert plant.row("orders", ROW) is None, "an older head does not bring it back"
    prune(plant)
    assert plant.base("orders", ROW) is None


def test_a_row_that_stands_is_never_forgotten(plant):
    prune(plant)
    assert plant.base("orders", OTHER) == (version(2), 2)
    plant.take(away("orders", OTHER, order=3))
    plant.take(put("orders", {"id": OTHER, "order_no": "B"}, order=4))
    prune(plant)
    assert plant.base("orders", OTHER) == (version(4), 4)


def test_a_deletion_of_the_sites_own_is_forgotten_once_it_is_decided(plant):
    plant.delete("orders", ROW)
    n = plant.drain()
    prune(plant)
    assert plant.base("orders", ROW) == (version(1), 1)
    plant.take(ack=plant.ack(n))
    assert plant.base("orders", ROW) == (plant.tx_id(n), 1)
    prune(plant)
    assert plant.base("orders", ROW) is None


def test_a_deletion_is_remembered_while_the_sites_write_on_the_row_is_kept(plant):
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(away("orders", ROW, order=3))
    prune(plant)
    assert plant.shadows() == [ROW]
    plant.take(ack=plant.ack(n))
    assert plant.asides() == [("orders", ROW, "gone")]
    prune(plant)
    assert plant.base("orders", ROW) == (version(3), 3)
    plant.write("DELETE FROM _sync_aside")
    prune(plant)
    assert plant.base("orders", ROW) is None


def test_nothing_is_forgotten_while_a_snapshot_is_loaded(plant):
    plant.take(away("orders", ROW, order=3))
    begin(plant)
    prune(plant)
    assert plant.base("orders", ROW) == (version(3), 3)


def test_many_deletions_are_forgotten_a_few_at_a_time(plant, monkeypatch):
    many = [uid(k) for k in range(10, 110)]
    plant.take(put("orders", *({"id": row_id} for row_id in many), order=10))
    plant.take(away("orders", *many, order=200))
    monkeypatch.setattr(tombstones, "LOOKED_AT_MAX", 30)
    left = []
    for _ in range(5):
        prune(plant)
        left.append(plant.value("SELECT count(*) FROM _sync_row"))
    assert left == [74, 44, 14, 2, 2]
