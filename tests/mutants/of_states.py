"""Mutants of states of machines: what is known, what holds, what counts once."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

SPANS: Final = "central/reports/state_spans.py"
STATES: Final = "central/reports/states.py"
NOTED: Final = "central/reports/annotated.py"
MODEL: Final = "central/reports/time_model.py"
KPIS: Final = "central/reports/kpis.py"
TESTS: Final = "tests/integration/test_reports_states.py"
TOLD: Final = "tests/integration/test_reports_states_told.py"
UNIT: Final = "tests/unit/test_states.py"
WHY: Final = "tests/integration/test_reports_annotated.py"
PLAIN: Final = f"{TESTS}::test_times_are_what_a_plain_reading_of_the_events_comes_to"

OF_STATES: Final[tuple[Mutant, ...]] = (
    of(
        "states: what a site has not sent yet is taken for more of the last state",
        SPANS,
        "least({ends}, e.through) AS ends",
        "{ends} AS ends",
        f"{TESTS}::test_time_beyond_what_is_known_of_a_site_is_in_no_state",
    ),
    of(
        "states: a window begins in the oldest state there is, not in the last one before it",
        SPANS,
        "ORDER BY e.since DESC, e.id DESC LIMIT 1",
        "ORDER BY e.since, e.id DESC LIMIT 1",
        f"{TESTS}::test_the_state_that_rules_the_beginning_is_found_months_before",
    ),
    of(
        "states: of two events of one instant the one noted first counts",
        SPANS,
        "n.equipment_id, f.since, f.id DESC)",
        "n.equipment_id, f.since, f.id)",
        f"{TESTS}::test_of_two_events_of_one_instant_the_one_noted_last_counts",
    ),
    of(
        "states: of two events of one instant before the window any one counts",
        SPANS,
        "e.since DESC, e.id DESC LIMIT 1",
        "e.since DESC, e.id LIMIT 1",
        f"{TESTS}::test_of_two_events_of_one_instant_the_one_noted_last_counts",
    ),
    of(
        "states: a state goes on through a month of which the events are in the archive",
        SPANS,
        "a.first > x.since)) AS ends",
        "false)) AS ends",
        f"{TESTS}::test_nothing_is_known_through_a_month_in_the_archive",
    ),
    of(
        "states: a late row of an archived month is taken for all of it",
        SPANS,
        "t.since >= a.first",
        "false",
        f"{TESTS}::test_nothing_is_known_through_a_month_in_the_archive",
    ),
    of(
        "states: months that were brought back count as archived",
        SPANS,
        "a.state <> 'attached' AND ",
        "",
        f"{TESTS}::test_nothing_is_known_through_a_month_in_the_archive",
    ),
    of(
        "states: an event that repeats a state counts as another time of it",
        SPANS,
        "lag(c.state) OVER o IS DISTINCT FROM c.state AS enters",
        "true AS enters",
        f"{TESTS}::test_an_event_that_repeats_a_state_goes_on_with_it",
    ),
    of(
        "states: from one state of failure to another is a second failure",
        SPANS,
        "c.is_failure AND lag(c.is_failure) OVER o IS NOT TRUE AS fails",
        "c.is_failure AS fails",
        f"{TESTS}::test_an_event_that_repeats_a_state_goes_on_with_it",
    ),
    of(
        "states: that a machine went into a state counts in each piece of its time",
        STATES,
        "(i.enters AND {began})::integer",
        "i.enters::integer",
        PLAIN,
    ),
    of(
        "states: a share is of what is filtered for",
        KPIS,
        "sum(sum(k.known_s)) OVER",
        "sum(sum(k.held_s)) OVER",
        f"{TOLD}::test_a_share_is_of_all_that_is_known_whatever_is_filtered_for",
    ),
    of(
        "states: machines for which nothing is planned are held against planned time",
        KPIS,
        '"k.planned_s IS NOT NULL AND k.element"',
        '"k.element"',
        f"{TOLD}::test_planned_time_counts_as_far_as_the_state_is_known",
    ),
    of(
        "states: planned time counts where the state is not known",
        STATES,
        "unnest(n.planned * multirange(tstzrange(i.low, i.high)))",
        "unnest(n.planned)",
        f"{TOLD}::test_planned_time_counts_as_far_as_the_state_is_known",
    ),
    of(
        "states: a state that nobody maps is taken for one without work",
        MODEL,
        "'{Element.UNMAPPED}') END",
        "'{Element.ADOT}') END",
        f"{TOLD}::test_a_state_that_nobody_maps_is_shown_and_counted_as_unmapped",
    ),
    of(
        "states: a reason makes a machine that runs a machine that stands",
        MODEL,
        "CASE WHEN q.element = '{Element.APT}' THEN q.element",
        "CASE WHEN false THEN 'APT'",
        f"{TOLD}::test_the_reason_of_a_stop_goes_before_the_word_of_its_state",
    ),
    of(
        "states: a stop is a failure, whatever its reason is",
        MODEL,
        "coalesce(q.is_failure AND coalesce(y.element, q.element) = '{Element.ADET}', false)",
        "coalesce(q.is_failure, '{Element.ADET}' = '', false)",
        f"{TOLD}::test_the_reason_of_a_stop_goes_before_the_word_of_its_state",
    ),
    of(
        "states: a reason for scrap says what a stop is",
        SPANS,
        " AND r.kind = 'DOWNTIME'",
        "",
        f"{TOLD}::test_the_reason_of_a_stop_goes_before_the_word_of_its_state",
    ),
    of(
        "states: a site is not named, so that all partitions are looked at",
        SPANS,
        '" AND e.site_id IN ({sites}){after} ORDER BY',
        '"{after} ORDER BY',
        f"{UNIT}::test_a_question_names_its_sites_in_every_table_that_is_split",
    ),
    of(
        "states: events are found by time alone, machine by machine",
        "central/schema.py",
        'f"{table.name}_latest", *latest',
        'f"{table.name}_latest", latest[1]',
        f"{TOLD}::test_events_are_found_by_an_index_and_only_as_many_as_are_needed",
    ),
    of(
        "states: hours may be asked for of a year",
        STATES,
        "end - start > timedelta(days=HOUR_DAYS_MAX)",
        "False",
        f"{UNIT}::test_a_window_without_end_or_too_long_to_be_cut_is_refused",
    ),
    of(
        "annotated: of two annotations of one role the first one counts",
        NOTED,
        "rank DESC, created_at DESC",
        "rank DESC, created_at",
        f"{WHY}::test_the_highest_role_counts_and_of_one_role_what_was_made_last_whenever_it_came",
    ),
    of(
        "annotated: what was made last counts, whoever made it",
        NOTED,
        " ORDER BY rank DESC, created_at",
        " ORDER BY created_at",
        f"{WHY}::test_the_highest_role_counts_and_of_one_role_what_was_made_last_whenever_it_came",
    ),
    of(
        "annotated: what is noted of a stop is of a machine that runs, too",
        NOTED,
        "o.noted IS NULL OR upper(btrim(o.state)) IN ({_PRODUCES})",
        "o.noted IS NULL",
        f"{WHY}::test_a_note_says_nothing_of_a_machine_that_runs_nor_of_another_one",
    ),
    of(
        "annotated: an annotation without an end goes on through later states",
        NOTED,
        "THEN coalesce({following}, 'infinity')",
        "THEN 'infinity'::timestamptz",
        f"{WHY}::test_a_note_without_an_end_is_of_the_state_in_which_it_begins",
    ),
    of(
        "annotated: an annotation is of any length",
        NOTED,
        "least(g.to_at, g.from_at + {_LONGEST})",
        "g.to_at",
        f"{WHY}::test_what_is_noted_of_a_state_that_began_long_before_counts_in_every_window",
    ),
    of(
        "annotated: one that began before the window is not looked for",
        NOTED,
        "least(r.since, lower(n.known) - {_LONGEST})",
        "lower(n.known)",
        f"{WHY}::test_what_is_noted_of_a_state_that_began_long_before_counts_in_every_window",
    ),
    of(
        "annotated: a stop is cut where its reason stays",
        NOTED,
        ' OR o.reason_code IS DISTINCT FROM o.reason_before"',
        ' OR true"',
        f"{WHY}::test_reasons_are_what_a_plain_reading_of_states_and_notes_comes_to",
    ),
    of(
        "annotated: those that touch are not held against one another",
        NOTED,
        "PRECEDING) < d.from_at, true)",
        "PRECEDING) < d.from_at, true) OR true",
        f"{WHY}::test_reasons_are_what_a_plain_reading_of_states_and_notes_comes_to",
    ),
    of(
        "annotated: a failure that goes on after a break counts where its state began",
        STATES,
        "i.starts >= i.low AND i.starts < i.high",
        "i.since >= i.low AND i.since < i.high",
        f"{WHY}::test_the_time_element_of_what_was_noted_goes_before_the_word_of_the_state",
    ),
    of(
        "annotated: machines of which nothing is noted are in no state",
        NOTED,
        'f" WHERE {_IS_NOTED} IS NOT TRUE"',
        '" WHERE false"',
        f"{WHY}::test_a_note_says_nothing_of_a_machine_that_runs_nor_of_another_one",
    ),
)
