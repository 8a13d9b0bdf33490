"""What the centre took away and the plant does not let go of stays, listed; all else goes on."""

from __future__ import annotations

import json
import sqlite3

import pytest

from edge.store.tips import Lost
from shared.changes import Fate
from tests.integration.edge_loads import begin, chunk, finish, load
from tests.integration.edge_world import (
    away,
    plant,  # noqa: F401
    put,
    uid,
    version,
)

ROW, NEXT = uid(1), uid(5)
KEPT = "A is kept"
LISTED = [("orders", ROW, "refused")]
LATER = [{"id": NEXT, "notes": "later"}]
IGNORED = "a trigger on orders keeps it"


def keeps(plant, *, event="BEFORE DELETE", does=f"SELECT RAISE(ABORT, '{KEPT}')"):
    """Bring two rows, and have the plant keep the first."""
    rows = ({"id": ROW, "order_no": "A", "notes": "a"}, {"id": NEXT, "order_no": "E", "notes": "e"})
    plant.take(put("orders", *rows, order=1))
    rule(plant, event, does)


def rule(plant, event, does, when="OLD.order_no = 'A'", table="orders"):
    plant.write(f"CREATE TRIGGER a_rule {event} ON {table} WHEN {when} BEGIN {does}; END")


def lift(plant):
    """Take the rule away; the agent sees it at its next look."""
    plant.write("DROP TRIGGER a_rule")
    plant.store.prune(next(plant.clock))


def aside(plant):
    found = plant.rows("SELECT version, ord, reason FROM _sync_aside WHERE code = 'refused'")
    return [tuple(each.values()) for each in found]


def stale(plant):
    """An older head of the row comes late, by the other feed."""
    old = put("orders", {"id": ROW, "notes": "old"}, order=3)
    plant.receive(plant.shared.entry(old))
    return plant.row("orders", ROW)


RULES = {
    "refuses": {},
    "passes over": {"does": "SELECT RAISE(IGNORE)"},
    "makes anew": {
        "event": "AFTER DELETE",
        "does": "INSERT INTO orders (id, site_id, created_at, order_no, notes)"
        " VALUES (OLD.id, OLD.site_id, OLD.created_at, OLD.order_no, OLD.notes)",
    },
    "can't be run": {"does": "SELECT no_function_of_ours(OLD.id)"},
}
every_rule = pytest.mark.parametrize("kind", RULES)


@every_rule
def test_what_comes_after_a_removal_that_the_plant_does_not_allow_is_applied(plant, kind):
    keeps(plant, **RULES[kind])
    both = away("orders", ROW, order=5), put("orders", *LATER, order=6)
    outcome = plant.receive(*(plant.own.entry(block) for block in both))
    assert outcome.applied == 2
    assert plant.row("orders", NEXT)["notes"] == "later"
    assert plant.row("orders", ROW)["notes"] == "a"
    assert plant.asides() == LISTED
    assert plant.events() == ["MES-ROW-ASIDE"]
    assert plant.owed() == [], "the site has done nothing that it would have to send"


def test_a_refused_removal_is_listed_with_its_version_and_the_plants_own_words(plant):
    keeps(plant)
    plant.take(away("orders", ROW, NEXT, order=5))
    ((told, order, reason),) = aside(plant)
    assert (told, order) == (version(5), 5)
    assert reason == f"it was taken away at the centre, and stays here: {KEPT}"
    assert plant.base("orders", ROW) == (version(1), 1), "a write must not claim to have seen it"
    assert plant.row("orders", NEXT) is None


@every_rule
def test_a_row_goes_when_the_plant_lifts_its_rule_and_its_deletion_is_known(plant, kind):
    keeps(plant, **RULES[kind])
    plant.take(away("orders", ROW, order=5))
    lift(plant)
    assert plant.row("orders", ROW) is None
    assert plant.asides() == []
    assert plant.base("orders", ROW) == (version(5), 5)
    assert stale(plant) is None
    assert plant.owed() == []


