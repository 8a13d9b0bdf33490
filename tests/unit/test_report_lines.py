"""How ``mes-central report`` shows an answer, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from central.cli.answers import fresh, lacking, lines_of
from central.cli.look import local
from central.reports.answer import Answer

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def an_answer(*rows: dict[str, Any], columns: tuple[str, ...] = (), **given: Any) -> Answer:
    known = {
        "columns": columns or tuple(rows[0]), "rows": rows, "cursor": None, "as_of": NOW,
        "complete_through": {"SITE_001": NOW}, "provisional": False,
    }  # fmt: skip
    return Answer(**known | given)


def shown(answer: Answer) -> list[str]:
    *lines, told = lines_of(answer)
    assert told == fresh(answer)
    return lines


def test_the_points_of_a_column_stand_below_each_other_and_undefined_is_a_dash():
    rows = (
        {"machine": "M 1", "qty_good": 12345.5, "scrap_ratio": 0.018977089},
        {"machine": None, "qty_good": -7, "scrap_ratio": None},
    )
    assert shown(an_answer(*rows)) == [
        "machine  qty_good  scrap_ratio",
        "M 1      12 345.5        0.019",
        "-            -7.0            -",
    ]


def test_whole_numbers_have_no_point_and_words_none_of_a_number():
    rows = ({"day": "2026-11-02", "rework": True, "at": NOW, "reports": 1000, "oee": None},)
    assert shown(an_answer(*rows)) == [
        f"day         rework  {'at':<{len(local(NOW))}}  reports  oee",
        f"2026-11-02  true    {local(NOW)}    1 000    -",
    ]


def test_one_row_that_is_too_wide_for_a_line_is_shown_down_the_page():
    row = {f"measure_{number}": number * 1000 for number in range(12)}
    lines = shown(an_answer(row))
    assert lines[:2] == ["measure_0   0", "measure_1   1 000"]
    assert len(lines) == 12
    assert len(shown(an_answer(row, row))) == 3


def test_words_give_way_where_a_line_gets_too_long():
    rows = tuple({"order": "x" * 90, "material": "y" * 90, "qty_good": 123} for _ in range(2))
    assert max(map(len, shown(an_answer(*rows)))) == 100
    assert shown(an_answer(*rows))[1].endswith("...       123")


def test_nothing_is_cut_where_that_would_not_make_a_line_fit():
    row = {"machine": "Machine 1 - Lapping"} | {f"measure_{number}": 1 for number in range(12)}
    assert shown(an_answer(row, row))[1].startswith("Machine 1 - Lapping  ")


def test_a_column_of_large_numbers_has_fewer_digits_after_the_point():
    rows = ({"mttr_min": 186.75, "h": 1.23456, "oee": 1}, {"mttr_min": 22, "h": 2, "oee": 0.98765})
    assert shown(an_answer(*rows))[1:] == [
        "   186.8  1.235  1.0000",
        "    22.0  2.000  0.9877",
    ]


def test_an_answer_without_rows_says_so():
    assert shown(an_answer(columns=("machine", "qty_good"))) == ["no rows"]


def test_how_fresh_it_is_goes_by_the_site_that_was_heard_longest_ago():
    early = NOW - timedelta(hours=2)
    known = {"SITE_001": NOW, "SITE_002": early}
    told = fresh(an_answer(columns=("a",), complete_through=known, provisional=True))
    assert told == (
        f"as_of {local(NOW)}  complete_through {local(early)} (SITE_002, oldest of 2)  provisional"
    )
    told = fresh(an_answer(columns=("a",), complete_through={**known, "SITE_003": None}))
    assert told.endswith("complete_through - (nothing came from SITE_003)")
    told = fresh(an_answer(columns=("a",), restated_at=early, as_known_at=early))
    assert told.endswith(f"  restated_at {local(early)}  as_known_at {local(early)}")


def test_what_an_answer_lacks_is_told():
    assert lacking(an_answer({"a": 1})) == []
    more, archived = lacking(an_answer({"a": 1}, cursor="x", archived_not_counted=3))
    assert "more rows" in more
    assert archived == "not counted: 3 months of sites in the archive"
