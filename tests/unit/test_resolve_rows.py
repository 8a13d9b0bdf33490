"""Decisions on whole rows: inserts, deletes, facts, in every order that protocol.md names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.catalog import Policy
from shared.changes import Op
from sync.resolve import CENTRE, WHOLE_ROW, Outcome, resolve
from tests.unit.resolve_cases import (
    FACTS,
    PLAIN,
    TABLE,
    Row,
    after,
    author,
    delete,
    head,
    insert,
    seeing,
    update,
    wrote,
)


def gone(**values):
    """Return a row that the centre has just deleted."""
    return after([delete(CENTRE)], **values)


# --- edit against delete -----------------------------------------------------------------------


def test_a_site_deletes_what_the_centre_edited_and_the_history_keeps_the_row():
    row = after([update(CENTRE, 100, notes="there"), delete("S1", 90)])
    assert row.head is None
    [conflict] = row.conflicts
    assert (conflict.policy, conflict.outcome, conflict.group) == (
        "delete",
        Outcome.HERE,
        WHOLE_ROW,
    )
    assert conflict.central == head(notes="there")
    assert conflict.here == conflict.result == {}
    assert conflict.central_author == author(CENTRE, 100)


def test_a_site_edits_what_the_centre_deleted_and_the_history_keeps_both():
    row = gone(notes="dry")
    done = row.take(update("S1", 999, old={"notes": "dry"}, notes="greased"))
    assert row.head is None
    assert done.overruled == {"notes"}
    [conflict] = row.conflicts
    assert (conflict.policy, conflict.outcome) == ("delete", Outcome.CENTRAL)
    assert (conflict.base, conflict.here) == ({"notes": "dry"}, {"notes": "greased"})
    assert conflict.central == head(notes="dry")
    assert conflict.central_author == author(CENTRE)


def test_a_deletion_of_a_row_whose_limits_the_centre_changed_goes_to_review_and_the_row_stays():
    row = after([update(CENTRE, usl="5"), delete("S1")])
    assert row.head == head(usl="5")
    assert row.conflicts[0].outcome is Outcome.REVIEW
    assert row.versions[-1].overruled == set(TABLE.names)


def test_an_edit_of_limits_brings_a_deleted_row_back_for_review():
    row = gone(notes="dry", usl="9")
    done = row.take(update("S1", old={"usl": "9"}, usl="5"))
    assert done.revive
    assert row.head == head(notes="dry", usl="5")
    assert row.conflicts[0].outcome is Outcome.REVIEW


def test_a_row_that_comes_back_for_review_decides_on_its_other_columns_as_usual():
    row = after([update(CENTRE, 100, due="May")])
    row.take(seeing(delete(CENTRE, 101), row.version))
    row.take(update("S1", 102, due="June", usl="5"))
    assert (row.head["due"], row.head["usl"]) == ("May", "5")
    assert [c.group for c in row.conflicts] == [WHOLE_ROW, "due"]


def test_an_edit_of_limits_of_which_no_row_is_kept_is_listed_for_review_and_stays_gone():
    since = [wrote(CENTRE, 100, op=Op.DELETE)]
    done = resolve(TABLE, None, None, since, update("S1", usl="5"))
    assert not done.revive
    assert done.conflicts[0].outcome is Outcome.REVIEW
    assert done.conflicts[0].here == {"usl": "5"}


def test_delete_and_delete_leave_nothing_to_decide():
    row = gone()
    row.take(delete("S1"))
    assert row.head is None
    assert row.conflicts == []


def test_a_site_deletes_what_it_edited_itself():
    row = after([update("S1", 100, usl="5"), delete("S1", 101)])
    assert row.head is None
    assert row.conflicts == []


def test_a_deletion_by_someone_who_saw_the_edit_is_no_conflict():
    row = after([update(CENTRE, usl="5")])
    row.take(seeing(delete("S1"), row.version))
    assert row.head is None
    assert row.conflicts == []


def test_an_edit_of_nothing_but_the_person_does_not_contest_a_deletion():
    row = after([update(CENTRE, changed_by="Bo"), delete("S1")])
    assert row.head is None
    assert row.conflicts == []


def test_a_deletion_whose_base_is_unknown_is_recorded():
    done = resolve(PLAIN, head(PLAIN, notes="there"), None, None, delete("S1"))
    assert done.delete
    assert done.conflicts[0].central == head(PLAIN, notes="there")


def test_an_edit_whose_base_is_unknown_does_not_bring_a_row_back():
    done = resolve(TABLE, None, None, None, update("S1", notes="here"))
    assert not done.revive
    assert done.conflicts[0].here == {"notes": "here"}


# --- delete, insert again, update --------------------------------------------------------------


def test_an_insert_by_someone_who_saw_the_deletion_makes_the_row_stand_again():
    row = gone(notes="dry")
    done = row.take(seeing(insert("S1", notes="new"), row.version))
    assert done.revive
    assert row.head == head(notes="new")
    assert row.conflicts == []


def test_a_site_deletes_inserts_again_and_updates_before_it_hears_of_any_of_it():
    row = after([delete("S1", 100)], notes="dry")
    row.take(insert("S1", 101, notes="new"))
    row.take(seeing(update("S1", 102, old={"notes": "new"}, notes="newer"), "v0"))
    assert row.head["notes"] == "newer"
    assert row.conflicts == []


def test_a_site_inserts_again_what_both_have_deleted():
    row = after([delete(CENTRE, 100), delete("S1", 101)])
    row.take(seeing(insert("S1", 102, notes="new"), "v0"))
    assert row.head["notes"] == "new"


def test_an_insert_by_someone_who_did_not_see_the_deletion_is_recorded_and_stays_gone():
    row = gone()
    row.take(insert("S1", notes="here"))
    assert row.head is None
    assert row.conflicts[0].here == {"notes": "here"}
    assert row.conflicts[0].outcome is Outcome.CENTRAL


def test_an_update_of_the_old_row_meets_the_one_that_stands_again_and_goes_by_policy():
    row = gone(notes="dry")
    row.take(seeing(insert(CENTRE, 100, notes="new", due="May"), row.version))
    row.take(update("S1", 50, old={"notes": "dry"}, notes="here"))
    assert row.head["notes"] == "new"
    assert row.conflicts[0].here == {"notes": "here"}


def test_a_lattice_does_not_go_back_by_way_of_a_deletion():
    row = gone(quality="QUARANTINED")
    row.take(seeing(insert("S1", quality="RELEASED", notes="new"), row.version))
    assert (row.head["quality"], row.head["notes"]) == ("QUARANTINED", "new")
    assert row.conflicts[0].outcome is Outcome.KEPT


# --- inserts -----------------------------------------------------------------------------------


def test_a_new_row_stands_as_it_was_written():
    done = resolve(TABLE, None, None, [], insert("S1", notes="new", state="CREATED"))
    assert done.values == {"notes": "new", "state": "CREATED"}
    assert done.revive
    assert done.conflicts == ()


def test_an_insert_of_a_row_that_is_there_already_is_nothing_to_do():
    row = Row(head=None)
    row.take(insert("S1", notes="new", count=5))
    done = row.take(insert("S2", notes="new", count=5))
    assert (done.values, done.conflicts) == ({}, ())
    assert row.head["count"] == 5


def test_an_insert_of_an_id_that_holds_another_row_is_in_conflict_in_every_column():
    row = Row(head=None)
    row.take(insert(CENTRE, 100, notes="there", due="May", shelf="B2", severity=3))
    row.take(insert("S1", 101, notes="here", due="June", shelf="A1", severity=2))
    assert {c.group for c in row.conflicts} == {"notes", "due", "shelf", "severity"}
    assert row.head == head(notes="here", due="May", shelf="A1", severity=3)
    assert all(conflict.base is None for conflict in row.conflicts)


def test_even_a_sites_own_row_is_not_replaced_by_an_insert_unrecorded():
    row = Row(table=PLAIN, head=None)
    row.take(insert("S1", 100, notes="first"))
    row.take(insert("S1", 101, notes="second"))
    assert row.head["notes"] == "second"
    assert row.conflicts[0].central_author == author("S1", 100)


# --- facts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", [[], None])
def test_an_update_of_a_fact_is_refused_and_recorded(since):
    write = update("S1", old={"good": 5}, good=6)
    done = resolve(FACTS, {"good": 5, "scrap": 0}, None, since, write)
    assert done.values == {}
    [conflict] = done.conflicts
    assert (conflict.policy, conflict.outcome) == (Policy.APPEND_ONLY, Outcome.CENTRAL)
    assert (conflict.base, conflict.here) == ({"good": 5}, {"good": 6})
    assert conflict.result == {"good": 5, "scrap": 0}


def test_a_deletion_of_a_fact_is_refused_and_recorded():
    done = resolve(FACTS, {"good": 5, "scrap": 0}, None, [], delete("S1"))
    assert not done.delete
    assert done.conflicts[0].columns == ("good", "scrap")


def test_a_fact_of_the_same_id_with_other_content_is_recorded_and_does_not_replace_the_first():
    stands = {"good": 5, "scrap": 0}
    since = [replace(wrote("S2", 100, "good", "scrap"), op=Op.INSERT)]
    done = resolve(FACTS, stands, None, since, insert("S1", good=6, scrap=0))
    assert done.values == {}
    assert [(c.here, c.central) for c in done.conflicts] == [({"good": 6}, {"good": 5})]
