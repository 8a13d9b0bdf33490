"""What is asked of a report is read, or refused with the field and the rule it breaks."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.reports.answer import cursor_of, going_on
from central.reports.dimensions import BUCKETS, DIMENSIONS
from central.reports.kpis import DISTINCTS, KPIS, MEASURES
from central.reports.presets import PRESETS
from central.reports.question import (
    BadQuestion,
    Match,
    Order,
    Question,
    filters,
    instants,
    known_measures,
    moment,
    names,
    one_name,
    orders,
    window,
)
from central.reports.sources import FACTS, SOURCES, parts_of, source_of
from central.reports.statement import statement_of

SITES = ("SITE_001", "SITE_002")


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"])
def test_an_instant_that_is_none_in_utc_is_refused(text):
    with pytest.raises(BadQuestion):
        moment("from", text)


def test_days_and_instants_are_read_each_for_what_it_is():
    assert moment("from", "2026-11-02") == date(2026, 11, 2)
    assert moment("from", "2026-11-02T07:00:00+01:00") == datetime(2026, 11, 2, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "field", "rule"),
    [
        ("2026-11-02", "2026-11-02", "to", "later"),
        ("2026-11-03", "2026-11-02", "to", "later"),
        ("2026-11-02", "2026-11-03T00:00:00Z", "to", "a day where"),
        ("2026-11-02T00:00:00", None, "from", "offset"),
        ("2. November", None, "from", "a day such as"),
        ("2026-02-30", None, "from", "a day such as"),
        ("2010-01-01", "2026-01-01", "to", "at most"),
        (None, "now'; DROP TABLE mes.sites; --", "to", "a day such as"),
    ],
)
def test_a_window_that_breaks_a_rule_is_refused_with_the_field(start, end, field, rule):
    with pytest.raises(BadQuestion) as told:
        window(start, end)
    assert told.value.field == field
    assert rule in told.value.rule


@pytest.mark.parametrize("text", ["site; DROP TABLE", "SITE", "site,site", "1", "r.site_id"])
def test_names_that_are_not_known_or_come_twice_are_refused(text):
    with pytest.raises(BadQuestion):
        names("group_by", text, DIMENSIONS)


@pytest.mark.parametrize("text", ["\x0b", "\x0b,", " , ", "", "\u2003"])
def test_nothing_but_blanks_is_no_name(text):
    assert one_name("bucket", text, BUCKETS) is None
    assert orders(text, ("site",)) == ()


def test_a_direction_without_a_column_is_refused():
    with pytest.raises(BadQuestion):
        orders("site,-", ("site",))


#: What parts, turns and blanks, beside any text there is.
TEXTS = st.text() | st.text(st.sampled_from("-, \t\x0b\x00aT:Z+0123456789"))
NAMES = st.sampled_from(("a", "b", "-a", "")) | TEXTS


#: Also those of the first and last hours that there are, which are none in UTC.
INSTANTS = st.datetimes(timezones=st.timezones()).map(datetime.isoformat)


@given(TEXTS | INSTANTS, st.lists(NAMES).map(",".join) | INSTANTS)
def test_whatever_a_person_writes_is_understood_or_refused(text, some):
    for read in (
        lambda: names("group_by", some, ("a", "b")), lambda: one_name("bucket", some, ("a", "b")),
        lambda: orders(some, ("a", "b")), lambda: moment("from", text),
        lambda: window(text, some), lambda: instants("at", [text, some]),
        lambda: filters({text: [some], "machine": [text, some], f"site.{text}": [some]}),
    ):  # fmt: skip
        with contextlib.suppress(BadQuestion):
            read()


def test_one_name_is_one_name():
    assert one_name("bucket", "month", BUCKETS) == "month"
    assert one_name("bucket", None, BUCKETS) is None
    with pytest.raises(BadQuestion):
        one_name("bucket", "month,day", BUCKETS)


def test_only_columns_of_the_answer_can_be_sorted_by():
    assert orders("-qty_good,site", ("site", "qty_good")) == (
        Order("qty_good", True),
        Order("site"),
    )
    for text in ("--qty_good", "qty_good desc", "other", "-qty_good,qty_good"):
        with pytest.raises(BadQuestion):
            orders(text, ("site", "qty_good"))


@pytest.mark.parametrize(
    "given",
    [{"maschine": ["1"]}, {"machine.like": ["1"]}, {"machine": []}, {"machine": ["x" * 121]},
     {"machine": ["a\x00"]}, {"machine": [str(n) for n in range(51)]}],
)  # fmt: skip
def test_a_filter_that_breaks_a_rule_is_refused(given):
    with pytest.raises(BadQuestion):
        filters(given)


def test_a_filter_is_of_a_dimension_and_says_how_it_compares():
    found = filters({"segment.contains": ["Q.C.", "Insp"], "machine.not": ["M 1"], "order": ["7"]})
    assert [(each.dimension, each.match) for each in found] == [
        ("segment", Match.CONTAINS), ("machine", Match.IS_NOT), ("order", Match.IS),
    ]  # fmt: skip


def test_instants_are_no_days():
    with pytest.raises(BadQuestion):
        instants("at", ["2026-11-02"])


@given(st.text(max_size=200))
def test_no_text_that_is_no_cursor_is_taken_for_one(text):
    question = Question(sites=SITES, group_by=("machine",))
    with pytest.raises(BadQuestion):
        going_on(question, text)


def test_a_cursor_goes_on_with_its_own_question_only():
    question = Question(sites=SITES, group_by=("machine",))
    cursor = cursor_of(question, statement_of(question), {"machine": "M 7"})
    assert going_on(question, cursor).after == ("M 7",)
    for other in (
        Question(sites=SITES[:1], group_by=("machine",)),
        Question(sites=SITES, group_by=("order",)),
        question.sorted((Order("machine", descending=True),)),
    ):
        with pytest.raises(BadQuestion):
            going_on(other, cursor)


@pytest.mark.parametrize(
    ("sort", "values"),
    [
        ("-qty_good", ("1",)),
        ("-qty_good", ("1", "M 7", "more")),
        ("-qty_good", ("'; DROP", "M 7")),
        ("-qty_good", ("NaN", "M 7")),
        ("-qty_good", ("1", "M\x007")),
        ("first_start", ("yesterday", "M 7")),
        ("first_start", ("2026-11-02T06:00:00", "M 7")),
    ],
)
def test_a_cursor_that_somebody_made_up_is_refused(sort, values):
    question = Question(
        sites=SITES, group_by=("machine",), measures=("qty_good", "first_start"),
        sort=orders(sort, ("qty_good", "first_start")), after=values,
    )  # fmt: skip
    with pytest.raises(BadQuestion, match="cursor"):
        statement_of(question)


# --- what reports are made of ---------------------------------------------------------------------


def test_every_figure_is_made_of_what_can_be_counted_and_has_a_source():
    for figure in KPIS.values():
        assert set(figure.measures) <= set(known_measures()) - KPIS.keys(), figure.name
        assert figure.source
        assert figure.about


def test_every_preset_shows_what_is_known():
    for preset in PRESETS:
        assert set(preset.measures) <= set(known_measures()), preset.name
        assert set(preset.group_by) <= DIMENSIONS.keys()
        question = Question(
            sites=SITES, group_by=preset.group_by, bucket=preset.bucket, measures=preset.measures,
            window=window("2026-11-02", "2026-11-09"), basis=preset.basis,
            share_of=preset.share_of, nonzero=preset.nonzero,
        )  # fmt: skip
        assert statement_of(question.sorted(orders(preset.sort, question.columns))).text


def test_figures_come_after_what_they_are_made_of():
    found = parts_of(("scrap_ratio", "fill"))
    assert found.index("qty_scrap") < found.index("scrap_ratio")
    assert found.index("qty_ordered") < found.index("fill")


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({}, "output_site_days"),
        ({"bucket": "day"}, "output_site_days"),
        ({"group_by": ("site", "shift"), "bucket": "month"}, "output_site_days"),
        ({"group_by": ("machine",)}, "output_machine_days"),
        ({"group_by": ("machine",), "bucket": "day"}, "output_machine_days"),
        ({"group_by": ("machine", "shift"), "bucket": "week"}, "output_days"),
        ({"group_by": ("material",)}, "output_order_days"),
        ({"group_by": ("person",)}, "output_person_days"),
        ({"bucket": "hour"}, "output_quarters"),
        ({"window": window("2026-11-02T06:15:00Z", None)}, "output_quarters"),
        ({"window": window("2026-11-02T06:16:00Z", None)}, FACTS),
        ({"window": window(None, "2026-11-02")}, "output_site_days"),
        ({"window": window("2026-11-02", None)}, "output_site_days"),
        ({"group_by": ("machine", "person")}, FACTS),
        ({"measures": ("first_start",)}, FACTS),
        ({"measures": ("orders",), "group_by": ("person",)}, FACTS),
        ({"filters": filters({"rework": ["true"]})}, FACTS),
    ],
)
def test_a_question_is_read_from_the_smallest_source_that_knows_all_of_it(given, source):
    assert source_of(Question(sites=SITES, **given)).name == source


def test_the_facts_know_everything():
    facts = SOURCES[-1]
    assert facts.name == FACTS
    assert all(set(each.keys) <= facts.keys for each in DIMENSIONS.values())


def test_nothing_that_a_person_wrote_stands_in_the_statement():
    evil = "x' OR site_id <> 'SITE_001"
    question = Question(
        sites=SITES, group_by=("machine", "order"), bucket="month",
        filters=filters({"machine": [evil], "order.contains": [evil], "segment.not": [evil]}),
    )  # fmt: skip
    statement = statement_of(question)
    assert evil not in statement.text
    assert sum(value == [evil] for value in statement.values.values()) == 3


def test_a_question_names_its_sites_in_every_table_that_is_split():
    question = Question(sites=SITES, group_by=("machine", "order"), measures=("first_start",))
    text = statement_of(question).text
    assert text.count("site_id IN ('SITE_001', 'SITE_002')") == 3  # facts, machines and orders


def test_measures_and_counts_have_names_of_their_own():
    every = [*MEASURES, *DISTINCTS, *KPIS]
    assert len(set(every)) == len(every)
