"""A trigger of the plant's that rolls all back keeps its own rows waiting, and nothing else."""

from __future__ import annotations

import pytest

from edge.store.aside import RolledBack
from tests.integration.edge_loads import begin, chunk, finish
from tests.integration.edge_world import away, plant, put, uid, version  # noqa: F401

ROW, NEXT, THEIRS = uid(1), uid(5), uid(8)
LISTED = [("orders", ROW, "refused")]
ROLLS_BACK = "SELECT RAISE(ROLLBACK, 'kept')"
TOLD = "MES-RULE-ROLLS-BACK"


def rule(plant, does="SELECT RAISE(ABORT, 'kept')", event="BEFORE DELETE", on="orders", when="1"):
    plant.write(f"CREATE TRIGGER rule_{on} {event} ON {on} WHEN {when} BEGIN {does}; END")


def lift(plant, on="orders"):
    plant.write(f"DROP TRIGGER rule_{on}")


def prune(plant):
    return plant.store.prune(next(plant.clock))


def refused(plant):
    """A removal was refused; then the plant has its rule roll all back."""
    rows = ({"id": ROW, "order_no": "A", "notes": "a"}, {"id": NEXT, "order_no": "E", "notes": "e"})
    plant.take(put("orders", *rows, order=1), put("steps", {"id": uid(2), "seq": 1}, order=3))
    rule(plant)
    plant.take(away("orders", ROW, order=5))
    lift(plant)
    rule(plant, ROLLS_BACK)


def waiting(plant):
    """A head waits for the key of another row, and may not be put once that is free."""
    plant.take(put("orders", {"id": ROW, "order_no": "A", "notes": "a"}, order=1))
    rule(plant)
    plant.take(put("orders", {"id": THEIRS, "order_no": "A", "notes": "theirs"}, order=5))
    assert plant.asides() == [("orders", THEIRS, "unique")]
    lift(plant)
    rule(plant, ROLLS_BACK, "BEFORE INSERT", when="NEW.notes = 'theirs'")


def again(plant):
    plant.close()
    plant.open()


def test_a_store_opens_though_what_was_refused_is_rolled_back_now(plant):
    refused(plant)
    again(plant)
    assert (plant.row("orders", ROW)["notes"], plant.asides()) == ("a", LISTED)
    assert plant.events()[-1] == TOLD
    message = plant.value("SELECT message FROM _sync_event ORDER BY no DESC LIMIT 1")
    assert "rows of orders" in message
    assert "let it use RAISE(ABORT)" in message
    plant.take(put("orders", {"id": NEXT, "notes": "later"}, order=6))
    assert plant.row("orders", NEXT)["notes"] == "later"


def test_the_outbox_is_pruned_though_what_was_refused_is_rolled_back_now(plant):
    refused(plant)
    plant.insert("orders", id=uid(9), order_no="N")
    n = plant.drain()
    plant.take(ack=plant.ack(n, n))
    assert prune(plant) == 1
    assert plant.asides() == LISTED


def test_a_rule_that_rolls_back_is_told_and_tried_once(plant):
    refused(plant)
    for _ in range(3):
        prune(plant)
    plant.take(put("orders", {"id": NEXT, "notes": "later"}, order=6))
    assert plant.events().count(TOLD) == 1


def test_a_row_goes_once_the_rule_no_longer_rolls_all_back(plant):
    refused(plant)
    prune(plant)
    lift(plant)
    prune(plant)
    assert (plant.row("orders", ROW), plant.asides()) == (None, [])
    assert plant.base("orders", ROW) == (version(5), 5)


def test_what_another_table_refused_is_tried_all_the_same(plant):
    refused(plant)
    rule(plant, on="steps")
    plant.take(away("steps", uid(2), order=6))
    assert plant.asides() == [*LISTED, ("steps", uid(2), "refused")]
    lift(plant, on="steps")
    prune(plant)
    assert (plant.row("steps", uid(2)), plant.asides()) == (None, LISTED)


