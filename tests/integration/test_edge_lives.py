"""Lives of the centre's server, as a store remembers which of them lead to its heads."""

from __future__ import annotations

import pytest

from sync.handshake import Met
from tests.integration.edge_world import Plant

FIRST, SECOND, THIRD = Met("first", 0), Met("second", 50), Met("third", 80)


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db")
    plant.store.meet(FIRST, None)
    plant.store.meet(SECOND, "first")
    yield plant
    plant.close()


def test_lives_that_follow_one_another_all_lead_to_the_last(plant):
    plant.store.meet(THIRD, "second")
    assert plant.store.hello().lives == (FIRST, SECOND, THIRD)
    assert plant.store.seen_lives() == ((FIRST, SECOND, THIRD), False)


def test_a_life_that_the_server_knows_nothing_of_leads_nowhere(plant):
    plant.store.meet(THIRD, "first")  # from a newer backup than the second went on from
    assert plant.store.hello().lives == (FIRST, THIRD)


def test_a_life_that_is_met_again_is_the_last_one(plant):
    plant.store.meet(THIRD, "first")
    plant.store.meet(SECOND, "first")
    assert plant.store.hello().lives == (FIRST, SECOND)
    plant.store.meet(THIRD, "first")
    assert plant.store.hello().lives == (FIRST, THIRD)


def test_while_orders_are_void_heads_are_of_the_life_before(plant):
    plant.store.opened.connection.execute("UPDATE _sync_site SET void_since = 2")
    plant.store.meet(THIRD, "first")
    assert plant.store.hello().lives == (FIRST, THIRD)
    assert plant.store.seen_lives() == ((FIRST, SECOND), True)


def test_a_store_that_has_met_none_tells_of_none(tmp_path):
    plant = Plant(tmp_path / "new.db")
    assert plant.store.hello().lives == ()
    plant.close()
