"""What a trigger of the plant's undoes or can't do is told, and stops neither feed nor drain."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from edge.store import aside
from edge.store.open import is_damage
from tests.integration.edge_world import (
    CREATED,
    away,
    plant,  # noqa: F401
    put,
    uid,
    version,
)

ROW, NEXT = uid(1), uid(2)
LISTED = [("orders", ROW, "refused")]
NO_FUNCTION = "SELECT no_function_of_ours(NEW.notes)"


def rule(plant, event, does, when="NEW.notes = 'bad'", table="orders"):
    plant.write(f"CREATE TRIGGER a_rule {event} ON {table} WHEN {when} BEGIN {does}; END")


def order(row_id, notes, *, at, **more):
    return put("orders", {"id": row_id, "notes": notes, **more}, order=at)


def lift(plant):
    plant.write("DROP TRIGGER a_rule")
    plant.store.prune(next(plant.clock))


def owed(plant):
    return [(table, row_id, op, plant.sent(plant.last_n)[0].base) for table, row_id, op in
            plant.owed()]  # fmt: skip


# --- rows that are passed over ------------------------------------------------------------------


def test_a_row_that_a_trigger_passes_over_is_refused_and_comes_when_it_no_longer_does(plant):
    rule(plant, "BEFORE INSERT", "SELECT RAISE(IGNORE)")
    plant.take(order(ROW, "bad", at=4), order(NEXT, "good", at=5))
    assert plant.row("orders", ROW) is None
    assert plant.row("orders", NEXT)["notes"] == "good"
    assert (plant.asides(), plant.base("orders", ROW)) == (LISTED, None)
    assert plant.events() == ["MES-ROW-ASIDE"]
    lift(plant)
    assert plant.row("orders", ROW)["notes"] == "bad"
    assert (plant.asides(), plant.base("orders", ROW)) == ([], (version(4), 4))
    assert plant.owed() == []


def test_a_change_that_a_trigger_passes_over_is_refused_and_the_row_keeps_its_version(plant):
    plant.take(order(ROW, "old", at=1))
    rule(plant, "BEFORE UPDATE", "SELECT RAISE(IGNORE)")
    plant.take(order(ROW, "bad", at=4))
    assert plant.row("orders", ROW)["notes"] == "old"
    assert (plant.asides(), plant.base("orders", ROW)) == (LISTED, (version(1), 1))
    assert plant.owed() == []
    lift(plant)
    assert plant.row("orders", ROW)["notes"] == "bad"


def test_what_a_trigger_writes_in_the_place_of_a_change_is_sent(plant):
    plant.take(order(ROW, "old", at=1))
    instead = "UPDATE orders SET line = 'L9' WHERE id = NEW.id; SELECT RAISE(IGNORE)"
    rule(plant, "BEFORE UPDATE OF notes", instead)
    plant.take(order(ROW, "bad", at=4))
    assert plant.asides() == LISTED
    assert owed(plant) == [("orders", ROW, "U", [version(1)])]


def test_a_row_that_a_trigger_puts_itself_in_the_place_of_ours_was_put(plant):
    itself = (
        "INSERT INTO orders (id, site_id, created_at, notes)"
        " VALUES (NEW.id, NEW.site_id, NEW.created_at, 'better'); SELECT RAISE(IGNORE)"
    )
    rule(plant, "BEFORE INSERT", itself)
    plant.take(order(ROW, "bad", at=4))
    assert (plant.asides(), plant.base("orders", ROW)) == ([], (version(4), 4))
    assert owed(plant) == [("orders", ROW, "U", [version(4)])]


def test_a_fact_that_a_trigger_passes_over_is_refused_and_one_that_stands_is_not(plant):
    plant.insert("reports", id=uid(8), good=1)
    plant.drain()
    rule(plant, "BEFORE INSERT", "SELECT RAISE(IGNORE)", when="1", table="reports")
    plant.take(put("reports", {"id": uid(8), "good": 1}, {"id": uid(9), "good": 2}, order=0))
    assert plant.asides() == [("reports", uid(9), "refused")]
    lift(plant)
    assert plant.row("reports", uid(9))["good"] == 2
    assert plant.asides() == []


def test_a_refused_fact_that_came_again_is_not_listed_any_more(plant):
    rule(plant, "BEFORE INSERT", "SELECT RAISE(IGNORE)", when="1", table="reports")
    fact = put("reports", {"id": uid(9), "good": 2}, order=0)
    plant.take(fact)
    assert plant.asides() == [("reports", uid(9), "refused")]
    plant.write("DROP TRIGGER a_rule")
    plant.take(fact)
    plant.store.prune(next(plant.clock))
    assert (plant.asides(), len(plant.rows("SELECT * FROM reports"))) == ([], 1)


# --- rows that the centre made anew under their id -----------------------------------------------

EARLIER = "2011-01-02T03:04:05.678Z"


def dated(row_id, notes, *, at):
    """Return the head of a row that was made at another time."""
    return replace(order(row_id, notes, at=at), created=[EARLIER])


@pytest.mark.parametrize("does", ["SELECT RAISE(ABORT, 'no date')", "SELECT RAISE(IGNORE)"])
def test_a_row_whose_new_date_is_not_allowed_stays_as_it_was_whole(plant, does):
    plant.take(order(ROW, "old", at=1))
    rule(plant, "BEFORE UPDATE OF created_at", does, when="1")
    plant.take(dated(ROW, "theirs", at=9))
    row = plant.row("orders", ROW)
    assert (row["notes"], row["created_at"]) == ("old", CREATED)
    assert (plant.asides(), plant.base("orders", ROW)) == (LISTED, (version(1), 1))
    assert plant.owed() == []
    lift(plant)
    row = plant.row("orders", ROW)
    assert (row["notes"], row["created_at"]) == ("theirs", EARLIER)


def test_a_rule_on_the_date_says_nothing_to_a_head_that_has_the_same(plant):
    plant.take(order(ROW, "old", at=1))
    rule(plant, "BEFORE UPDATE OF created_at", "SELECT RAISE(ABORT, 'no date')", when="1")
    plant.take(order(ROW, "theirs", at=9))
    assert (plant.row("orders", ROW)["notes"], plant.asides()) == ("theirs", [])


# --- rows that are taken away again -------------------------------------------------------------

AGAIN = "DELETE FROM orders WHERE id = NEW.id"


@pytest.mark.parametrize("event", ["AFTER INSERT", "AFTER UPDATE"])
def test_a_row_that_a_trigger_takes_away_again_is_deleted_by_the_site(plant, event):
    if event == "AFTER UPDATE":
        plant.take(order(ROW, "old", at=1))
    rule(plant, event, AGAIN)
    plant.take(order(ROW, "bad", at=4))
    assert plant.row("orders", ROW) is None
    assert (plant.asides(), plant.base("orders", ROW)) == ([], (version(4), 4))
    assert owed(plant) == [("orders", ROW, "D", [version(4)])]
    plant.take(ack=plant.ack(plant.last_n))
    assert plant.owed() == []


def test_a_row_of_another_owner_that_a_trigger_takes_away_again_is_listed(plant):
    rule(plant, "AFTER INSERT", AGAIN)
    shared = put("orders", {"id": ROW, "notes": "bad"}, order=4, site="*")
    plant.receive(plant.shared.entry(shared))
    assert (plant.asides(), plant.owed()) == (LISTED, [])
    lift(plant)
    assert plant.row("orders", ROW)["notes"] == "bad"


# --- what can't be run here ---------------------------------------------------------------------


def test_a_function_of_the_plants_own_stops_only_the_row_that_needs_it(plant):
    plant.take(order(ROW, "old", at=1))
    rule(plant, "AFTER UPDATE", NO_FUNCTION, when="1")
    entries = plant.own.entry(order(ROW, "bad", at=4)), plant.own.entry(order(NEXT, "x", at=5))
    assert plant.receive(*entries).applied == 2
    assert plant.row("orders", NEXT)["notes"] == "x"
    assert (plant.row("orders", ROW)["notes"], plant.asides()) == ("old", LISTED)
    assert "no_function_of_ours" in plant.value("SELECT reason FROM _sync_aside")


def test_a_head_that_was_refused_is_not_laid_over_what_the_site_wrote_since(plant):
    plant.take(order(ROW, "old", at=1))
    rule(plant, "AFTER UPDATE", NO_FUNCTION, when="1")
    plant.take(order(ROW, "theirs", at=4))
    plant.program.create_function("no_function_of_ours", 1, str)
    plant.update("orders", ROW, notes="mine")
    plant.drain()
    lift(plant)
    assert plant.row("orders", ROW)["notes"] == "mine"
    plant.take(order(ROW, "both", at=5), ack=plant.ack(plant.last_n))
    assert (plant.row("orders", ROW)["notes"], plant.asides()) == ("both", [])


def test_the_drain_goes_on_where_a_value_cannot_be_brought_to_its_form(plant):
    plant.program.create_function("no_function_of_ours", 1, str)
    plant.take(order(ROW, "old", at=1))
    rule(plant, "AFTER UPDATE", NO_FUNCTION, when="1")
    plant.update("orders", ROW, tags='["b", "a"]')
    plant.insert("reports", id=uid(50), good=1)
    assert plant.drain() == 1
    sent = {block.table: block for block in plant.sent(1)}
    assert sent["reports"].ids == [uid(50)]
    assert sent["orders"].new == [['["b", "a"]']], "as the program wrote it"


@pytest.mark.parametrize("does", ["SELECT RAISE(ABORT, 'no')", NO_FUNCTION])
def test_the_drain_goes_on_where_a_row_may_not_get_its_first_date_back(plant, does):
    plant.take(order(ROW, "old", at=1))
    rule(plant, "BEFORE UPDATE OF created_at", does, when="1")
    plant.delete("orders", ROW)
    plant.insert("orders", id=ROW, created_at="2020-01-01T00:00:00.000Z", notes="anew")
    (block,) = plant.sent(plant.drain())
    assert block.ids == [ROW]


# --- a full-text index ----------------------------------------------------------------------------

OUT_OF_STEP = "INSERT INTO texts (texts, rowid, notes) VALUES ('delete', OLD.rowid, OLD.notes)"


def indexed(plant, event):
    """The plant has begun a full-text index without the rows that stood."""
    plant.take(order(ROW, "old", at=1), order(NEXT, "old", at=2))
    plant.write("CREATE VIRTUAL TABLE texts USING fts5 (notes, content = '')")
    rule(plant, event, OUT_OF_STEP, when="1")


@pytest.mark.parametrize("event", ["AFTER DELETE", "AFTER UPDATE"])
def test_a_full_text_index_of_the_plants_that_is_out_of_step_stops_only_its_row(plant, event):
    indexed(plant, event)
    news = order(ROW, "new", at=5) if event == "AFTER UPDATE" else away("orders", ROW, order=5)
    entries = plant.own.entry(news), plant.own.entry(order(uid(3), "later", at=6))
    assert plant.receive(*entries).applied == 2
    assert plant.row("orders", uid(3))["notes"] == "later"
    assert (plant.row("orders", ROW)["notes"], plant.asides()) == ("old", LISTED)
    assert "malformed" in plant.value("SELECT reason FROM _sync_aside")
    lift(plant)
    assert plant.asides() == []


def test_the_drain_goes_on_where_a_full_text_index_is_out_of_step(plant):
    indexed(plant, "AFTER UPDATE")
    plant.write("DROP TRIGGER a_rule")
    plant.update("orders", ROW, tags='["b", "a"]')
    rule(plant, "AFTER UPDATE", OUT_OF_STEP, when="1")
    (block,) = plant.sent(plant.drain())
    assert block.new == [['["b", "a"]']], "as the program wrote it"


@pytest.mark.parametrize(
    ("name", "damaged"), [("CORRUPT", True), ("NOTADB", True), ("CORRUPT_VTAB", False)]
)
def test_only_the_file_counts_as_damaged_not_a_table_of_the_plants(name, damaged):
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    assert (is_damage(error), aside.is_refusal(error)) == (damaged, not damaged)


# --- what is no refusal -------------------------------------------------------------------------

PASSING = (
    "BUSY", "LOCKED", "FULL", "IOERR", "READONLY", "INTERRUPT", "CANTOPEN", "PROTOCOL", "SCHEMA",
)  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_trouble_with_the_store_is_no_refusal_of_a_row(name):
    error = sqlite3.OperationalError("of the store")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    assert not aside.is_refusal(error)


@pytest.mark.parametrize("kind", [sqlite3.DatabaseError, MemoryError, sqlite3.OperationalError])
def test_damage_and_errors_without_a_code_are_no_refusal_of_a_row(kind):
    assert not aside.is_refusal(kind("file is not a database"))


@pytest.mark.parametrize("block", [
    put("orders", {"id": ROW, "notes": "bad"}, order=4),
    put("orders", {"id": ROW}, order=4),
])  # fmt: skip
def test_a_store_that_is_interrupted_amid_a_row_applies_nothing_and_lists_nothing(plant, block):
    connection = plant.store.opened.connection
    connection.create_function("of_theirs", 0, connection.interrupt)
    rule(plant, "BEFORE INSERT", "SELECT of_theirs()", when="1")
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        plant.take(block)
    assert (plant.asides(), plant.value("SELECT own_pos FROM _sync_site")) == ([], 0)


def test_a_full_store_lists_no_row(plant):
    plant.take(order(ROW, "old", at=1))
    rule(plant, "BEFORE UPDATE", "INSERT INTO large VALUES (zeroblob(40000000))", when="1")
    plant.write("CREATE TABLE large (x)")
    pages = plant.value("PRAGMA page_count")
    plant.store.opened.connection.execute(f"PRAGMA max_page_count = {pages + 50}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        plant.take(order(ROW, "bad", at=4))
    assert plant.asides() == []
