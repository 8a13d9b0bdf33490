"""Snapshots as the centre hands them to a site, chunk by chunk."""

from __future__ import annotations

import pytest

from tests.integration.edge_world import Plant, put, uid

TABLES = ["orders", "parts", "reports", "steps", "sync_conflicts"]


@pytest.fixture
def plant(tmp_path):
    """A new site, which needs a snapshot."""
    plant = Plant(tmp_path / "store.db", needs_snapshot=True)
    yield plant
    plant.close()


@pytest.fixture
def running(tmp_path):
    """A site that has followed its feed for a while."""
    plant = Plant(tmp_path / "store.db")
    yield plant
    plant.close()


def manifest(plant, *, ack=None, max_order=100, tables=TABLES):
    return {
        "own": [plant.own.position.n, plant.own.position.hash.hex()],
        "shared": [plant.shared.position.n, plant.shared.position.hash.hex()],
        "ack": ack and [ack.epoch, ack.n, ack.safe_n],
        "ack_hash": ack and ack.hash and ack.hash.hex(),
        "max_order": max_order,
        "schema": 1,
        "tables": tables,
    }


def begin(plant, snapshot_id="one", **more):
    plant.store.begin_snapshot(snapshot_id, manifest(plant, **more))


def chunk(plant, k, *blocks):
    return plant.store.apply_chunk(k, blocks, next(plant.clock))


def finish(plant):
    plant.store.finish_snapshot(next(plant.clock))


def load(plant, *chunks, **more):
    begin(plant, **more)
    for k, block in enumerate(chunks):
        chunk(plant, k, block)
    finish(plant)


def order(number, *, at, **values):
    return put("orders", {"id": uid(number), **values}, order=at)
