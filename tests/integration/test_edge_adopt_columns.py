"""A plant's table that has columns of our names, and columns declared after its adoption."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from edge.adopt import adopt
from shared.catalog import Catalog, Direction, Kind, Policy, Table
from shared.errors import BadSetting, SchemaMismatch
from tests.integration.adopt_world import (  # noqa: F401, the fixtures among them
    CATALOG,
    OWNER,
    PARTS,
    TWO_WAY,
    adopted,
    column,
    opened,
    path,
    unchanged,
)
from tests.integration.edge_drain_world import SITE
from tests.integration.edge_world import put

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


# --- columns that are declared later, or lost


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
    with pytest.raises(sqlite3.OperationalError, match=r"no such column: .*made"):
        site.sent()
    site.write("ALTER TABLE gauges ADD COLUMN made DATETIME")
    site.write("UPDATE gauges SET made = '2012-01-02T03:04:05Z'")
    assert {row.new["made"] for row in site.sent()} == {WRITTEN}
