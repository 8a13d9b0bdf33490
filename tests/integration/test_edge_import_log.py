"""The real production log, split over sites, sums to the verified answers."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.integration.import_world import LOG_FOLDER, LOG_MAP, Site, real_log

_ELAPSED = (
    "CAST(round((julianday(r.ended_at) - julianday(r.started_at)) * 1440) AS INTEGER) AS elapsed"
)
_REPORTS = (
    "SELECT r.report_type, e.equipment_code, substr(r.created_at, 1, 7), r.qty_good, r.qty_scrap,"
    f" r.qty_mrb, {_ELAPSED}, r.duration_known, r.duration_s, r.started_at, r.ended_at,"
    " r.segment_code, p.person_no, r.source_row, r.created_at, r.is_rework, r.qty_rework"
    " FROM job_responses r JOIN equipment e ON e.id = r.equipment_id"
    " JOIN persons p ON p.id = r.person_id"
)
_ORDERS = "SELECT order_no, material_code, qty_ordered FROM work_orders"
_LETTER = {"PRODUCTION": "D", "SETUP": "S", "BREAKDOWN": "B"}


def answer(question: str) -> Any:
    document = json.loads((LOG_FOLDER / "answers.json").read_text(encoding="utf-8"))
    return next(each["result"] for each in document["questions"] if each["id"] == question)


@pytest.fixture(scope="module", params=[3, 30])
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """The log imported into so many stores."""
    folder, parts = tmp_path_factory.mktemp("sites"), request.param
    found = []
    for part in range(1, parts + 1):
        site = Site.new(folder, f"SITE_{part:03d}")
        outcome = site.load_part(real_log(), LOG_MAP, part, parts)
        assert outcome.progress.rejected == 0
        found.append(site)
    return found


@pytest.fixture(scope="module")
def reports(sites: list[Site]) -> list[tuple[Any, ...]]:
    """All reports of all sites."""
    return [row for site in sites for row in site.rows(_REPORTS)]


def minutes(row: tuple[Any, ...]) -> tuple[int, int, int]:
    """Return the minutes of a report's interval, the same where it is known, and of its span."""
    elapsed, known, duration_s = row[6], row[7], int(row[8])
    assert duration_s % 60 == 0
    return elapsed, elapsed if known else 0, duration_s // 60


def test_all_reports_of_the_log_sum_to_the_verified_totals(sites: list[Site], reports: list[Any]):
    expected = answer("Q01")
    rows = reports
    orders = [row for site in sites for row in site.rows(_ORDERS)]
    good, scrap, mrb = (sum(int(row[at]) for row in rows) for at in (3, 4, 5))
    elapsed, recorded, span = (sum(minutes(row)[at] for row in rows) for at in (0, 1, 2))
    assert {
        "rows": len(rows),
        "cases": len(orders),
        "resources": len({row[1] for row in rows}),
        "activities": len({row[11] for row in rows}),
        "workers": len({row[12] for row in rows}),
        "parts": len({row[1] for row in orders}),
        "min_start": min(row[9] for row in rows)[:19],
        "max_start": max(row[9] for row in rows)[:19],
        "min_complete": min(row[10] for row in rows)[:19],
        "max_complete": max(row[10] for row in rows)[:19],
        "qty_completed": good,
        "qty_rejected": scrap,
        "qty_mrb": mrb,
        "produced": good + scrap + mrb,
        "wo_qty_sum_over_cases": sum(int(row[2]) for row in orders),
        "elapsed_min": elapsed,
        "span_min": span,
        "recorded_min": recorded,
    } == expected


def test_each_type_of_report_sums_to_the_verified_totals(reports: list[Any]):
    sums: dict[str, Counter[int]] = {}
    for row in reports:
        found = sums.setdefault(_LETTER[row[0]], Counter())
        for at, amount in enumerate((1, *(int(row[k]) for k in (3, 4, 5)), *minutes(row))):
            found[at] += amount
    assert [[kind, *(sums[kind][at] for at in range(7))] for kind in sorted(sums)] == answer("Q02")


def test_each_machine_and_month_sums_to_the_verified_quantities(reports: list[Any]):
    sums: dict[tuple[str, str], list[int]] = {}
    for row in reports:
        found = sums.setdefault((row[1], row[2]), [0, 0, 0])
        for at in range(3):
            found[at] += int(row[3 + at])
    assert [[*key, *sums[key]] for key in sorted(sums)] == answer("Q03")


def test_every_row_of_the_log_is_a_report_at_the_site_of_its_order(
    sites: list[Site], reports: list[Any]
):
    assert sorted(row[13] for row in reports) == list(range(1, 4544))
    for number, site in enumerate(sites):
        cases = [int(row[0].split()[1]) for row in site.rows(_ORDERS)]
        assert {(case - 1) % len(sites) for case in cases} == {number}


def test_a_report_stands_in_the_month_in_which_it_ended(reports: list[Any]):
    for row in reports:
        assert row[14] == row[10]


def test_rework_is_told_and_within_the_good_quantity(reports: list[Any]):
    rows = [row for row in reports if row[15]]
    assert len(rows) == 32
    assert [row[16] for row in rows] == [row[3] for row in rows]
    assert {row[16] for row in reports if not row[15]} == {"0"}


def test_one_span_that_a_spreadsheet_made_a_date_of_is_1549_minutes(reports: list[Any]):
    (row,) = [row for row in reports if row[13] == 928]
    assert row[8] == str(1549 * 60)


def test_the_log_imported_again_changes_nothing(sites: list[Site]):
    site = sites[0]
    before = site.content()
    assert site.load_part(real_log(), LOG_MAP, 1, len(sites)).done_before
    assert site.content() == before
