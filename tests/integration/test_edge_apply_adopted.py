"""What the centre sends for tables that the plant had before, with its own columns and keys."""

from __future__ import annotations

import sqlite3

import pytest

from edge.adopt import adopt
from edge.store.setup import Owner
from shared.catalog import Catalog, Direction, Kind, Policy, Table
from tests.integration.edge_loads import load
from tests.integration.edge_world import SITE, Plant, away, column, put, uid

OWNER = Owner(SITE, "here", 1_700_000_000_000)
GAUGES = (column("number", Kind.INTEGER), column("serial"))
TWO_WAY = Catalog(1, (Table("gauges", Direction.BOTH, GAUGES),))
FACT_COLUMNS = tuple(column(c.name, c.type.kind, Policy.APPEND_ONLY) for c in GAUGES)
FACTS = Catalog(1, (Table("gauges", Direction.UP, FACT_COLUMNS, append_only=True),))


@pytest.fixture
def plant_of(tmp_path):
    """Adopt the plant's table of gauges, with one row in it, and let the centre take that."""
    plants = []

    def open_plant(catalog):
        path = tmp_path / "plant.db"
        program = sqlite3.connect(path, isolation_level=None)
        program.execute(
            "CREATE TABLE gauges (number INTEGER PRIMARY KEY, serial TEXT COLLATE NOCASE UNIQUE,"
            " own_use BLOB)"
        )
        program.execute("INSERT INTO gauges VALUES (1, 'a', x'00ff')")
        program.close()
        adopt(path, "gauges", catalog, OWNER)
        plants.append(Plant(path, catalog))
        plants[0].take(ack=plants[0].ack(plants[0].drain()))
        return plants[0]

    yield open_plant
    for plant in plants:
        plant.close()


def test_heads_reach_the_plants_own_table_and_leave_its_own_columns_alone(plant_of):
    plant = plant_of(TWO_WAY)
    row_id = plant.value("SELECT id FROM gauges")
    plant.take(put("gauges", {"id": row_id, "number": 1, "serial": "b"}, order=1))
    plant.take(put("gauges", {"id": uid(2), "number": 2, "serial": "c"}, order=2))
    rows = plant.rows("SELECT number, serial, own_use FROM gauges ORDER BY number")
    assert [tuple(row.values()) for row in rows] == [(1, "b", b"\x00\xff"), (2, "c", None)]
    plant.take(away("gauges", uid(2), order=3))
    assert plant.value("SELECT count(*) FROM gauges") == 1
    assert plant.drain() == 1, "only the adoption was sent"


def test_keys_that_only_the_plants_table_has_make_rows_give_way_too(plant_of):
    plant = plant_of(TWO_WAY)
    row_id = plant.value("SELECT id FROM gauges")
    plant.update("gauges", row_id, serial="mine")
    plant.take(put("gauges", {"id": uid(2), "number": 1, "serial": "c"}, order=1))
    assert plant.asides() == [("gauges", row_id, "unique")], "its number is taken"
    plant.take(put("gauges", {"id": uid(2), "number": 2, "serial": "MINE"}, order=2))
    assert plant.asides() == [("gauges", row_id, "unique")], "now its serial is, in capitals"
    plant.take(put("gauges", {"id": uid(2), "number": 2, "serial": "c"}, order=3))
    rows = plant.rows("SELECT number, serial, own_use FROM gauges ORDER BY number")
    assert [tuple(row.values()) for row in rows] == [(1, "mine", b"\x00\xff"), (2, "c", None)]
    assert plant.asides() == []


def test_facts_of_a_table_without_a_journal_are_loaded_and_not_sent_back(plant_of):
    plant = plant_of(FACTS)
    n = plant.last_n
    block = put("gauges", {"id": uid(2), "number": 2, "serial": "c"}, order=0)
    load(plant, block, ack=plant.ack(n), tables=["gauges"])
    assert plant.value("SELECT count(*) FROM gauges") == 2
    assert plant.drain() == n
    plant.insert("gauges", number=3, serial="d")
    assert plant.drain() == n + 1
