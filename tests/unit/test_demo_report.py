from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local import report
from deploy.local.contents import Comparison, Content, compare, content, row_hash
from deploy.local.log import difference
from deploy.local.quarrel import QUARRELS, Outcome
from deploy.local.report import Measured, Rate, checks, percentile

GOLDEN = Path(__file__).parents[1] / "golden" / "demo_report.txt"
SITES = ("SITE_001", "SITE_019", "SITE_026")

SHOWN = {
    "table_name": "work_orders",
    "row_id": "019ac000-0000-7000-8000-000000000001",
    "column_group": "notes",
    "policy": "last_write",
    "verdict": "here",
    "base_value": {"notes": "see drawing"},
    "here_value": {"notes": "took drawing C"},
    "central_value": {"notes": "use drawing B"},
    "result_value": {"notes": "took drawing C"},
    "here_site": "SITE_019",
    "central_site": "*",
    "here_writer": "marc.operator",
    "central_writer": "ines.planner",
    "here_at": "2026-11-26 05:00:01.250+00:00",
    "central_at": "2026-11-26 05:00:01.190+00:00",
    "clock_clamped": False,
    "tx_id": "019ac000-0000-7000-8000-00000000000a",
    "base_version": "019ac000-0000-7000-8000-00000000000b",
    "decided_at": "2026-11-26 05:00:09.000+00:00",
}


def outcome(number: int) -> Outcome:
    quarrel = QUARRELS[number]
    policies = (quarrel.policy,) if quarrel.policy else ()
    return Outcome(quarrel, quarrel.expected, quarrel.expected, policies)


def same(table: str, site: str, rows: int) -> Comparison:
    return Comparison(table, site, Content(rows, 7), Content(rows, 7))


def good() -> Measured:
    return Measured(
        sites=SITES,
        comparisons=[
            *(same("work_orders", site, 21 + k) for k, site in enumerate(SITES)),
            *(same("measurements", site, 10_400) for site in SITES),
            *(same(name, site, 0) for name in ("bom_items", "lot_releases") for site in SITES),
        ],
        outcomes=[outcome(0), outcome(2), outcome(6), outcome(10)],
        conflicts={"last_write": 2, "delete": 1, "sum": 1},
        shown=SHOWN,
        parked=[],
        latencies_ms=[float(number) for number in range(1, 101)],
        probes_lost=0,
        rates=[Rate("measurements, all sites at once", 30_003, 2.5)],
    )


def bad() -> Measured:
    found = good()
    fewer = Comparison("holds", "SITE_019", Content(3, 1), Content(4, 2), ("a1",))
    other = Comparison("holds", "SITE_026", Content(3, 1), Content(3, 2), ("b1", "b2"))
    torn = replace(found.outcomes[0], edge={"notes": "use drawing B"})
    return replace(
        found,
        comparisons=[*found.comparisons, same("holds", "SITE_001", 2), fewer, other],
        outcomes=[torn, *found.outcomes[1:]],
        parked=[("SITE_001", "holds", "value", f"row {number}") for number in range(7)],
        probes_lost=2,
        answers={"Q01": "", "Q02": "rows is 4542, not 4543"},
    )


def test_the_report_of_a_run_where_all_held_and_of_one_where_not_reads_as_in_the_golden_file():
    printed = f"{report.text(good())}\n{'=' * 40}\n{report.text(bad())}"
    assert printed == GOLDEN.read_text()


def test_nothing_is_wrong_where_all_held():
    assert not [check for check in checks(good()) if check.wrong]


def test_each_thing_that_does_not_hold_is_told_by_itself():
    wrong = {check.claim: check.wrong for check in checks(bad()) if check.wrong}
    assert len(wrong) == 5
    text = " ".join(wrong.values())
    assert "holds of SITE_019: 3 rows at the site, 4 at the centre (a1)" in text
    assert "DEMO-01" in text
    assert "7 rows are parked" in text


@pytest.mark.parametrize(
    ("changed", "claim"),
    [
        ({"probes_lost": 1}, "each probe"),
        ({"latencies_ms": []}, "each probe"),
        ({"parked": [("SITE_001", "holds", "value", "")]}, "no row is parked"),
        ({"answers": {"Q03": "lacks a row"}}, "the log's sums"),
        ({"outcomes": [Outcome(QUARRELS[0], None, None, ())]}, "each contested row"),
    ],
)
def test_one_broken_claim_is_enough_for_the_demo_to_fail(changed, claim):
    (wrong,) = [check for check in checks(replace(good(), **changed)) if check.wrong]
    assert wrong.claim.startswith(claim)


def test_thirty_sites_are_one_column():
    sites = tuple(f"SITE_{number:03d}" for number in range(1, 31))
    found = replace(good(), sites=sites, comparisons=[same("materials", s, 2) for s in sites])
    text = report.text(found)
    assert "60 = 60" in text
    assert max(map(len, text.splitlines())) <= 200


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_at_least_the_share_of_the_values_does_not_exceed_the_percentile(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


def test_there_is_no_percentile_of_nothing():
    assert percentile([], 0.5) is None


# --- contents --------------------------------------------------------------------------------

rows = st.dictionaries(st.text(min_size=1), st.integers(0, 2**64 - 1))


@given(rows)
def test_the_order_of_rows_does_not_matter(found):
    assert content(dict(reversed(found.items()))) == content(found)


@given(rows, rows)
def test_contents_are_equal_exactly_when_no_row_differs(edge, centre):
    compared = compare("holds", "SITE_001", edge, centre)
    assert compared.equal == (not compared.differing)


def test_a_number_a_text_and_null_are_three_contents():
    assert len({row_hash([1]), row_hash(["1"]), row_hash([None]), row_hash([""])}) == 4


# --- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "given_answer", "told"),
    [
        ({"rows": 2, "cases": 1}, {"rows": 2, "cases": 1}, ""),
        ({"rows": 2, "cases": 1}, {"rows": 3, "cases": 1}, "rows is 3, not 2"),
        ([["B", 1], ["D", 2]], [["B", 1], ["D", 2]], ""),
        ([["B", 1], ["D", 2]], [["D", 2], ["B", 1]], "another order"),
        ([["B", 1]], [["B", 2]], "lacks [['B', 1]], has [['B', 2]]"),
    ],
)
def test_an_answer_that_is_not_the_expected_one_is_told_apart(expected, given_answer, told):
    assert difference(expected, given_answer) == told


# --- quarrels --------------------------------------------------------------------------------


def test_the_quarrels_cover_every_policy_and_both_orders_of_a_delete():
    assert {quarrel.policy for quarrel in QUARRELS} == {
        *("", "last_write", "central", "site", "sum", "max", "min", "lattice"),
        *("add_remove_set", "review", "delete"),
    }
    deletes = [quarrel for quarrel in QUARRELS if quarrel.policy == "delete"]
    assert {(q.here is None, q.central is None) for q in deletes} == {(True, False), (False, True)}


@pytest.mark.parametrize(
    ("policies", "told"), [((), "no conflict of policy last_write"), (("last_write",), "")]
)
def test_a_conflict_that_left_no_history_is_wrong(policies, told):
    quarrel = QUARRELS[0]
    assert told in Outcome(quarrel, quarrel.expected, quarrel.expected, policies).wrong
    assert bool(told) == bool(Outcome(quarrel, quarrel.expected, quarrel.expected, policies).wrong)


def test_a_conflict_where_none_should_be_is_wrong():
    quarrel = next(each for each in QUARRELS if not each.policy)
    found = Outcome(quarrel, quarrel.expected, quarrel.expected, ("site",))
    assert "where there was none: site" in found.wrong
