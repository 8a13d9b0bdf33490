"""Keys that are all there is of a row, that are NULL, or written in another case; acks in any
order."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.adopt import adopt
from shared.catalog import Catalog, Direction, Kind, Table
from shared.changes import Fate
from shared.errors import SchemaMismatch
from tests.integration.edge_drain_world import Site
from tests.integration.edge_world import Plant, away, column, plant, put, uid, version  # noqa: F401
from tests.integration.test_edge_apply_adopted import OWNER, TWO_WAY, plant_of

__all__ = ["plant_of"]

KEYS_ONLY = Catalog(
    1,
    (Table("tags", Direction.BOTH, (column("tag", nullable=False),), natural_keys=(("tag",),)),),
)


def test_a_row_that_is_nothing_but_its_key_set_to_the_same_key_sends_nothing(tmp_path):
    site = Site(tmp_path / "store.db", KEYS_ONLY)
    with closing(site):
        site.insert("tags", id=uid(1), tag="a")
        site.decided()
        site.write("UPDATE tags SET tag = tag, id = id, created_at = created_at")
        site.write("UPDATE OR REPLACE tags SET id = id")
        assert site.sent() == []
        site.write("UPDATE tags SET tag = 'b'")
        assert [(row.op, row.old, row.new) for row in site.sent()] == [
            ("U", {"tag": "a"}, {"tag": "b"})
        ]


# --- keys that the plant's table has --------------------------------------------------------------


def test_rows_without_a_value_in_a_unique_column_are_in_nobodys_way(plant_of):
    plant = plant_of(TWO_WAY)
    plant.write("INSERT INTO gauges (number) VALUES (10)")
    heads = ({"id": uid(n), "number": n, "serial": None} for n in (2, 3))
    plant.take(put("gauges", *heads, order=1))
    plant.write("INSERT OR REPLACE INTO gauges (number, serial) VALUES (11, NULL)")
    assert [row["number"] for row in plant.rows("SELECT number FROM gauges ORDER BY 1")] == [
        1, 2, 3, 10, 11,
    ]  # fmt: skip
    assert plant.asides() == []
    assert [(table, op) for table, _, op in plant.owed()] == [("gauges", "I")] * 2


def test_a_table_whose_names_are_written_in_another_case_is_one_with_its_declaration(tmp_path):
    path = tmp_path / "plant.db"
    with closing(sqlite3.connect(path)) as program, program:
        program.execute('CREATE TABLE Gauges ("Number" INTEGER PRIMARY KEY, SERIAL TEXT UNIQUE)')
        program.execute("INSERT INTO gauges VALUES (1, 'a')")
    adopt(path, "gauges", TWO_WAY, OWNER)
    with closing(Plant(path, TWO_WAY)) as plant:
        plant.take(ack=plant.ack(plant.drain()))
        row_id = plant.value("SELECT id FROM gauges")
        plant.write("UPDATE GAUGES SET Serial = 'b'")
        (block,) = plant.sent(plant.drain())
        assert (block.table, block.columns, block.new) == ("gauges", ("serial",), [["b"]])
        plant.take(
            put("gauges", {"id": row_id, "number": 1, "serial": "c"}, order=1),
            ack=plant.ack(plant.last_n),
        )
        assert plant.value("SELECT serial FROM gauges") == "c"
        plant.write("UPDATE gauges SET SERIAL = 'mine'")
        plant.take(put("gauges", {"id": uid(2), "number": 2, "serial": "mine"}, order=2))
        assert plant.asides() == [("gauges", row_id, "unique")]
        plant.take(put("gauges", {"id": uid(2), "number": 2, "serial": "theirs"}, order=3))
        rows = plant.rows("SELECT number, serial FROM gauges ORDER BY number")
        assert [tuple(row.values()) for row in rows] == [(1, "mine"), (2, "theirs")]
        assert plant.asides() == []


def test_a_table_in_the_way_is_named_in_whatever_case_the_plant_writes_it(tmp_path):
    path = tmp_path / "store.db"
    Plant(path, Catalog(1, ())).close()
    with closing(sqlite3.connect(path)) as program:
        program.execute("CREATE TABLE GAUGES (number INTEGER PRIMARY KEY, serial TEXT)")
    with pytest.raises(SchemaMismatch, match="mes-edge adopt FILE --table gauges"):
        Plant(path, Catalog(2, TWO_WAY.tables))
    adopt(path, "GAUGES", Catalog(2, TWO_WAY.tables), OWNER)
    Plant(path, Catalog(2, TWO_WAY.tables)).close()


# --- rows that all sites had ----------------------------------------------------------------------


@pytest.mark.parametrize("own_first", [True, False])
def test_a_row_that_leaves_the_share_of_all_stays_where_its_own_feed_keeps_it(plant, own_first):
    head = {"id": uid(1), "notes": "a"}
    plant.receive(plant.shared.entry(put("orders", head, order=1)))
    left = plant.shared.entry(away("orders", uid(1), order=2, fate=Fate.LEFT))
    kept = plant.own.entry(put("orders", head | {"notes": "b"}, order=2))
    for entry in (kept, left) if own_first else (left, kept):
        plant.receive(entry)
    assert plant.row("orders", uid(1))["notes"] == "b"
    assert plant.base("orders", uid(1)) == (version(2), 2)
    assert plant.drain() == 0


def test_a_row_that_the_site_deleted_does_not_come_back_by_the_version_it_deleted(plant):
    head = put("orders", {"id": uid(1), "notes": "a"}, order=1)
    plant.take(head)
    plant.delete("orders", uid(1))
    plant.take(ack=plant.ack(plant.drain()))
    plant.receive(plant.shared.entry(head))
    assert plant.row("orders", uid(1)) is None


# --- acks -----------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(data=st.data())
def test_doubled_and_reordered_acks_uncover_nothing_that_is_undecided(tmp_path_factory, data):
    """Whatever order they come in, the site shows its last write, and in the end owes nothing."""
    with closing(Plant(tmp_path_factory.mktemp("acks") / "store.db")) as plant:
        plant.take(put("orders", {"id": uid(1), "notes": "0"}, order=1))
        writes = data.draw(st.integers(1, 5))
        for number in range(1, writes + 1):
            plant.update("orders", uid(1), notes=str(number))
            plant.drain()
        entries = [plant.own.entry(ack=plant.ack(n)) for n in range(1, writes + 1)]
        known = 0
        for k in data.draw(st.lists(st.integers(0, writes - 1), max_size=12)):
            plant.receive(entries[k])
            acked = plant.store.position().acked_n
            assert known <= acked <= known + 1
            assert plant.row("orders", uid(1))["notes"] == str(writes)
            assert len(plant.owed()) == writes - acked
            known = acked
        plant.receive(*entries)
        assert plant.owed() == []
        assert plant.base("orders", uid(1))[0] == plant.tx_id(writes)


# --- parents that children wait for ---------------------------------------------------------------

KIN = Catalog(
    1,
    (
        Table("parents", Direction.BOTH, (column("name"),)),
        Table(
            "children",
            Direction.BOTH,
            (
                column(
                    "pid", Kind.UUID, references="parents", enforced=True, renamed_from=("parent",)
                ),
            ),
        ),
        Table(
            "sync_parked",
            Direction.DOWN,
            tuple(
                column(name) for name in ("table_name", "state", "reason", "content", "parked_at")
            ),
        ),
    ),
)


def test_only_a_parent_that_was_never_sent_is_sent_for_its_child(tmp_path):
    """Not one that the centre has, is on its way, belongs to another site, or is not there."""
    with closing(Site(tmp_path / "store.db", KIN)) as site:
        site.insert("parents", id=uid(1), name="known")
        site.decided()
        site.insert("parents", id=uid(2), name="undecided")
        site.sent()
        site.write("UPDATE _sync_applying SET flag = 1")
        site.insert("parents", id=uid(3), name="unseen")
        site.insert("parents", id=uid(4), name="of another", site_id="SITE_002")
        site.write("UPDATE _sync_applying SET flag = 0")
        site.insert("parents", id=uid(5), name="in the log")
        waits = ({"id": uid(10 + n), "table_name": "children", "state": "waiting",
                  "reason": "parent_missing", "parked_at": None,
                  "content": json.dumps({"pid": uid(n)})} for n in range(1, 7))  # fmt: skip
        site.take(put("sync_parked", *waits, order=5))
        assert site.store.send_parents() == 1
        assert sorted((row.op, row.id) for row in site.sent()) == [("I", uid(3)), ("I", uid(5))]
        assert site.store.send_parents() == 0


def test_a_parent_is_sent_for_a_child_that_named_it_before_the_column_was_renamed(tmp_path):
    with closing(Site(tmp_path / "store.db", KIN)) as site:
        site.write("UPDATE _sync_applying SET flag = 1")
        site.insert("parents", id=uid(3), name="unseen")
        site.write("UPDATE _sync_applying SET flag = 0")
        waits = {"id": uid(10), "table_name": "children", "state": "waiting",
                 "reason": "parent_missing", "parked_at": None,
                 "content": json.dumps({"parent": uid(3)})}  # fmt: skip
        site.take(put("sync_parked", waits, order=5))
        assert site.store.send_parents() == 1
