"""States of machines: what each word is, what a statement names, and what a page makes of rows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from central.reports.kpis import FIGURES, KPIS_OF_STATES, MEASURES_OF_STATES
from central.reports.question import BadQuestion, Filter, Match, Question, Window
from central.reports.statement import reads_facts
from central.reports.states import (
    DIMENSIONS_OF_STATES,
    FIGURES_OF_STATES,
    states_statement,
    timeline_statement,
)
from central.reports.time_model import FAILURES, STATES, WORDS, Element
from central.web.columns import column
from central.web.timeline import WIDTH, timeline

SITES = ("SITE_001", "SITE_002")
DAY = Window(date(2026, 11, 2), date(2026, 11, 3))
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def question(**given) -> Question:
    asked = {"sites": SITES, "window": DAY, "measures": ("state_min",), "is_of_states": True}
    return Question(**asked | given)


def test_every_word_stands_once_as_it_is_compared_and_for_an_element_that_there_is():
    for word, element in STATES.items():
        assert word == word.strip().upper()
        assert element in Element
        assert element is not Element.UNMAPPED
        assert f"('{word}', '{element}'" in WORDS
    assert {STATES[word] for word in FAILURES} == {Element.ADET}


@pytest.mark.parametrize("word", ["RUNNING", "IDLE", "DOWN"])
def test_what_the_demo_says_is_mapped(word):
    assert word in STATES


@pytest.mark.parametrize("made", [states_statement, timeline_statement])
def test_a_question_names_its_sites_in_every_table_that_is_split(made):
    text = made(question(group_by=("line", "state"), bucket="day")).text
    tables = ("equipment_state_events AS e", "downtime_annotations AS e", "equipment AS e",
              "equipment AS l")  # fmt: skip
    for table in tables:
        parts = text.split(f"mes.{table}")[1:]
        for part in parts:
            assert "site_id IN ('SITE_001', 'SITE_002')" in part[:250], (table, part[:250])
    assert text.count("mes.equipment_state_events") == 5
    assert text.count("mes.downtime_annotations") == 1


def test_a_filter_by_site_leaves_the_others_out_before_anything_is_looked_up():
    one = question(filters=(Filter("site", Match.IS, ("SITE_002", "SITE_009")),))
    assert "'SITE_001'" not in states_statement(one).text
    none = question(filters=(Filter("site", Match.IS, ("SITE_009",)),))
    assert "SITE_009" not in states_statement(none).text


def test_planned_time_is_looked_up_where_it_is_asked_for_and_nowhere_else():
    assert "shift_calendar" not in states_statement(question()).text
    for name in ("pbt_min", "state_availability", "state_allocation_efficiency"):
        assert "shift_calendar" in states_statement(question(measures=(name,))).text


@pytest.mark.parametrize(
    ("window", "bucket", "field"),
    [
        (Window(), None, "from"),
        (Window(date(2026, 11, 2)), None, "from"),
        (Window(date(2025, 1, 1), date(2026, 11, 2)), None, "to"),
        (Window(date(2026, 9, 1), date(2026, 11, 2)), "hour", "to"),
        (Window(NOON, NOON + timedelta(days=31, seconds=1)), "hour_of_day", "to"),
    ],
)
def test_a_window_without_end_or_too_long_to_be_cut_is_refused(window, bucket, field):
    with pytest.raises(BadQuestion) as told:
        states_statement(question(window=window, bucket=bucket))
    assert told.value.field == field


def test_every_figure_is_made_of_measures_and_told_on_pages_in_its_own_words():
    assert set(FIGURES_OF_STATES) == {*MEASURES_OF_STATES, *KPIS_OF_STATES}
    for name, kpi in KPIS_OF_STATES.items():
        assert set(kpi.measures) <= set(MEASURES_OF_STATES)
        assert FIGURES[name] is kpi
        assert column(name).formula == kpi.formula
    assert not [name for name in (*DIMENSIONS_OF_STATES, "since") if column(name).is_number]


def test_no_month_of_reports_is_looked_for_where_states_are_asked_for():
    assert not reads_facts(question(group_by=("state", "source")))


# --- bars -----------------------------------------------------------------------------------------


def row(machine: str | None, state: str, begins: int, ends: int, element: str = "APT") -> dict:
    return {
        "site": "SITE_001", "machine": machine, "machine_id": f"id of {machine}", "state": state,
        "time_element": element, "from": NOON + timedelta(hours=begins),
        "until": NOON + timedelta(hours=ends), "state_min": 60 * (ends - begins),
    }  # fmt: skip


def test_bars_stand_on_one_scale_and_say_in_words_what_they_show():
    found = timeline([
        row("Lathe", "RUNNING", 0, 6), row("Lathe", "DOWN", 6, 7, "ADET"),
        row("Lathe", "RUNNING", 7, 8), row(None, "Rüsten", 2, 4, "UNMAPPED"),
    ])  # fmt: skip
    lathe, stranger = found.bars
    assert (found.begins, found.ends) == (NOON, NOON + timedelta(hours=8))
    assert [(each.low, each.width) for each in lathe.spans] == [(0, 750), (750, 125), (875, 125)]
    assert lathe.words == "RUNNING 420 min, DOWN 60 min"
    assert stranger.machine == "unknown (id of None)"
    assert (stranger.spans[0].low, stranger.spans[0].width) == (WIDTH / 4, WIDTH / 4)
    assert [element for element, _ in found.legend] == ["APT", "ADET", "UNMAPPED"]
    assert lathe.spans[1].words.startswith("DOWN from 2026-11-02 18:00:00 UTC until")
