"""A store is made from the catalogue, held by one agent, and brought to later catalogues."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.store import EdgeStore, schema, setup
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.errors import CatalogError, SchemaMismatch, WrongSite
from sync import codec
from tests.integration.edge_drain_world import CATALOG, NO_BOUND, SITE, Site, uid

ROOT = Path(__file__).parents[2]


def text(name, length=None, **more):
    return Column(name, ColumnType(Kind.TEXT, length=length), **more)


def fact(name, **more):
    return text(name, policy=Policy.APPEND_ONLY, **more)


ORDERS = Table(
    "orders",
    Direction.BOTH,
    (
        text("code", 20, nullable=False),
        text("note", 10),
        text("state", 10, values=("A", "B"), default="A"),
    ),
    natural_keys=(("code",),),
)
REPORTS = Table(
    "reports",
    Direction.UP,
    (fact("kind", nullable=False, values=("X",)), fact("note")),
    append_only=True,
)
OLD = Catalog(1, (ORDERS, REPORTS))


def with_columns(table, *columns, **more):
    return replace(table, columns=columns, groups=(), **more)


def newer(*tables, version=2):
    others = [t for t in OLD.tables if t.name not in {table.name for table in tables}]
    return Catalog(version, (*others, *tables))


def added(table, *columns):
    return with_columns(table, *table.columns, *columns)


def changed(table, place, **changes):
    columns = list(table.columns)
    columns[place] = replace(columns[place], **changes)
    return with_columns(table, *columns)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "store.db", OLD)
    yield site
    site.close()


def reopen(site, catalog=None):
    site.close()
    site.open(catalog)


def open_store(path, catalog=OLD, site=SITE, host="here"):
    return EdgeStore.open(path, catalog, site=site, now_ms=1, host=host)


# --- making and holding --------------------------------------------------------------------------


def test_every_table_of_the_catalogue_is_made_with_strict_types_and_exact_decimals(tmp_path):
    site = Site(tmp_path / "store.db", CATALOG)
    for table in CATALOG.tables:
        columns = {
            row["name"]: row["type"]
            for row in site.rows("SELECT name, type FROM pragma_table_info(?)", table.name)
        }
        journal = ["_seq"] if table.fact else []
        assert list(columns) == [*journal, "id", "site_id", "created_at", *table.names]
        for column in table.columns:
            if column.type.kind is Kind.DECIMAL:
                assert columns[column.name] == "TEXT"
    strict = site.rows("SELECT name FROM pragma_table_list WHERE strict")
    assert {row["name"] for row in strict} >= {table.name for table in CATALOG.tables}
    site.close()


def test_the_store_is_in_wal_mode_and_synced_in_full_on_each_commit(site):
    connection = site.store.opened.connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert site.program.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_again_changes_nothing(site):
    before = list(site.program.iterdump())
    reopen(site)
    assert list(site.program.iterdump()) == before


def test_a_second_agent_is_refused_while_the_first_holds_the_store(site):
    with pytest.raises(WrongSite, match="another agent holds"):
        open_store(site.path)
    look = EdgeStore.look(site.path)
    assert look.position().site == SITE
    look.close()


def test_an_agent_that_was_killed_holds_the_store_no_more(tmp_path):
    path = tmp_path / "store.db"
    open_store(path, CATALOG).close()
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom edge.store import EdgeStore\n"
        "from shared.catalog_file import load_catalog\n"
        "path, catalog = Path(sys.argv[1]), load_catalog()\n"
        "EdgeStore.open(path, catalog, site='SITE_001', now_ms=1, host='here')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL, "it did not come as far as to hold the store"
    open_store(path, CATALOG).close()


def test_the_store_of_another_site_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "store.db"
    open_store(path).close()
    before = path.read_bytes()
    with pytest.raises(WrongSite, match="belongs to site SITE_001, not to SITE_002"):
        open_store(path, site="SITE_002")
    assert path.read_bytes() == before


def test_a_store_of_a_newer_release_is_refused(tmp_path):
    path = tmp_path / "store.db"
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(SchemaMismatch, match="upgrade the program"):
        open_store(path)


def test_a_copied_file_says_so_until_a_person_accepts_it(tmp_path):
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    open_store(path).close()
    shutil.copy(path, copy)
    store = open_store(copy)
    assert "mes-edge moved" in store.position().stopped_because
    setup.accept_instance(store.opened, "here")
    store.close()
    store = open_store(copy)
    assert store.position().stopped_because is None
    store.close()


@pytest.mark.parametrize("content", [None, b"", b"not a database at all" * 100])
def test_looking_at_what_is_no_store_is_refused(tmp_path, content):
    path = tmp_path / "other.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SchemaMismatch, match=r"mes-edge init|not a database"):
        EdgeStore.look(path)


def test_looking_at_a_database_of_somebody_else_leaves_it_as_it_was(tmp_path):
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE t (x)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(SchemaMismatch, match="is not a store of mes-sync"):
        EdgeStore.look(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["theirs.db"]


def test_triggers_that_a_tool_lost_are_back_at_the_next_start(site):
    names = [
        row["name"] for row in site.rows("SELECT name FROM sqlite_schema WHERE type='trigger'")
    ]
    for name in names:
        site.write(f"DROP TRIGGER {name}")
    reopen(site)
    site.insert("orders", id=uid(1), code="a")
    site.write("INSERT INTO reports (kind) VALUES ('X')")
    assert [row.table for row in site.sent()] == ["orders", "reports"]
    assert "append-only" in site.refused("DELETE FROM reports")


# --- migrating -----------------------------------------------------------------------------------


def test_an_added_column_gives_rows_its_default_and_makes_no_traffic(site):
    site.insert("orders", id=uid(1), code="a")
    site.write("INSERT INTO reports (kind) VALUES ('X')")
    site.decided()
    colour = text("colour", default="red", nullable=False, since=2)
    weight = fact("weight", default="1", nullable=False, since=2)
    reopen(site, newer(added(ORDERS, colour), added(REPORTS, weight)))
    assert site.sent() == []
    assert site.row("orders", uid(1))["colour"] == "red"
    assert site.rows("SELECT weight FROM reports") == [{"weight": "1"}]
    site.update("orders", uid(1), colour="blue")
    site.write("INSERT INTO reports (kind, weight) VALUES ('X', '2')")
    update, report = site.sent()
    assert (update.old, update.new) == ({"colour": "red"}, {"colour": "blue"})
    assert report.new == {"kind": "X", "note": None, "weight": "2"}


def test_what_was_not_drained_goes_out_under_the_schema_it_was_written_under(site):
    site.insert("orders", id=uid(1), code="a", note="b")
    reopen(site, newer(changed(ORDERS, 1, name="remark", renamed_from=("note",))))
    assert [row.new["note"] for row in site.sent()] == ["b"]
    (part,) = site.store.outbox((0, NO_BOUND), bytes_max=1)
    assert codec.open_body(part).schema == 1
    assert site.store.position().schema == 2


def test_a_renamed_column_keeps_its_values_and_is_captured_under_its_new_name(site):
    site.insert("orders", id=uid(1), code="a", note="b")
    site.decided()
    reopen(site, newer(changed(ORDERS, 1, name="remark", renamed_from=("note",))))
    assert site.row("orders", uid(1))["remark"] == "b"
    assert site.sent() == []
    site.update("orders", uid(1), remark="c")
    (row,) = site.sent()
    assert (row.old, row.new) == ({"remark": "b"}, {"remark": "c"})


def test_a_renamed_key_stays_a_key(site):
    site.insert("orders", id=uid(1), code="a")
    site.decided()
    renamed = changed(ORDERS, 0, name="number", renamed_from=("code",))
    reopen(site, newer(replace(renamed, natural_keys=(("number",),))))
    site.write("INSERT OR REPLACE INTO orders (id, number) VALUES (?, 'a')", uid(2))
    assert [(row.op, row.id) for row in site.sent()] == [("I", uid(2)), ("D", uid(1))]


def test_an_added_table_is_there_and_captured(site):
    tools = Table("tools", Direction.BOTH, (text("name"),), since=2)
    reopen(site, newer(tools))
    site.insert("tools", id=uid(1), name="hammer")
    assert [row.table for row in site.sent()] == ["tools"]


def test_a_widened_column_takes_more_and_rewrites_no_row(site):
    assert "at most 10 characters" in site.refused(
        "INSERT INTO orders (code, note) VALUES ('a', 'more than ten')"
    )
    assert "one of A, B" in site.refused("INSERT INTO orders (code, state) VALUES ('a', 'C')")
    root = site.value("SELECT rootpage FROM sqlite_schema WHERE name = 'orders'")
    wide = changed(ORDERS, 1, type=ColumnType(Kind.TEXT, length=20))
    reopen(site, newer(changed(wide, 2, values=("A", "B", "C"))))
    assert site.value("SELECT rootpage FROM sqlite_schema WHERE name = 'orders'") == root
    site.insert("orders", id=uid(1), code="a", note="more than ten", state="C")
    assert [row.new["note"] for row in site.sent()] == ["more than ten"]


def test_a_new_default_holds_for_new_rows_only(site):
    site.insert("orders", id=uid(1), code="a")
    site.decided()
    reopen(site, newer(changed(ORDERS, 2, default="B")))
    site.write("INSERT INTO orders (id, code) VALUES (?, 'b')", uid(2))
    assert [row.new["state"] for row in site.sent()] == ["B"]
    assert site.row("orders", uid(1))["state"] == "A"


def test_a_fact_column_that_may_be_null_now_keeps_journal_and_rows(site):
    site.write("INSERT INTO reports (kind) VALUES ('X'), ('X')")
    site.decided()
    reopen(site, newer(changed(REPORTS, 0, nullable=True)))
    site.write("INSERT INTO reports (kind) VALUES (NULL)")
    assert [row.new["kind"] for row in site.sent()] == [None]
    assert [row["_seq"] for row in site.rows("SELECT _seq FROM reports ORDER BY _seq")] == [1, 2, 3]
    assert "append-only" in site.refused("DELETE FROM reports")


def test_what_the_plant_added_itself_survives_every_kind_of_change(site):
    site.write("ALTER TABLE orders ADD COLUMN plant_own TEXT")
    site.write("CREATE INDEX plant_index ON orders (note)")
    site.write("CREATE VIEW plant_view AS SELECT code, note FROM orders")
    site.write("CREATE TABLE plant_table (seen TEXT)")
    site.write(
        "CREATE TRIGGER plant_trigger AFTER UPDATE OF note ON orders"
        " BEGIN INSERT INTO plant_table VALUES (NEW.note); END"
    )
    site.write(
        "INSERT INTO orders (id, code, note, plant_own) VALUES (?, 'a', 'b', 'mine')", uid(1)
    )
    site.decided()
    renamed = changed(ORDERS, 1, name="remark", renamed_from=("note",))
    reopen(site, newer(added(changed(renamed, 2, default="B"), text("colour", since=2))))
    site.update("orders", uid(1), remark="c")
    assert site.rows("SELECT * FROM plant_view") == [{"code": "a", "remark": "c"}]
    assert site.rows("SELECT * FROM plant_table") == [{"seen": "c"}]
    assert site.row("orders", uid(1))["plant_own"] == "mine"
    assert site.value("SELECT count(*) FROM sqlite_schema WHERE name = 'plant_index'") == 1
    assert [row.new for row in site.sent()] == [{"remark": "c"}]


def test_a_catalogue_that_would_lose_something_is_refused_and_changes_nothing(site):
    site.insert("orders", id=uid(1), code="a")
    before = list(site.program.iterdump())
    with pytest.raises(CatalogError, match="table reports: it is gone"):
        reopen(site, Catalog(2, (ORDERS,)))
    site.program = sqlite3.connect(site.path, isolation_level=None)
    assert list(site.program.iterdump()) == before
    site.open(OLD)
    assert len(site.sent()) == 1


def test_a_table_of_the_plants_own_in_the_way_names_adopt_and_changes_nothing(site):
    site.write("CREATE TABLE tools (name TEXT)")
    before = list(site.program.iterdump())
    with pytest.raises(SchemaMismatch, match="mes-edge adopt FILE --table tools"):
        reopen(site, newer(Table("tools", Direction.BOTH, (text("name"),), since=2)))
    site.program = sqlite3.connect(site.path, isolation_level=None)
    assert list(site.program.iterdump()) == before
    site.open(OLD)


def test_an_older_catalogue_of_the_same_store_is_refused(site):
    reopen(site, newer(added(ORDERS, text("colour", since=2))))
    with pytest.raises(CatalogError, match="colour"):
        reopen(site, OLD)
    site.open(newer(added(ORDERS, text("colour", since=2))))


def test_a_migration_step_of_our_own_tables_runs_statement_by_statement():
    text_ = "-- a;b\nCREATE TABLE a (x TEXT DEFAULT ';');\n\nCREATE TABLE b (y TEXT);\n"
    assert len(list(schema.statements(text_))) == 2
