"""One test a rule of the policies: same column of one row, written at both ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.catalog import Policy
from shared.clock import DRIFT_MAX_MS, touch_ms
from shared.errors import InvalidValue, UnknownColumn
from sync.policies import _RULES
from sync.resolve import CENTRE, Outcome, resolve
from tests.unit.resolve_cases import (
    TABLE,
    Row,
    after,
    author,
    contest,
    head,
    seeing,
    set_of,
    update,
    wrote,
)

HOUR_MS = 3_600_000


def test_every_policy_has_a_rule():
    assert set(_RULES) == set(Policy)


def test_different_columns_of_one_row_merge_and_nothing_is_recorded():
    row = after([update(CENTRE, 100, due="May"), update("S1", 90, notes="greased")])
    assert (row.head["due"], row.head["notes"]) == ("May", "greased")
    assert row.conflicts == []


def test_a_conflict_holds_both_values_both_authors_both_times_and_the_base():
    write = update("S1", 90, old={"notes": "dry"}, notes="greased")
    _, conflict = contest(write, notes="rusty")
    assert conflict.base == {"notes": "dry"}
    assert conflict.here == {"notes": "greased"}
    assert conflict.central == conflict.result == {"notes": "rusty"}
    assert (conflict.here_author, conflict.central_author) == (
        author("S1", 90),
        author(CENTRE, 100),
    )
    assert (conflict.group, conflict.policy, conflict.columns) == (
        "notes",
        Policy.LAST_WRITE,
        ("notes",),
    )


# --- last_write --------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_ms", "stands"), [(101, "here"), (99, "there")])
def test_last_write_takes_the_later_clock(at_ms, stands):
    row, conflict = contest(update("S1", at_ms, notes="here"), notes="there")
    assert row["notes"] == stands
    assert conflict.outcome is (Outcome.HERE if stands == "here" else Outcome.CENTRAL)


@pytest.mark.parametrize("order", [("S1", "S2"), ("S2", "S1")])
def test_equal_clocks_are_told_apart_by_the_site_name_in_any_order(order):
    row = after([update(site, 100, notes=f"by {site}") for site in order])
    assert row.head["notes"] == "by S2"


def test_equal_values_with_equal_clocks_are_no_conflict():
    row = after([update("S1", 100, notes="same"), update("S2", 100, notes="same")])
    assert row.head["notes"] == "same"
    assert row.conflicts == []


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_an_hour_off_is_corrected_before_the_writes_are_compared(hours):
    truth_ms = 10 * HOUR_MS
    shown_ms = truth_ms + hours * HOUR_MS
    at_ms, clamped = touch_ms(shown_ms, -hours * HOUR_MS, truth_ms + 5)
    row = after([update(CENTRE, truth_ms + 1, notes="there"), update("S1", at_ms, notes="here")])
    assert row.head["notes"] == "there"
    assert not clamped


def test_a_clock_that_jumped_ahead_wins_only_until_the_bound_and_says_so():
    at_ms, clamped = touch_ms(24 * HOUR_MS, 0, 1000)
    write = replace(update("S1", at_ms, notes="ahead"), author=author("S1", at_ms, clamped=clamped))
    later = update(CENTRE, 1000 + DRIFT_MAX_MS + 1, notes="there")
    row = after([write, later])
    assert row.head["notes"] == "there"
    assert row.conflicts[0].central_author.clamped


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1)])
def test_a_site_whose_clock_goes_back_between_two_writes_keeps_the_time_of_the_first(order):
    site = [update("S1", 120, notes="first"), update("S1", 80, notes="second")]
    writes = [site[0], update(CENTRE, 100, notes="there"), site[1]]
    arrived = (
        [writes[0], writes[2], writes[1]] if order == (0, 2, 1) else [writes[i] for i in order]
    )
    assert after(arrived).head["notes"] == "second"


def test_a_later_write_after_a_lost_one_wins_when_its_store_already_held_the_winner():
    row = Row()
    row.take(update(CENTRE, 200, notes="there"))
    seen = row.version
    row.take(update("S1", 100, notes="first"))
    row.take(seeing(update("S1", 110, notes="second"), seen))
    assert row.head["notes"] == "second"
    assert row.conflicts[-1].outcome is Outcome.HERE


def test_where_the_history_is_unknown_the_head_stands_and_both_are_recorded():
    done = resolve(TABLE, head(notes="there"), None, None, update("S1", 999, notes="here"))
    assert done.values == {}
    assert done.conflicts[0].outcome is Outcome.CENTRAL
    assert done.conflicts[0].central_author is None


# --- central and site --------------------------------------------------------------------------


def test_the_centre_decides_on_its_own_columns_however_late_the_site_wrote():
    row, conflict = contest(update("S1", 999, due="June"), due="May")
    assert (row["due"], conflict.outcome) == ("May", Outcome.CENTRAL)


def test_a_stale_write_of_the_centre_to_its_own_column_beats_the_site():
    row = after([update("S1", 999, due="June"), update(CENTRE, 1, due="May")])
    assert row.head["due"] == "May"
    assert row.conflicts[0].outcome is Outcome.HERE


def test_of_two_people_at_the_centre_the_later_stands_and_the_stale_one_is_recorded():
    row = after([update(CENTRE, 100, due="May"), update(CENTRE, 101, due="June")])
    assert row.head["due"] == "June"
    assert row.conflicts[0].central == {"due": "May"}


def test_the_site_decides_on_its_own_columns_however_late_the_centre_wrote():
    row, conflict = contest(update("S1", 1, shelf="A1"), shelf="B2")
    assert (row["shelf"], conflict.outcome) == ("A1", Outcome.HERE)


def test_a_stale_write_of_the_centre_to_a_column_of_the_site_is_overruled():
    row = after([update("S1", 1, shelf="A1"), update(CENTRE, 999, shelf="B2")])
    assert row.head["shelf"] == "A1"
    assert row.conflicts[0].outcome is Outcome.CENTRAL


def test_a_site_is_not_in_conflict_with_itself():
    row = after([update("S1", 100, shelf="A1"), update("S1", 101, shelf="A2")])
    assert row.head["shelf"] == "A2"
    assert row.conflicts == []


def test_a_site_that_was_overruled_stays_overruled_until_it_has_seen_the_verdict():
    row = after([update(CENTRE, 100, due="May"), update("S1", 101, due="June")])
    row.take(update("S1", 102, due="July"))
    assert row.head["due"] == "May"
    row.take(seeing(update("S1", 103, old={"due": "May"}, due="August"), row.version))
    assert row.head["due"] == "August"


# --- sum ---------------------------------------------------------------------------------------


def test_both_differences_of_a_sum_count():
    write = update("S1", old={"count": 5}, count=7)
    row, conflict = contest(write, count=8)
    assert (row["count"], conflict.outcome) == (10, Outcome.MERGED)
    assert conflict.result == {"count": 10}


@pytest.mark.parametrize(
    ("column", "head", "seen", "wrote", "stands"),
    [
        ("count", 8, 10, 12, 10),
        ("stock", "8", "10", "12.5", "10.5"),
        ("tags", set_of("a"), set_of("ab"), set_of("abc"), set_of("ac")),
    ],
)
def test_a_sum_or_set_takes_the_difference_also_where_nothing_is_concurrent(
    column, head, seen, wrote, stands
):
    asked = update("S1", 1, old={column: seen}, **{column: wrote})
    done = resolve(TABLE, {column: head}, None, (), asked)
    assert done.values == {column: stands}


def test_two_who_both_count_from_five_to_seven_have_counted_four():
    row, conflict = contest(update("S1", old={"count": 5}, count=7), count=7)
    assert row["count"] == 9
    assert conflict.here == conflict.central == {"count": 7}


def test_whole_numbers_beyond_two_to_the_53_are_summed_exactly():
    row, _ = contest(update("S1", old={"count": 2**53}, count=2**53 + 1), count=2**53 + 2)
    assert row["count"] == 2**53 + 3


def test_decimals_are_summed_exactly_and_come_out_in_canonical_form():
    small = update("S1", old={"stock": "0.1"}, stock="0.3")
    row, _ = contest(small, stock="12345678901234567890123456789012.8")
    assert row["stock"] == "12345678901234567890123456789013"


def test_null_counts_as_nothing_in_a_sum():
    row, _ = contest(update("S1", old={"count": None}, count=3), count=4)
    assert row["count"] == 7


@pytest.mark.parametrize(
    ("name", "old", "here", "there"),
    [("count", 0, 2**62, 2**62), ("stock", "0", "6" + "0" * 31, "6" + "0" * 31)],
)
def test_a_sum_that_its_column_cannot_hold_is_refused_by_name(name, old, here, there):
    with pytest.raises(InvalidValue, match=name):
        contest(update("S1", old={name: old}, **{name: here}), **{name: there})


# --- max and min -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "there", "stands"), [(3, 5, 5), (5, 3, 5), (None, 3, 3), (3, None, 3)]
)
def test_max_takes_the_larger_and_null_gives_way(here, there, stands):
    row, _ = contest(update("S1", old={"severity": 1}, severity=here), severity=there)
    assert row["severity"] == stands


def test_max_compares_decimals_as_numbers_not_as_text():
    row, _ = contest(update("S1", peak="9.5"), peak="10")
    assert row["peak"] == "10"


@pytest.mark.parametrize("here", [None, "2026-01-01T08:00:00.000Z"])
def test_min_takes_the_earlier_and_null_gives_way(here):
    first = "2026-01-01T07:00:00.000Z"
    write = update("S1", old={"started": "2026-01-01T09:00:00.000Z"}, started=here)
    row, _ = contest(write, started=first)
    assert row["started"] == first


def test_a_site_may_lower_a_maximum_that_it_has_seen():
    row = after([update("S1", old={"severity": 5}, severity=2)], severity=5)
    assert row.head["severity"] == 2
    assert row.conflicts == []


def test_a_site_may_not_lower_a_maximum_whose_verdict_it_has_not_seen():
    row = Row(head=head(severity=1))
    row.take(update(CENTRE, 100, old={"severity": 1}, severity=5))
    seen = row.version
    row.take(update("S1", 101, old={"severity": 1}, severity=7))
    row.take(seeing(update("S1", 102, old={"severity": 7}, severity=3), seen))
    assert row.head["severity"] == 7
    assert row.conflicts[-1].here == {"severity": 3}


def test_who_acknowledged_goes_with_when_and_in_a_draw_with_the_first_to_write():
    at = "2026-01-01T07:00:00.000Z"
    writes = [
        update("S1", 101, acked_at=at, acked_by="Ann"),
        update("S2", 100, acked_at=at, acked_by="Bo"),
    ]
    for order in (writes, writes[::-1]):
        assert after(order).head["acked_by"] == "Bo"


# --- lattice -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), [("COMPLETED", "RELEASED"), ("RELEASED", "COMPLETED")])
def test_a_lattice_takes_the_further_along(here, there):
    row, _ = contest(update("S1", old={"state": "CREATED"}, state=here), state=there)
    assert row["state"] == "COMPLETED"


@pytest.mark.parametrize("back", ["RELEASED", None])
def test_a_lattice_does_not_go_back_even_where_nothing_is_concurrent(back):
    row = after([update("S1", old={"state": "COMPLETED"}, state=back)], state="COMPLETED")
    assert row.head["state"] == "COMPLETED"
    assert row.conflicts[0].outcome is Outcome.KEPT
    assert row.conflicts[0].here == {"state": back}


def test_a_lattice_that_did_not_go_back_leaves_the_person_who_wrote_as_it_was():
    write = update("S1", old={"state": "COMPLETED"}, state="RELEASED", changed_by="Bo")
    row = after([write], state="COMPLETED", changed_by="Ann")
    assert row.head["changed_by"] == "Ann"


def test_a_signed_release_lets_a_lattice_go_back():
    write = update("S1", old={"quality": "QUARANTINED"}, quality="RELEASED")
    row = after([replace(write, relaxed=frozenset({"quality"}))], quality="QUARANTINED")
    assert row.head["quality"] == "RELEASED"
    assert row.conflicts == []


@pytest.mark.parametrize("release_first", [True, False])
def test_a_recall_and_a_signed_release_at_the_same_moment_end_blocked(release_first):
    release = update("S1", old={"quality": "PENDING"}, quality="RELEASED")
    release = replace(release, relaxed=frozenset({"quality"}))
    recall = update(CENTRE, old={"quality": "PENDING"}, quality="QUARANTINED")
    writes = [release, recall] if release_first else [recall, release]
    row = after(writes, quality="PENDING")
    assert row.head["quality"] == "QUARANTINED"
    assert len(row.conflicts) == 1


# --- add_remove_set ----------------------------------------------------------------------------


def test_a_removal_removes_only_what_it_saw():
    mine = update("S1", old={"tags": '["a","b"]'}, tags='["b"]')
    row, conflict = contest(mine, tags='["a","b","c"]')
    assert (row["tags"], conflict.outcome) == ('["b","c"]', Outcome.MERGED)


def test_two_additions_to_an_empty_set_are_both_there():
    row, _ = contest(update("S1", tags='["é"]'), tags='["a"]')
    assert row["tags"] == '["a","é"]'


def test_a_set_that_a_site_empties_a_second_time_keeps_what_the_centre_added():
    row = after([update(CENTRE, old={"tags": '["a"]'}, tags='["a","x"]')], tags='["a"]')
    row.take(update("S1", 101, old={"tags": '["a"]'}, tags='["a","b"]'))
    row.take(update("S1", 102, old={"tags": '["a","b"]'}, tags=None))
    assert row.head["tags"] == '["x"]'


# --- review ------------------------------------------------------------------------------------


def test_limits_run_on_the_tighter_set_until_a_person_decides():
    write = update("S1", old={"lsl": "1", "usl": "9"}, lsl="2", usl="9.5")
    row, conflict = contest(write, lsl="1.5", usl="10")
    assert (row["lsl"], row["usl"]) == ("2", "9.5")
    assert conflict.outcome is Outcome.REVIEW
    assert conflict.group == "limits"


def test_a_limit_is_safer_than_none():
    row, _ = contest(update("S1", old={"usl": "9"}, usl=None), usl="10")
    assert row["usl"] == "10"


@pytest.mark.parametrize("site_first", [True, False])
def test_a_disposition_stays_the_sites_until_a_person_decides(site_first):
    writes = [update("S1", disposition="SCRAP"), update(CENTRE, disposition="USE_AS_IS")]
    row = after(writes if site_first else writes[::-1])
    assert row.head["disposition"] == "SCRAP"
    assert [c.outcome for c in row.conflicts] == [Outcome.REVIEW]


def test_a_second_write_that_has_not_seen_the_review_is_reviewed_too():
    row = Row(head=head(usl="9"))
    row.take(update(CENTRE, 100, old={"usl": "9"}, usl="5"))
    seen = row.version
    row.take(update("S1", 101, old={"usl": "9"}, usl="3"))
    row.take(seeing(update("S1", 102, old={"usl": "3"}, usl="10"), seen))
    assert row.head["usl"] == "3"
    assert [c.outcome for c in row.conflicts] == [Outcome.REVIEW, Outcome.REVIEW]


def test_the_decision_of_a_person_who_saw_the_review_is_a_plain_write():
    row = after([update(CENTRE, usl="5"), update("S1", usl="3")])
    row.take(seeing(update(CENTRE, 200, old={"usl": "3"}, usl="5"), row.version))
    assert row.head["usl"] == "5"
    assert len(row.conflicts) == 1


# --- what is no rival, and no column --------------------------------------------------------------


def test_a_column_that_the_catalogue_does_not_have_is_refused():
    with pytest.raises(UnknownColumn, match="colour"):
        resolve(TABLE, head(), None, [], update("S1", colour="red"))


def test_a_write_that_was_overruled_is_no_rival_to_a_later_one():
    since = [wrote("S2", 500, "notes", overruled=["notes"])]
    done = resolve(TABLE, head(notes="there"), None, since, update("S1", 100, notes="here"))
    assert done.values["notes"] == "here"
