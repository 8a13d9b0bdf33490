"""A table that a plant had before replicates where it is: its rows once, changes from now on."""

from __future__ import annotations

import sqlite3

import pytest

from edge.adopt import adopt
from edge.store import EdgeStore
from shared.catalog import Catalog, Direction, Kind, Table
from shared.catalog_file import load_catalog
from shared.errors import SchemaMismatch, UnknownTable, WrongSite
from tests.integration.adopt_world import (  # noqa: F401, the fixtures among them
    CATALOG,
    FACT,
    GAUGES,
    OWNER,
    PARTS,
    TWO_WAY,
    adopted,
    column,
    opened,
    path,
    unchanged,
)
from tests.integration.edge_drain_world import SITE, uid


def test_the_rows_that_are_there_are_queued_once_however_often_it_is_run(path, opened):
    first = adopt(path, "gauges", CATALOG, OWNER)
    assert (first.queued, first.problems) == (2, ())
    assert first.added == ("id", "site_id", "created_at", "state")
    assert adopt(path, "gauges", CATALOG, OWNER).queued == 0
    adopt(path, "old_parts", CATALOG, OWNER)
    site = opened(path)
    rows = [row for row in site.sent() if row.table == "gauges"]
    assert {(row.op, row.new["serial"], row.new["reading"]) for row in rows} == {
        ("I", "A-1", "12.5"),
        ("I", "A-2", None),
    }
    assert {row.site for row in rows} == {SITE}
    assert {row.new["state"] for row in rows} == {"GOOD"}
    assert adopt_is_refused_while_open(path)
    assert site.sent() == []


def adopt_is_refused_while_open(path):
    with pytest.raises(WrongSite, match="another agent holds"):
        adopt(path, "gauges", CATALOG, OWNER)
    return True


def test_the_programs_of_the_plant_go_on_and_are_captured(path, opened):
    site = adopted(path, opened)
    site.write("INSERT INTO gauges (number, serial) VALUES (3, 'A-3')")
    site.write("UPDATE gauges SET reading = 12.75 WHERE number = 1")
    site.write("DELETE FROM gauges WHERE number = 2")
    sent = {row.op: row for row in site.sent()}
    assert sent["I"].new["serial"] == "A-3"
    assert (sent["I"].site, sent["I"].id[14], sent["I"].created[-1]) == (SITE, "7", "Z")
    assert (sent["U"].old, sent["U"].new) == ({"reading": "12.5"}, {"reading": "12.75"})
    assert sent["D"].base == site.tx_id(1)


def test_a_change_of_case_or_type_counts_in_the_plants_own_columns(path, opened):
    site = adopted(path, opened)
    site.write("UPDATE gauges SET serial = 'a-1' WHERE number = 1")
    assert [row.new for row in site.sent()] == [{"serial": "a-1"}]
    site.write("UPDATE gauges SET serial = serial, reading = reading + 0.0")
    assert site.sent() == []


def test_a_replace_through_a_unique_column_of_the_plants_is_captured(path, opened):
    site = adopted(path, opened)
    gone = site.value("SELECT id FROM gauges WHERE number = 2")
    site.write("INSERT OR REPLACE INTO gauges (number, serial) VALUES (7, 'a-2')")
    assert [(row.op, row.id == gone) for row in site.sent()] == [("I", False), ("D", True)]


def test_a_replace_through_the_plants_own_number_is_captured(path, opened):
    site = adopted(path, opened)
    gone = site.value("SELECT id FROM gauges WHERE number = 2")
    site.write("REPLACE INTO gauges (number, serial) VALUES (2, 'A-9')")
    assert [(row.op, row.id == gone) for row in site.sent()] == [("I", False), ("D", True)]