def test_a_refused_removal_is_tried_again_at_each_start_whatever_the_rule_hung_on(plant):
    plant.write("CREATE TABLE kept (order_no)")
    plant.write("INSERT INTO kept VALUES ('A')")
    keeps(plant, does="SELECT RAISE(ABORT, 'kept') FROM kept WHERE order_no = OLD.order_no")
    plant.take(away("orders", ROW, order=5))
    plant.write("DELETE FROM kept")
    plant.close()
    plant.open()
    plant.store.materialise(next(plant.clock))
    assert (plant.row("orders", ROW), plant.asides()) == (None, [])


def test_what_was_refused_is_not_tried_again_and_again_where_no_rule_changed(plant):
    plant.write("CREATE TABLE tried (n)")
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.store.prune(next(plant.clock))
    looks = []
    plant.store.opened.connection.set_trace_callback(looks.append)
    for _ in range(3):
        plant.store.prune(next(plant.clock))
    assert not [each for each in looks if each.startswith('DELETE FROM "orders"')]
    assert plant.events() == ["MES-ROW-ASIDE"]


def test_an_older_head_does_not_take_the_place_of_a_refused_removal(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    assert stale(plant)["notes"] == "a"
    assert plant.asides() == LISTED


def test_a_later_head_of_the_row_ends_its_refused_removal(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.take(put("orders", {"id": ROW, "order_no": "A", "notes": "back"}, order=7))
    assert plant.row("orders", ROW)["notes"] == "back"
    assert (plant.asides(), plant.base("orders", ROW)) == ([], (version(7), 7))
    lift(plant)
    assert plant.row("orders", ROW)["notes"] == "back"


# --- what the plant writes on a row that stays --------------------------------------------------


def test_a_write_on_a_row_that_stays_is_sent_as_made_on_what_it_saw(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.update("orders", ROW, notes="mine")
    (block,) = plant.sent(plant.drain())
    assert (block.op.value, block.base) == ("U", [version(1)])


def test_a_row_that_stays_is_not_taken_away_while_the_centre_decides_on_a_write_on_it(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    lift(plant)
    assert plant.row("orders", ROW)["notes"] == "mine"
    plant.take(away("orders", ROW, order=5), ack=plant.ack(n))
    assert plant.row("orders", ROW) is None
    assert plant.asides() == [("orders", ROW, "gone")]
    assert json.loads(plant.value("SELECT content FROM _sync_aside"))["notes"] == "mine"


def test_a_write_that_lost_against_a_refused_removal_is_kept_and_the_removal_stays_listed(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.update("orders", ROW, notes="mine")
    plant.take(away("orders", ROW, order=5), ack=plant.ack(plant.drain()))
    assert plant.row("orders", ROW)["notes"] == "mine"
    assert plant.asides() == [("orders", ROW, "gone"), *LISTED]
    lift(plant)
    assert (plant.row("orders", ROW), plant.asides()) == (None, [("orders", ROW, "gone")])


def next_write(plant, notes="later"):
    plant.update("orders", ROW, notes=notes)
    (block,) = plant.sent(plant.drain())
    return block.op.value, block.base


def test_after_a_write_that_was_under_way_when_the_row_went_the_next_one_makes_no_row_anew(plant):
    keeps(plant)
    plant.update("orders", ROW, notes="under way")
    n = plant.drain()
    plant.take(away("orders", ROW, order=5))  # the ack comes by the other feed, and later
    plant.take(ack=plant.ack(n))
    assert plant.asides() == [("orders", ROW, "gone"), *LISTED]
    assert next_write(plant) == ("U", [version(1)])


def test_after_a_snapshot_beside_a_write_under_way_the_next_one_makes_no_row_anew(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.update("orders", ROW, notes="under way")
    n = plant.drain()
    load(plant, put("orders", {"id": NEXT, "order_no": "E", "notes": "e"}, order=2))
    plant.take(away("orders", ROW, order=5), ack=plant.ack(n))
    assert next_write(plant)[0] == "U"


def test_a_row_that_the_centre_took_as_the_site_made_it_anew_is_not_taken_away(plant):
    keeps(plant, does="SELECT RAISE(IGNORE)")
    plant.take(away("orders", ROW, order=5))
    plant.write("DROP TRIGGER a_rule")
    plant.delete("orders", ROW)
    plant.drain()
    plant.insert("orders", id=ROW, order_no="A", notes="anew")
    plant.take(ack=plant.ack(plant.drain()))
    plant.store.prune(next(plant.clock))
    assert plant.row("orders", ROW)["notes"] == "anew"
    assert (plant.asides(), plant.owed()) == ([], [])
    assert stale(plant)["notes"] == "anew", "the order of the removal is known still"


def test_an_insert_that_was_not_accepted_stays_listed_and_may_be_taken_later(plant):
    keeps(plant)
    plant.insert("orders", id=uid(7), order_no="Z")
    plant.write("DROP TRIGGER a_rule")
    rule(plant, "BEFORE DELETE", f"SELECT RAISE(ABORT, '{KEPT}')", when="1")
    plant.take(away("orders", uid(7), order=0), ack=plant.ack(plant.drain()))
    assert plant.asides() == [("orders", uid(7), "parked"), ("orders", uid(7), "refused")]
    assert plant.base("orders", uid(7)) is None
    plant.update("orders", uid(7), notes="once more")
    n = plant.drain()
    assert [block.op.value for block in plant.sent(n)] == ["I"]
    plant.take(ack=plant.ack(n))
    assert plant.asides() == [("orders", uid(7), "parked")], "the centre has it now"
    lift(plant)
    assert plant.row("orders", uid(7))["notes"] == "once more"


# --- rows that should make way ------------------------------------------------------------------


def test_a_head_waits_for_its_key_where_the_row_that_has_it_does_not_make_way(plant):
    keeps(plant)
    plant.take(put("orders", {"id": uid(8), "order_no": "A", "notes": "theirs"}, order=5))
    assert plant.asides() == [("orders", uid(8), "unique")]
    plant.take(put("orders", {"id": ROW, "order_no": "B"}, order=6))
    assert plant.row("orders", uid(8))["notes"] == "theirs"
    assert plant.asides() == []


def test_a_head_that_waited_for_its_key_is_not_laid_over_what_the_site_wrote_since(plant):
    keeps(plant)
    plant.take(put("orders", {"id": NEXT, "order_no": "A", "notes": "theirs"}, order=9))
    plant.update("orders", NEXT, notes="mine")
    n = plant.drain()
    plant.take(put("orders", {"id": ROW, "order_no": "B", "notes": "a"}, order=12))
    assert plant.row("orders", NEXT)["notes"] == "mine"
    decided = put("orders", {"id": NEXT, "order_no": "A", "notes": "mine"}, order=15)
    plant.take(decided, ack=plant.ack(n))
    row = plant.row("orders", NEXT)
    assert (row["order_no"], row["notes"], plant.asides()) == ("A", "mine", [])


def test_an_own_row_whose_key_is_taken_stays_as_it_was_where_it_may_not_be_taken_away(plant):
    keeps(plant)
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    clash = {"id": ROW, "order_no": "E", "notes": "theirs"}
    assert plant.receive(plant.own.entry(put("orders", clash, order=5))).applied == 1
    assert plant.row("orders", ROW)["notes"] == "mine"
    assert plant.asides() == [("orders", ROW, "unique")]
    plant.take(put("orders", {"id": ROW, "order_no": "C", "notes": "mine"}, order=6),
               ack=plant.ack(n))  # fmt: skip
    assert (plant.row("orders", ROW)["order_no"], plant.asides()) == ("C", [])


def test_a_row_whose_removal_was_refused_and_that_makes_way_after_all_is_gone(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.write("DROP TRIGGER a_rule")
    plant.take(put("orders", {"id": uid(8), "order_no": "A"}, order=6))
    assert plant.asides() == []
    assert plant.base("orders", ROW) == (version(5), 5)
    plant.take(put("orders", {"id": uid(8), "order_no": "B"}, order=7))
    assert plant.row("orders", ROW) is None


# --- snapshots, the way home, facts -------------------------------------------------------------


def test_a_row_that_a_snapshot_lacks_stays_listed_and_the_load_ends(plant):
    keeps(plant)
    begin(plant)
    chunk(plant, 0, put("orders", {"id": uid(9), "order_no": "N"}, order=9))
    finish(plant)
    assert plant.asides() == LISTED
    assert [row["id"] for row in plant.rows("SELECT id FROM orders ORDER BY id")] == [ROW, uid(9)]
    assert plant.base("orders", ROW) == (version(1), 1)
    lift(plant)
    assert (plant.row("orders", ROW), plant.base("orders", ROW)) == (None, None)


def test_a_snapshot_leaves_what_is_known_of_a_refused_removal(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    load(plant, put("orders", {"id": NEXT, "order_no": "E"}, order=2))
    assert [each[:2] for each in aside(plant)] == [(version(5), 5)]


def test_a_snapshot_that_holds_the_row_again_ends_its_refused_removal(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    rows = (
        {"id": ROW, "order_no": "A", "notes": "back"},
        {"id": NEXT, "order_no": "E", "notes": "e"},
    )
    load(plant, put("orders", *rows, order=8))
    assert (plant.row("orders", ROW)["notes"], plant.asides()) == ("back", [])


def test_an_index_on_a_function_of_the_plants_stops_nothing(plant):
    plant.take(put("orders", {"id": ROW, "order_no": "A"}, order=1))
    plant.program.create_function("of_theirs", 1, str, deterministic=True)
    plant.write("CREATE INDEX of_the_plant ON orders (of_theirs(notes))")
    plant.take(away("orders", ROW, order=5), put("steps", {"id": uid(2), "seq": 1}, order=6))
    load(plant, put("steps", {"id": uid(2), "seq": 1}, order=6))
    assert plant.asides() == LISTED
    plant.write("DROP INDEX of_the_plant")
    plant.store.prune(next(plant.clock))
    assert plant.rows("SELECT id FROM orders") == []


def test_a_refused_removal_comes_home_as_the_deletion_that_it_is(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    tips = [block for blocks in plant.store.tips(Lost(3, 0), 1) for block in blocks]
    assert [(block.fate, block.ids, block.version) for block in tips] == [
        (Fate.GONE, [ROW], [version(5)])
    ]


def test_a_row_that_a_snapshot_lacked_and_the_plant_keeps_does_not_come_home(plant):
    keeps(plant)
    load(plant, put("orders", *LATER, order=2))
    assert [each[:2] for each in aside(plant)] == [("", 0)]
    tips = [block for blocks in plant.store.tips(Lost(0, 0, whole=True), 1) for block in blocks]
    assert [row_id for block in tips for row_id in block.ids] == [NEXT]


def test_a_migration_gives_a_refused_removal_no_columns(plant):
    keeps(plant)
    plant.take(away("orders", ROW, order=5))
    plant.write(
        "INSERT INTO _sync_extra (table_name, id, column_name, value, schema)"
        f" VALUES ('orders', '{ROW}', 'notes', x'a3616263', 2)"
    )
    plant.store.materialise(next(plant.clock))
    assert plant.value("SELECT content FROM _sync_aside") == "{}"


def test_a_fact_that_was_not_accepted_and_stays_is_not_taken_away_once_it_is(plant):
    rule(plant, "BEFORE DELETE", f"SELECT RAISE(ABORT, '{KEPT}')", when="1", table="reports")
    plant.insert("reports", id=uid(7), good=1)
    plant.take(away("reports", uid(7), order=0), ack=plant.ack(plant.drain()))
    assert ("reports", uid(7), "refused") in plant.asides()
    plant.take(put("reports", {"id": uid(7), "good": 1}, order=0))
    lift(plant)
    assert plant.row("reports", uid(7))["good"] == 1
    assert plant.asides() == [("reports", uid(7), "parked")]


def test_a_trigger_that_binds_the_plants_programs_only_keeps_nothing_from_the_centre(plant):
    keeps(plant)
    plant.write("DROP TRIGGER a_rule")
    rule(plant, "BEFORE DELETE", f"SELECT RAISE(ABORT, '{KEPT}')",
         when="(SELECT flag FROM _sync_applying) = 0")  # fmt: skip
    with pytest.raises(sqlite3.IntegrityError, match=KEPT):
        plant.delete("orders", ROW)
    plant.take(away("orders", ROW, order=5))
    assert (plant.row("orders", ROW), plant.asides()) == (None, [])


# --- what is no refusal -------------------------------------------------------------------------


def test_a_trigger_that_rolls_all_back_still_stops_the_feed_and_says_how_to_mend_it(plant):
    keeps(plant, does="SELECT RAISE(ROLLBACK, 'no')")
    with pytest.raises(Exception, match="let it use RAISE"):
        plant.take(away("orders", ROW, order=5))
    assert plant.asides() == []
