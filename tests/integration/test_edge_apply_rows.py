"""Rows as the centre decides them, beside a program that goes on writing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.changes import Fate
from tests.integration.edge_world import NEVER, SITE, away, plant, put, uid, version  # noqa: F401

ROW = uid(1)


def order(number=1, *, at, **values):
    return put("orders", {"id": uid(number), **values}, order=at)


# --- heads without own writes -------------------------------------------------------------------


def test_a_head_names_the_base_of_the_next_write(plant):
    plant.take(order(at=5, notes="a"))
    assert plant.base("orders", ROW) == (version(5), 5)


def test_a_head_replaces_what_stands_and_leaves_columns_it_does_not_name(plant):
    plant.take(order(at=1, notes="a", due="monday"))
    plant.take(order(at=2, notes="b"))
    row = plant.row("orders", ROW)
    assert (row["notes"], row["due"], row["state"]) == ("b", "monday", "CREATED")


@pytest.mark.parametrize("way", ["plain", "triggers of the plant", "own writes"])
def test_a_head_dates_a_row_that_was_made_anew_under_its_id_in_one_step(plant, way):
    """So found by the campaign on real stores, seed 8000327."""
    plant.take(order(at=1, notes="first life"))
    if way == "triggers of the plant":
        plant.program.execute("CREATE TABLE seen (id)")
        plant.program.execute(
            "CREATE TRIGGER plant AFTER UPDATE ON orders BEGIN INSERT INTO seen VALUES (new.id);"
            " END"
        )
    elif way == "own writes":
        plant.update("orders", ROW, due="monday")
        plant.drain()
    anew = "2026-02-03T04:05:06.000Z"
    plant.take(replace(order(at=3, notes="second life"), created=[anew]))
    row = plant.row("orders", ROW)
    assert (row["created_at"], row["notes"]) == (anew, "second life")


def test_a_head_that_is_no_later_than_what_stands_is_left_alone(plant):
    plant.take(order(at=5, notes="later"))
    plant.take(order(at=4, notes="earlier"), away("orders", ROW, order=5))
    assert plant.row("orders", ROW)["notes"] == "later"
    assert plant.base("orders", ROW) == (version(5), 5)


def test_delete_insert_again_and_update_seen_out_of_order_end_in_the_last(plant):
    plant.take(order(at=1, notes="first life"))
    plant.take(order(at=4, notes="second life, updated"))
    plant.take(order(at=3, notes="second life"))
    plant.take(away("orders", ROW, order=2))
    assert plant.row("orders", ROW)["notes"] == "second life, updated"


def test_a_deleted_row_does_not_come_back_by_an_older_head(plant):
    plant.take(order(at=1, notes="a"))
    plant.take(away("orders", ROW, order=3))
    plant.take(order(at=2, notes="b"))
    assert plant.row("orders", ROW) is None
    plant.take(order(at=4, notes="c"))
    assert plant.row("orders", ROW)["notes"] == "c"


def test_a_row_enters_and_leaves_the_share(plant):
    plant.take(order(at=1, notes="here"))
    plant.take(away("orders", ROW, order=2, fate=Fate.LEFT))
    assert plant.row("orders", ROW) is None
    plant.take(order(at=3, notes="back"))
    assert plant.row("orders", ROW)["notes"] == "back"
    assert plant.asides() == []


def test_a_child_is_put_even_though_its_parent_has_not_come(plant):
    plant.take(put("steps", {"id": ROW, "order_id": uid(77)}, order=1))
    assert plant.row("steps", ROW)["order_id"] == uid(77)


def test_what_is_applied_is_not_sent_back(plant):
    plant.take(order(at=1, notes="a"))
    plant.take(order(at=2, notes="b"))
    plant.take(away("orders", ROW, order=3))
    assert plant.owed() == []
    assert plant.last_n == 0


# --- own writes, accepted as they were ----------------------------------------------------------


def test_an_ack_alone_makes_the_sites_own_transaction_the_head(plant):
    plant.insert("orders", id=ROW, notes="mine")
    n = plant.drain()
    plant.take(ack=plant.ack(n, safe_n=n))
    assert plant.base("orders", ROW) == (plant.tx_id(n), 0)
    assert plant.owed() == []
    position = plant.store.position()
    assert (position.acked_n, position.safe_n) == (n, n)
    assert position.acked_at_ms is not None


def test_what_is_safe_is_never_more_than_what_is_decided_and_never_goes_back(plant):
    plant.insert("orders", id=ROW)
    n = plant.drain()
    for safe_n, expected in ((n + 5, n), (n - 1, n)):
        plant.take(ack=plant.ack(n, safe_n=safe_n))
        assert plant.store.position().safe_n == expected


def test_what_is_decided_and_not_yet_safe_stays_in_the_outbox(plant):
    plant.insert("orders", id=ROW)
    n = plant.drain()
    plant.take(ack=plant.ack(n, safe_n=n - 1))
    assert (plant.store.position().acked_n, plant.store.position().safe_n) == (n, n - 1)
    plant.store.prune(next(plant.clock))
    assert plant.tx_id(n)


def test_an_ack_of_a_clean_write_does_not_forget_the_order_of_the_last_head(plant):
    plant.take(order(at=7, notes="theirs"))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(ack=plant.ack(n))
    assert plant.base("orders", ROW) == (plant.tx_id(n), 7)
    plant.take(order(at=6, notes="old news"))
    assert plant.row("orders", ROW)["notes"] == "mine"


def test_an_ack_decides_on_writes_up_to_it_and_not_beyond(plant):
    plant.insert("orders", id=ROW, notes="one")
    first = plant.drain()
    plant.update("orders", ROW, notes="two")
    plant.drain()
    plant.take(ack=plant.ack(first))
    assert plant.owed() == [("orders", ROW, "U")]
    assert plant.base("orders", ROW) == (plant.tx_id(first), 0)
    assert plant.row("orders", ROW)["notes"] == "two"


def test_a_write_of_a_program_before_the_entry_is_based_on_what_it_saw(plant):
    plant.take(order(at=1, notes="a"))
    plant.update("orders", ROW, notes="written without having seen b")
    plant.take(order(at=2, due="b"))
    assert plant.owed() == [("orders", ROW, "U")], "drained before the entry was applied"
    assert plant.shadows() == [ROW]


def test_a_deletion_of_the_site_keeps_its_version_for_a_row_made_again(plant):
    plant.take(order(at=1, notes="a"))
    plant.delete("orders", ROW)
    n = plant.drain()
    plant.take(ack=plant.ack(n))
    assert plant.base("orders", ROW) == (plant.tx_id(n), 1)
    assert plant.row("orders", ROW) is None


@pytest.mark.parametrize("by", ["the site", "the centre", "leaving the share"])
def test_a_row_made_again_after_its_deletion_is_sent_as_an_insert_upon_it(plant, by):
    plant.take(order(at=1, notes="a"))
    if by == "the site":
        plant.delete("orders", ROW)
        plant.take(ack=plant.ack(plant.drain()))
    else:
        fate = Fate.GONE if by == "the centre" else Fate.LEFT
        plant.take(away("orders", ROW, order=2, fate=fate))
    base, _ = plant.base("orders", ROW)
    plant.insert("orders", id=ROW, notes="again")
    plant.update("orders", ROW, notes="again, updated")
    plant.delete("orders", ROW)
    plant.insert("orders", id=ROW, notes="and again")
    (block,) = plant.sent(plant.drain())
    assert (block.op, block.base, block.ids) == ("I", [base], [ROW])
    assert block.new[block.columns.index("notes")] == ["and again"]


def test_a_row_made_and_deleted_again_after_its_deletion_is_not_sent(plant):
    plant.take(order(at=1, notes="a"))
    plant.take(away("orders", ROW, order=2))
    plant.insert("orders", id=ROW, notes="again")
    plant.delete("orders", ROW)
    assert plant.drain() == 0


# --- own writes, decided otherwise --------------------------------------------------------------


def test_a_merged_row_comes_back_with_the_ack_and_is_shown(plant):
    plant.take(order(at=1, notes="a", due="monday"))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(order(at=3, notes="theirs", due="friday"), ack=plant.ack(n))
    row = plant.row("orders", ROW)
    assert (row["notes"], row["due"]) == ("theirs", "friday")
    assert plant.base("orders", ROW) == (version(3), 3)
    assert (plant.owed(), plant.shadows()) == ([], [])


def test_an_insert_that_the_centre_parked_is_taken_out_and_kept_whole(plant):
    plant.insert("orders", id=ROW, order_no="WO-1", notes="mine")
    n = plant.drain()
    plant.take(away("orders", ROW, order=0), ack=plant.ack(n))
    assert plant.row("orders", ROW) is None
    assert plant.asides() == [("orders", ROW, "parked")]
    assert '"notes":"mine"' in plant.value("SELECT content FROM _sync_aside")
    assert plant.events() == ["MES-ROW-ASIDE"]
    assert plant.base("orders", ROW) is None, "the centre has no version of it"


def test_a_parked_insert_that_is_accepted_after_all_stands_again(plant):
    plant.insert("orders", id=ROW, notes="mine")
    plant.take(away("orders", ROW, order=0), ack=plant.ack(plant.drain()))
    plant.take(order(at=9, notes="mine, mended"))
    assert plant.row("orders", ROW)["notes"] == "mine, mended"
    assert plant.asides() == []


def test_updates_of_a_parked_insert_stay_in_sight_until_they_are_decided(plant):
    plant.insert("orders", id=ROW, notes="mine")
    first = plant.drain()
    plant.update("orders", ROW, notes="mine, too")
    second = plant.drain()
    plant.take(away("orders", ROW, order=0), ack=plant.ack(first))
    assert plant.row("orders", ROW)["notes"] == "mine, too"
    plant.take(ack=plant.ack(second))
    assert plant.row("orders", ROW) is None
    assert plant.asides() == [("orders", ROW, "parked")]


def test_a_row_deleted_against_the_sites_update_is_gone_and_kept_whole(plant):
    plant.take(order(at=1, notes="a"))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(away("orders", ROW, order=2), ack=plant.ack(n))
    assert plant.row("orders", ROW) is None
    assert plant.asides() == [("orders", ROW, "gone")]


def test_a_row_that_leaves_with_a_pending_write_is_taken_away_and_the_write_stays_owed(plant):
    plant.take(order(at=1, notes="a"))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(away("orders", ROW, order=2, fate=Fate.LEFT))
    assert plant.row("orders", ROW) is None
    assert plant.owed() == [("orders", ROW, "U")]
    assert plant.value("SELECT count(*) FROM _sync_out") == n
    assert plant.asides() == [("orders", ROW, "left")]
    plant.take(ack=plant.ack(n))
    assert (plant.owed(), plant.asides(), plant.row("orders", ROW)) == ([], [], None)


def test_a_row_that_comes_back_into_the_share_shows_the_pending_write_again(plant):
    plant.take(order(at=1, notes="a", due="monday"))
    plant.update("orders", ROW, notes="mine")
    plant.drain()
    plant.take(away("orders", ROW, order=2, fate=Fate.LEFT))
    plant.take(order(at=3, notes="a", due="friday"))
    row = plant.row("orders", ROW)
    assert (row["notes"], row["due"]) == ("mine", "friday")
    assert plant.asides() == []


def test_an_own_version_on_the_shared_feed_decides_on_the_write_before_its_ack(plant):
    """The shared feed carries no ack; a sum must not count twice in the meantime."""
    plant.insert("orders", id=ROW, made=5)
    n = plant.drain()
    head = order(at=4, made=5)
    head.version = [plant.tx_id(n)]
    plant.receive(plant.shared.entry(head))
    assert plant.row("orders", ROW)["made"] == 5
    assert plant.owed() == []
    assert plant.base("orders", ROW) == (plant.tx_id(n), 4)


# --- facts --------------------------------------------------------------------------------------


def report(number, good):
    return put("reports", {"id": uid(number), "good": good}, order=0)


def test_facts_from_the_centre_are_not_sent_back(plant):
    plant.take(report(1, 10))
    assert plant.last_n == 0
    plant.insert("reports", id=uid(2), good=3)
    assert plant.drain() == 1
    assert plant.value("SELECT rows FROM _sync_out") == 1


def test_a_fact_that_stands_is_never_changed_by_one_that_comes(plant):
    plant.insert("reports", id=uid(1), good=3)
    plant.drain()
    plant.take(report(1, 99), report(2, 4))
    assert plant.row("reports", uid(1))["good"] == 3
    assert plant.row("reports", uid(2))["good"] == 4


def test_a_fact_written_before_facts_arrive_is_still_sent(plant):
    plant.insert("reports", id=uid(1), good=3)
    plant.take(report(2, 4))
    assert plant.last_n == 1
    assert plant.value("SELECT rows FROM _sync_out") == 1


def test_a_fact_that_the_centre_takes_back_is_kept_whole(plant):
    plant.insert("reports", id=uid(1), good=3)
    n = plant.drain()
    plant.take(away("reports", uid(1), order=0), ack=plant.ack(n))
    assert plant.row("reports", uid(1)) is None
    assert plant.asides() == [("reports", uid(1), "parked")]


def test_a_row_without_a_version_at_the_centre_is_put(plant):
    plant.take(put("orders", {"id": ROW, "notes": "a"}, order=0, site=SITE))
    assert plant.base("orders", ROW) == (NEVER, 0)
