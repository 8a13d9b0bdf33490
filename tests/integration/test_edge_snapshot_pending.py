"""Snapshots taken while the site has writes of its own that the centre has not decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import ForkedHistory, StaleSnapshot
from tests.integration.edge_loads import (  # noqa: F401, the fixtures among them
    begin,
    chunk,
    finish,
    load,
    order,
    plant,
    running,
)
from tests.integration.edge_world import away, uid, version


def test_a_snapshot_is_taken_with_own_writes_pending(running):
    """One write is part of the snapshot, one came too late for it, one is made meanwhile."""
    running.take(order(1, at=1, made=0), order(2, at=2, notes="x"), order(3, at=3, notes="x"))
    running.update("orders", uid(1), made=10)
    included = running.drain()
    running.update("orders", uid(1), made=15)
    running.update("orders", uid(2), notes="mine")
    late = running.drain()
    begin(running, ack=running.ack(included))
    running.update("orders", uid(3), notes="meanwhile")
    chunk(running, 0, order(1, at=21, made=110), order(2, at=22, notes="theirs", due="friday"))
    chunk(running, 1, order(3, at=23, notes="theirs"))
    finish(running)
    assert running.row("orders", uid(1))["made"] == 115
    second = running.row("orders", uid(2))
    assert (second["notes"], second["due"]) == ("mine", "friday")
    assert running.row("orders", uid(3))["notes"] == "meanwhile"
    assert running.store.position().acked_n == included
    assert running.shadows() == [uid(1), uid(2), uid(3)]
    running.take(ack=running.ack(late))
    assert running.row("orders", uid(1))["made"] == 110, "the head that came is what counts"
    assert running.row("orders", uid(3))["notes"] == "meanwhile"


def own_version(plant, number, n, *, at, **values):
    """Return the head of a row that the centre took as the site wrote it in transaction n."""
    block = order(number, at=at, **values)
    block.version = [plant.tx_id(n)]
    return block


def test_a_write_accepted_upon_what_the_snapshot_brought_stays_in_sight(running):
    running.insert("orders", id=uid(1), notes="one")
    first = running.drain()
    running.take(ack=running.ack(first))
    running.update("orders", uid(1), notes="two", made=2)
    second = running.drain()
    running.update("orders", uid(1), made=5)
    third = running.drain()
    head = own_version(running, 1, first, at=15, notes="one", made=0)
    load(running, head, ack=running.ack(first))
    assert running.row("orders", uid(1))["notes"] == "two"
    running.take(ack=running.ack(second))
    assert running.row("orders", uid(1))["notes"] == "two"
    assert running.base("orders", uid(1)) == (running.tx_id(second), 15)
    running.update("orders", uid(1), due="friday")
    last = running.drain()
    for n in (third, last):
        running.take(ack=running.ack(n))
        row = running.row("orders", uid(1))
        assert (row["notes"], row["made"], row["due"]) == ("two", 5, "friday")
        assert running.base("orders", uid(1)) == (running.tx_id(n), 15)
    assert (running.shadows(), running.owed()) == ([], [])


def test_a_write_merged_upon_what_the_snapshot_brought_gives_way_to_the_head(running):
    running.insert("orders", id=uid(1), notes="one")
    first = running.drain()
    running.take(ack=running.ack(first))
    running.update("orders", uid(1), notes="two")
    second = running.drain()
    load(running, own_version(running, 1, first, at=15, notes="one"), ack=running.ack(first))
    running.take(order(1, at=20, notes="merged"), ack=running.ack(second))
    assert running.row("orders", uid(1))["notes"] == "merged"
    assert running.shadows() == []


def test_a_row_written_while_it_loads_is_based_on_the_head_that_was_seen(plant):
    begin(plant)
    chunk(plant, 0, order(1, at=7, notes="a"))
    plant.update("orders", uid(1), notes="mine")
    chunk(plant, 1, order(2, at=8))
    assert plant.owed() == [("orders", uid(1), "U")]
    assert plant.base("orders", uid(1)) == (version(7), 7)
    finish(plant)
    assert plant.row("orders", uid(1))["notes"] == "mine"


def test_a_new_row_of_the_site_that_is_not_decided_survives_the_load(running):
    running.insert("orders", id=uid(1), notes="mine")
    n = running.drain()
    load(running, order(2, at=2))
    assert running.row("orders", uid(1))["notes"] == "mine"
    assert running.owed() == [("orders", uid(1), "I")]
    running.take(ack=running.ack(n))
    assert running.base("orders", uid(1)) == (running.tx_id(n), 0)


def test_a_decided_insert_that_the_snapshot_does_not_hold_is_kept_aside(running):
    running.insert("orders", id=uid(1), notes="mine")
    n = running.drain()
    load(running, order(2, at=2), ack=running.ack(n))
    assert running.row("orders", uid(1)) is None
    assert running.asides() == [("orders", uid(1), "parked")]
    assert running.owed() == []


def test_an_own_row_that_was_accepted_and_is_gone_since_is_told_from_a_parked_one(running):
    running.insert("orders", id=uid(1), notes="accepted")
    running.take(ack=running.ack(running.drain()))
    running.update("orders", uid(1), notes="too late")
    n = running.drain()
    load(running, order(2, at=2), ack=running.ack(n))
    assert running.row("orders", uid(1)) is None
    assert running.asides() == [("orders", uid(1), "gone")]


@pytest.mark.parametrize("decided", [False, True])
def test_a_row_made_anew_is_based_on_its_deletion_once_the_feed_tells_which_that_is(
    running, decided
):
    running.take(order(1, at=3, notes="a"))
    running.delete("orders", uid(1))
    n = running.drain()
    load(running, order(2, at=5), ack=running.ack(n) if decided else None)
    assert running.base("orders", uid(1)) == (version(3), 3)
    running.take(away("orders", uid(1), order=4))
    assert running.base("orders", uid(1)) == (version(4), 4)
    running.insert("orders", id=uid(1), notes="anew")
    (made,) = running.sent(running.drain())
    assert made.base == [version(4)]


def test_an_own_update_of_a_row_that_is_gone_stays_in_sight_until_it_is_decided(running):
    running.take(order(1, at=1, notes="a"))
    running.update("orders", uid(1), notes="mine")
    n = running.drain()
    load(running, order(2, at=2))
    assert running.row("orders", uid(1))["notes"] == "mine"
    running.take(ack=running.ack(n))
    assert running.row("orders", uid(1)) is None
    assert running.asides() == [("orders", uid(1), "gone")]


def test_a_snapshot_older_than_what_is_decided_is_refused(running):
    running.insert("orders", id=uid(1))
    n = running.drain()
    running.take(ack=running.ack(n))
    for ack in (None, running.ack(n - 1)):
        with pytest.raises(StaleSnapshot, match=f"n {n}, which is decided"):
            begin(running, ack=ack)
    assert running.store.snapshot_state() is None


def test_a_snapshot_that_decided_on_what_the_store_never_made_is_a_fork(plant):
    with pytest.raises(ForkedHistory, match="n 1, this store has made 0"):
        begin(plant, ack=plant.ack(1))


def test_a_snapshot_that_decided_on_another_transaction_of_that_number_is_a_fork(running):
    running.insert("orders", id=uid(1))
    n = running.drain()
    with pytest.raises(ForkedHistory, match=f"another n {n} than"):
        begin(running, ack=replace(running.ack(n), hash=b"x" * 32))


def test_the_ack_of_the_manifest_is_taken_at_the_end(running):
    running.insert("orders", id=uid(1))
    n = running.drain()
    begin(running, ack=running.ack(n, safe_n=n))
    assert running.store.position().acked_n == 0
    chunk(running, 0, order(1, at=1))
    finish(running)
    position = running.store.position()
    assert (position.acked_n, position.safe_n) == (n, n)