def test_two_tables_whose_rules_roll_back_are_both_left_out(plant):
    refused(plant)
    rule(plant, on="steps")
    plant.take(away("steps", uid(2), order=6))
    lift(plant, on="steps")
    rule(plant, ROLLS_BACK, on="steps")
    again(plant)
    assert plant.asides() == [*LISTED, ("steps", uid(2), "refused")]
    assert plant.events().count(TOLD) == 2


def test_what_was_drained_in_a_transaction_that_was_rolled_back_is_sent_once(plant):
    refused(plant)
    plant.insert("orders", id=uid(9), order_no="N")
    prune(plant)
    assert plant.owed() == [("orders", uid(9), "I")]
    (block,) = plant.sent(plant.last_n)
    assert (block.ids, plant.last_n) == ([uid(9)], 1)


def test_an_index_that_was_told_of_as_all_was_rolled_back_is_told_of_anew(plant):
    refused(plant)
    plant.write("CREATE UNIQUE INDEX of_the_plant ON orders (lower(line))")
    prune(plant)
    assert "MES-INDEX-UNWATCHED" in plant.events()


# --- where rows come back with the feed, a snapshot, a migration --------------------------------


def test_the_feed_goes_on_where_a_row_that_comes_back_would_roll_all_back(plant):
    waiting(plant)
    plant.insert("steps", id=uid(4), seq=4)
    plant.take(put("orders", {"id": ROW, "order_no": "B", "notes": "b"}, order=6))
    assert plant.row("orders", ROW)["order_no"] == "B"
    assert plant.asides() == [("orders", THEIRS, "unique")]
    assert plant.owed() == [("steps", uid(4), "I")]
    assert plant.events()[-1] == TOLD
    lift(plant)
    plant.take(put("parts", {"id": uid(7), "code": "P"}, order=7))
    assert plant.row("orders", THEIRS)["notes"] == "theirs", "though no rule refused it before"
    assert plant.asides() == []


def test_a_snapshot_ends_where_a_row_that_comes_back_would_roll_all_back(plant):
    waiting(plant)
    begin(plant, max_order=4)
    chunk(plant, 0, put("orders", {"id": ROW, "order_no": "B", "notes": "b"}, order=4))
    finish(plant)
    assert plant.row("orders", ROW)["order_no"] == "B"
    assert plant.asides() == [("orders", THEIRS, "unique")]
    assert not plant.value("SELECT needs_snapshot FROM _sync_site")


def test_a_row_that_had_come_back_before_all_was_rolled_back_comes_back_anew(plant):
    waiting(plant)
    rule(plant, on="steps")
    plant.take(put("steps", {"id": uid(2), "seq": 1, "order_id": ROW}, order=7))
    plant.take(put("steps", {"id": uid(3), "seq": 1, "order_id": ROW}, order=8))
    lift(plant, on="steps")
    plant.update("steps", uid(2), seq=2)
    plant.drain()
    freed = put("orders", {"id": ROW, "order_no": "B", "notes": "b"}, order=11)
    plant.receive(
        plant.own.entry(put("parts", {"id": uid(7), "code": "P"}, order=10)),
        plant.own.entry(freed),
    )
    assert plant.row("steps", uid(3))["seq"] == 1
    assert plant.asides() == [("orders", THEIRS, "unique")]


def test_a_drain_that_such_a_trigger_stops_says_how_to_mend_it(plant):
    plant.take(put("orders", {"id": ROW, "order_no": "A", "notes": "a"}, order=1))
    plant.update("orders", ROW, tags='["b", "a"]')  # not in its one form
    rule(plant, ROLLS_BACK, "BEFORE UPDATE")
    with pytest.raises(RolledBack, match=r"let it use RAISE\(ABORT\)"):
        plant.drain()
    lift(plant)
    assert plant.owed() == [("orders", ROW, "U")]