@pytest.mark.parametrize("name", ["number", "rowid", "_rowid_"])
def test_an_update_or_replace_of_the_plants_own_number_is_captured(path, opened, name):
    site = adopted(path, opened)
    gone = site.value("SELECT id FROM gauges WHERE number = 2")
    site.write(f"UPDATE OR REPLACE gauges SET {name} = 2 WHERE number = 1")
    assert {(row.op, row.id == gone) for row in site.sent()} == {("U", False), ("D", True)}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO old_parts (rowid, gauge, name) VALUES (3, 2, 'lid')",
        "UPDATE OR REPLACE old_parts SET oid = 3 WHERE name = 'dial'",
    ],
)
def test_a_replace_through_the_number_of_a_row_without_a_key_is_captured(path, opened, statement):
    site = adopted(path, opened)
    gone = site.value("SELECT id FROM old_parts WHERE name = 'case'")
    site.write(statement)
    assert (gone, "D") in [(row.id, row.op) for row in site.sent()]


def test_an_adopted_row_keeps_its_id_and_one_that_is_null_is_made(path, opened):
    site = adopted(path, opened)
    assert "gauges.id is required" in site.refused("UPDATE gauges SET id = NULL")
    site.write("INSERT INTO gauges (number, id) VALUES (3, NULL)")
    (row,) = site.sent()
    assert row.id == site.value("SELECT id FROM gauges WHERE number = 3")
    site.write("UPDATE gauges SET reading = 1.5 WHERE number = 3")
    assert [row.new for row in site.sent()] == [{"reading": "1.5"}]


def test_a_replace_through_a_partial_unique_index_is_captured(path, opened):
    plant = sqlite3.connect(path)
    plant.execute("CREATE UNIQUE INDEX made_once ON gauges (made) WHERE reading > 1")
    plant.close()
    site = adopted(path, opened)
    gone = site.value("SELECT id FROM gauges WHERE number = 1")
    row = "(7, '2011-01-01T00:00:00.000Z', 2)"
    site.write(f"REPLACE INTO gauges (number, made, reading) VALUES {row}")
    assert [(row.op, row.id == gone) for row in site.sent()] == [("I", False), ("D", True)]


def test_what_a_foreign_key_deletes_along_is_captured(path, opened):
    site = adopted(path, opened)
    site.write("PRAGMA foreign_keys = ON")
    site.write("DELETE FROM gauges WHERE number = 1")
    deleted = site.sent()
    assert sorted((row.table, row.op) for row in deleted) == [
        ("gauges", "D"), ("old_parts", "D"), ("old_parts", "D"),
    ]  # fmt: skip
    assert site.rows("SELECT name FROM old_parts") == [{"name": "case"}]


def test_created_at_may_be_taken_from_a_column_of_the_plants(path, opened):
    site = adopted(path, opened, created_from="made")
    rows = site.rows("SELECT number, created_at FROM gauges ORDER BY number")
    assert [row["created_at"] for row in rows] == [
        "2011-01-01T00:00:00.000Z", "2011-01-02T00:00:00.000Z",
    ]  # fmt: skip


def test_facts_without_a_journal_get_a_log_and_stay_append_only(path, opened):
    adopt(path, "gauges", Catalog(1, (FACT,)), OWNER)
    site = opened(path, Catalog(1, (FACT,)))
    assert sorted(row.new["number"] for row in site.sent()) == [1, 2]
    site.write("INSERT INTO gauges (number, serial) VALUES (3, 'A-3')")
    (row,) = site.sent()
    assert (row.op, row.new["number"], row.at, row.base) == ("I", 3, None, None)
    assert "append-only" in site.refused("UPDATE gauges SET reading = 1")
    assert "append-only" in site.refused("DELETE FROM gauges")
    assert "another row has this" in site.refused(
        "INSERT OR REPLACE INTO gauges (number, serial) VALUES (2, 'A-9')"
    )


def test_values_that_the_catalogue_does_not_allow_are_named_and_travel(path, opened):
    plant = sqlite3.connect(path)
    plant.execute("UPDATE gauges SET made = 'yesterday', reading = 'broken'")
    plant.commit()
    plant.close()
    found = adopt(path, "gauges", CATALOG, OWNER)
    assert len(found.problems) == 2
    assert any("gauges.made: a timestamp such as" in problem for problem in found.problems)
    assert all("(2 rows: " in problem for problem in found.problems)
    adopt(path, "old_parts", CATALOG, OWNER)
    sent = [row.new for row in opened(path).sent() if row.table == "gauges"]
    assert {(row["made"], row["reading"]) for row in sent} == {("yesterday", "broken")}


