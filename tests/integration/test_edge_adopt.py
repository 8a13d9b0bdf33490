"""A table that a plant had before replicates where it is: its rows once, changes from now on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from edge.adopt import adopt
from edge.store import EdgeStore
from edge.store.setup import Owner
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.catalog_file import load_catalog
from shared.errors import BadSetting, SchemaMismatch, UnknownTable, WrongSite
from tests.integration.edge_drain_world import SITE, Site, uid
from tests.integration.edge_world import put

OWNER = Owner(SITE, "here", 1_700_000_000_000)
GAUGES = """
    CREATE TABLE gauges (
        number INTEGER PRIMARY KEY,
        serial VARCHAR(20) COLLATE NOCASE UNIQUE,
        reading REAL,
        made DATETIME,
        own_use BLOB
    )
"""
OLD_PARTS = "CREATE TABLE old_parts (gauge INTEGER REFERENCES gauges ON DELETE CASCADE, name TEXT)"


def column(name, kind, **more):
    digits = {"precision": 18, "scale": 6} if kind is Kind.DECIMAL else {}
    return Column(name, ColumnType(kind, **digits), **more)


TWO_WAY = Table(
    "gauges",
    Direction.BOTH,
    (
        column("number", Kind.INTEGER),
        column("serial", Kind.TEXT),
        column("reading", Kind.DECIMAL),
        column("made", Kind.TIMESTAMP),
        column("state", Kind.TEXT, default="GOOD", nullable=False, values=("GOOD", "BAD")),
    ),
)
PARTS = Table(
    "old_parts", Direction.BOTH, (column("gauge", Kind.INTEGER), column("name", Kind.TEXT))
)
FACT = Table(
    "gauges",
    Direction.UP,
    tuple(column(c.name, c.type.kind, policy=Policy.APPEND_ONLY) for c in TWO_WAY.columns[:-1]),
    append_only=True,
)
CATALOG = Catalog(1, (TWO_WAY, PARTS))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "plant.db"
    plant = sqlite3.connect(path)
    plant.execute(GAUGES)
    plant.execute(OLD_PARTS)
    plant.executemany(
        "INSERT INTO gauges (number, serial, reading, made) VALUES (?, ?, ?, ?)",
        [(1, "A-1", 12.5, "2011-01-01T00:00:00Z"), (2, "A-2", None, "2011-01-02T00:00:00Z")],
    )
    plant.execute("INSERT INTO old_parts VALUES (1, 'spring'), (1, 'dial'), (2, 'case')")
    plant.commit()
    plant.close()
    return path


@pytest.fixture
def opened():
    """Open sites that are closed in the end."""
    sites = []

    def open_site(path, catalog=CATALOG):
        site = Site(path, catalog)
        sites.append(site)
        return site

    yield open_site
    for site in sites:
        site.close()


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


def adopted(path, opened, **more):
    adopt(path, "gauges", CATALOG, OWNER, **more)
    adopt(path, "old_parts", CATALOG, OWNER)
    site = opened(path)
    site.decided()
    return site


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


WITH_WHO = replace(TWO_WAY, columns=(*TWO_WAY.columns, column("who", Kind.TEXT)), groups=())


@pytest.mark.parametrize("columns", [WITH_WHO.columns, WITH_WHO.columns[::-1]])
def test_columns_that_are_declared_after_the_adoption_are_there_at_the_first_start(
    path, opened, columns
):
    adopt(path, "gauges", CATALOG, OWNER)
    adopt(path, "old_parts", CATALOG, OWNER)
    with closing(sqlite3.connect(path)) as plant, plant:
        plant.execute("UPDATE gauges SET reading = 99 WHERE number = 1")
        plant.execute("DELETE FROM gauges WHERE number = 2")
    site = opened(path, Catalog(1, (replace(TWO_WAY, columns=columns, groups=()), PARTS)))
    site.write("INSERT INTO gauges (number, serial) VALUES (3, 'A-3')")
    sent = [row for row in site.sent() if row.table == "gauges"]
    assert {(row.op, row.new["number"], row.new["reading"], row.new["who"]) for row in sent} == {
        ("I", 1, "99", None),
        ("I", 3, None, None),
    }
    site.write("UPDATE gauges SET who = 'anna' WHERE number = 3")
    assert [(row.old, row.new) for row in site.sent()] == [({"who": None}, {"who": "anna"})]


def test_a_column_that_a_tool_took_away_stops_the_drain_and_is_no_text(path, opened):
    """In double quotes, a name that does not exist would be read by SQLite as a text of its own."""
    site = adopted(path, opened)
    site.write("UPDATE gauges SET reading = 1, made = '2012-01-02T03:04:05Z'")
    for row in site.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
        site.write(f"DROP TRIGGER {row['name']}")
    site.write("ALTER TABLE gauges DROP COLUMN made")
    with pytest.raises(sqlite3.OperationalError, match="no such column: .*made"):
        site.sent()
    site.write("ALTER TABLE gauges ADD COLUMN made DATETIME")
    site.write("UPDATE gauges SET made = '2012-01-02T03:04:05Z'")
    assert {row.new["made"] for row in site.sent()} == {WRITTEN}


def unchanged(path, fails):
    plant = sqlite3.connect(path)
    before = [line for line in plant.iterdump() if "_sync_" not in line]
    fails()
    assert [line for line in plant.iterdump() if "_sync_" not in line] == before
    plant.close()


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


# --- columns of the plant's that are called as ours ----------------------------------------------

STAMPS = Table("stamps", Direction.BOTH, (column("name", Kind.TEXT),))
STAMP_FACTS = Table(
    "stamps",
    Direction.UP,
    (column("name", Kind.TEXT, policy=Policy.APPEND_ONLY),),
    append_only=True,
)
WRITTEN = "2012-01-02T03:04:05.000Z"


def stamps(path, columns, *rows):
    with closing(sqlite3.connect(path)) as plant, plant:
        plant.execute(f"CREATE TABLE stamps (name TEXT, {columns})")
        for row in rows:
            plant.execute(f"INSERT INTO stamps VALUES ({', '.join('?' * len(row))})", row)


def adopt_stamps(path, table=STAMPS, **more):
    return adopt(path, "stamps", Catalog(1, (table,)), OWNER, **more)


@pytest.mark.parametrize("table", [STAMPS, STAMP_FACTS])
@pytest.mark.parametrize(
    ("type_", "made", "zone"),
    [
        ("INTEGER", 1_325_473_445, None),
        ("INTEGER", 1_325_473_445_000, None),
        ("REAL", 1_325_473_445.0, None),
        ("TEXT", "1325473445000", None),
        ("DATETIME DEFAULT CURRENT_TIMESTAMP", "2012-01-02 03:04:05", None),
        ("DATETIME", "2012-01-02 03:04:05", "UTC"),
        ("DATETIME", "2012-01-02 04:04:05.0", "Europe/Berlin"),
        ("TEXT", "2012-01-01T22:04:05-05:00", "Europe/Berlin"),
    ],
)
def test_programs_write_their_own_created_at_and_it_travels_as_an_instant(
    path, opened, table, type_, made, zone
):
    stamps(path, f"created_at {type_}", ("old", made))
    assert adopt_stamps(path, table, zone=zone).problems == ()
    site = opened(path, Catalog(1, (table,)))
    site.write("INSERT INTO stamps (name, created_at) VALUES ('new', ?)", made)
    assert {(row.new["name"], row.created) for row in site.sent()} == {
        ("old", WRITTEN),
        ("new", WRITTEN),
    }
    assert [row["created_at"] for row in site.rows("SELECT created_at FROM stamps")] == [made] * 2
    assert site.sent() == []


def test_a_program_may_write_back_the_created_at_that_it_read(path, opened):
    made = "2012-01-02 03:04:05"
    stamps(path, "created_at DATETIME DEFAULT CURRENT_TIMESTAMP", ("old", made))
    adopt_stamps(path)
    site = opened(path, Catalog(1, (STAMPS,)))
    site.write("INSERT INTO stamps (name) VALUES ('by default')")
    site.decided()
    site.write("UPDATE stamps SET name = 'changed', created_at = ? WHERE name = 'old'", made)
    site.write("DELETE FROM stamps WHERE name = 'by default'")
    update, delete = site.sent()
    assert (update.what, update.created) == (("U", "name"), WRITTEN)
    assert (delete.op, delete.created[10], delete.created[-1]) == ("D", "T", "Z")
    assert "set once" in site.refused("UPDATE stamps SET created_at = '2013-01-01 00:00:00'")


@pytest.mark.parametrize("table", [STAMPS, STAMP_FACTS])
@pytest.mark.parametrize(
    "made", [132_547_344, 1_325_473_445_678_000, 1.5, b"\xff", "yesterday", "2012-01-02 03:04:05"]
)
def test_a_created_at_that_nobody_can_read_is_sent_as_it_is_and_stops_nothing(
    path, opened, table, made
):
    stamps(path, "created_at ANY")
    adopt_stamps(path, table)
    site = opened(path, Catalog(1, (table,)))
    site.write("INSERT INTO stamps (name, created_at) VALUES ('new', ?)", made)
    (row,) = site.sent()
    assert row.created.startswith("\ufffd" if made == b"\xff" else str(made))
    assert row.site == SITE
    site.write("INSERT INTO stamps (name, created_at) VALUES ('next', 1325473445)")
    assert [row.created for row in site.sent()] == [WRITTEN]


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ("created_at INTEGER", (132_547_344,), "holds 132547344: .*RENAME COLUMN created_at TO"),
        ("created_at TEXT", ("yesterday",), "holds 'yesterday': a timestamp such as"),
        ("created_at DATETIME", ("2012-01-02 03:04:05",), "name the zone .* by --zone, or rename"),
        ("created_at DEFAULT (datetime('now', 'localtime'))", None, "name the plant's zone by"),
        ("site_id INTEGER", (5,), "holds 5, which is not this store's own site, SITE_001: rename"),
        ("site_id INTEGER", None, "holds numbers, which is not this store's own site"),
        ("site_id TEXT COLLATE NOCASE", ("site_001",), "holds 'site_001', which is not this"),
        ("id INTEGER PRIMARY KEY", None, "holds numbers, which is not a lower-case uuid: rename"),
    ],
)
def test_a_column_of_our_name_that_means_something_else_is_refused(path, columns, row, message):
    stamps(path, columns, *([("old", *row)] if row else []))

    def fails():
        with pytest.raises(SchemaMismatch, match=message):
            adopt_stamps(path)

    unchanged(path, fails)


def test_rows_whose_site_id_is_null_are_this_sites(path, opened):
    stamps(path, "site_id TEXT", ("old", None), ("own", SITE))
    adopt_stamps(path)
    site = opened(path, Catalog(1, (STAMPS,)))
    site.write("INSERT INTO stamps (name, site_id) VALUES ('new', NULL)")
    assert [row.site for row in site.sent()] == [SITE] * 3


def test_created_at_is_taken_from_local_times_where_their_zone_is_named(path, opened):
    stamps(path, "made DATETIME", ("old", "2012-01-02 04:04:05"), ("undated", None))
    with pytest.raises(SchemaMismatch, match=r"made holds .* by --zone, or mend it"):
        adopt_stamps(path, created_from="made")
    adopt_stamps(path, created_from="made", zone="Europe/Berlin")
    site = opened(path, Catalog(1, (STAMPS,)))
    created = {row.new["name"]: row.created for row in site.sent()}
    assert created["old"] == WRITTEN
    assert created["undated"] > "2020"


def test_a_zone_that_does_not_exist_is_refused(path):
    with pytest.raises(BadSetting, match="Europe/Nowhere is no time zone"):
        adopt(path, "gauges", CATALOG, OWNER, zone="Europe/Nowhere")


def test_an_added_column_takes_the_null_that_the_centre_sends(path, opened):
    mood = column("mood", Kind.TEXT, default="calm")
    catalog = Catalog(1, (replace(STAMPS, columns=(*STAMPS.columns, mood), groups=()),))
    stamps(path, "own_use BLOB", ("old", None))
    adopt(path, "stamps", catalog, OWNER)
    site = opened(path, catalog)
    (row,) = site.sent()
    assert row.new["mood"] == "calm"
    site.decided()
    site.take(put("stamps", {"id": row.id, "name": "old", "mood": None}, order=1))
    assert site.row("stamps", row.id)["mood"] is None
    assert site.asides() == []