def test_a_table_may_be_adopted_into_a_store_that_runs_already(tmp_path, opened):
    site = opened(tmp_path / "store.db", Catalog(1, (PARTS,)))
    site.write(GAUGES)
    site.write("INSERT INTO gauges (number, serial) VALUES (1, 'A-1')")
    site.store.close()
    newer = Catalog(2, (PARTS, TWO_WAY))
    assert adopt(site.path, "gauges", newer, OWNER).queued == 1
    site.open(newer)
    assert [row.new["serial"] for row in site.sent()] == ["A-1"]


def test_a_store_that_is_opened_before_the_table_is_adopted_says_what_to_do(path):
    with pytest.raises(SchemaMismatch, match="mes-edge adopt FILE --table"):
        EdgeStore.open(path, CATALOG, site=SITE, now_ms=1, host="here")
    assert adopt(path, "gauges", CATALOG, OWNER).queued == 2


def test_an_undeclared_table_is_refused_with_a_draft_that_loads(path, tmp_path):
    with pytest.raises(UnknownTable) as refused:
        adopt(path, "gauges", Catalog(1, (PARTS,)), OWNER)
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "plant.toml").write_text(str(refused.value).partition("\n\n")[2])
    table = load_catalog(folder).table("gauges")
    assert [(c.name, c.type.kind) for c in table.columns] == [
        ("number", Kind.INTEGER),
        ("serial", Kind.TEXT),
        ("reading", Kind.FLOAT),
        ("made", Kind.TIMESTAMP),
        ("own_use", Kind.BYTES),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "ALTER TABLE gauges RENAME COLUMN number TO id",
            "holds 1, which is not a lower-case uuid: rename",
        ),
        ("DROP TABLE gauges", "has no table gauges"),
        ("ALTER TABLE gauges RENAME COLUMN number TO rowid", "no rowid of SQLite's own"),
        ("CREATE UNIQUE INDEX low ON gauges (lower(serial))", "can't be watched, low: "),
        ("CREATE UNIQUE INDEX trim ON gauges (serial COLLATE RTRIM)", "can't be watched, trim: "),
    ],
)
def test_a_table_that_cannot_be_adopted_is_left_as_it_was(path, change, message):
    plant = sqlite3.connect(path)
    plant.execute(change)
    plant.close()

    def fails():
        with pytest.raises(SchemaMismatch, match=message):
            adopt(path, "gauges", CATALOG, OWNER)

    unchanged(path, fails)


def test_rows_that_share_a_natural_key_are_named_and_nothing_is_changed(path):
    plant = sqlite3.connect(path)
    plant.execute("UPDATE gauges SET reading = 1")
    plant.commit()
    plant.close()
    columns = tuple(
        column(c.name, c.type.kind, nullable=c.name != "reading") for c in TWO_WAY.columns
    )
    keyed = Table("gauges", Direction.BOTH, columns, natural_keys=(("reading",),))

    def fails():
        with pytest.raises(SchemaMismatch, match="twice, but site_id, reading is a key"):
            adopt(path, "gauges", Catalog(1, (keyed,)), OWNER)

    unchanged(path, fails)


def test_a_table_of_the_centre_is_not_adopted(path):
    down = Table("gauges", Direction.DOWN, TWO_WAY.columns)
    with pytest.raises(SchemaMismatch, match="comes from the centre by the catalogue"):
        adopt(path, "gauges", Catalog(1, (down,)), OWNER)


def test_a_file_that_does_not_exist_is_not_made(tmp_path):
    with pytest.raises(SchemaMismatch, match="does not exist"):
        adopt(tmp_path / "none.db", "gauges", CATALOG, OWNER)
    assert list(tmp_path.iterdir()) == []
    assert uid(1)
