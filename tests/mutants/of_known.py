"""Mutants of ``as_known_at``: what is noted when it comes late, and taken away again."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

NOTING: Final = "central/rollups.py"
KNOWN: Final = "central/reports/known.py"
TESTS: Final = "tests/integration/test_reports_as_known.py"
ANY: Final = f"{TESTS}::test_what_was_answered_is_answered_again_after_any_history"
LATE: Final = f"{TESTS}::test_noted_is_what_came_when_its_day_was_over"
REFUSED: Final = f"{TESTS}::test_a_moment_that_nothing_is_known_of_is_refused"
UNIT: Final = "tests/unit/test_report_known.py"

OF_KNOWN: Final[tuple[Mutant, ...]] = (
    of(
        "known: what came late is added once more",
        NOTING, 'sign=f"-{_SIGN}"', "sign=_SIGN", ANY,
    ),
    of(
        "known: of a row that was mended what came is noted before what went",
        NOTING, "{rows} ORDER BY 1;", "{rows} ORDER BY 1 DESC;", ANY,
    ),
    of(
        "known: a fact that came since counts among the facts of then",
        KNOWN, "l.id = f.id AND {changed}", "l.id = f.id AND false", ANY,
    ),
    of(
        "known: what was there and went is none of the facts of then",
        KNOWN, '" WHERE sign = -1)"', '" WHERE false)"', ANY,
    ),
    of(
        "known: what came and went was there before it came",
        KNOWN, '" WHERE sign = -1)"', '" WHERE sign <> 0)"', ANY,
    ),
    of(
        "known: a fact is as late as its start alone says",
        NOTING, "(least(r.started_at, {AT}) <", "(r.started_at <", ANY, LATE,
    ),
    of(
        "known: late is what began long ago, and not what is told of a day that is over",
        NOTING,
        "OR r.business_date < (statement_timestamp() AT TIME ZONE 'UTC')::date - 1)",
        "OR false)",
        LATE,
    ),
    of(
        "known: whatever comes on the day after its own is late",
        NOTING, "AT TIME ZONE 'UTC')::date - 1)", "AT TIME ZONE 'UTC')::date)", LATE,
    ),
    of(
        "known: late is what comes a day after it ended",
        NOTING, "- interval '12 hours'", "- interval '24 hours'", LATE,
    ),
    of(
        "known: a moment right after a window can be asked for",
        KNOWN, "IN_TIME: Final = timedelta(days=2)", "IN_TIME: Final = timedelta(days=1)",
        f"{UNIT}::test_what_came_in_time_was_there_when_its_window_was_closed", REFUSED,
    ),
    of(
        "known: a moment can be asked for before anything was noted",
        KNOWN, "if at is not None and at < since:", "if at is None:", REFUSED,
    ),
    of(
        "known: a stream tells of a moment that nothing is known of",
        "central/reports/whole.py",
        "known.judge(question, connection.execute(known.SINCE).fetchone())", "pass", REFUSED,
    ),
    of(
        "known: a moment in the future can be asked for",
        KNOWN, "if at is not None and at > now:", "if at is None:", REFUSED,
    ),
    of(
        "known: a window that still goes on was restated",
        KNOWN, "row[0] and row[0] > closed else None", "row[0] else None",
        f"{TESTS}::test_a_window_that_still_goes_on_is_not_restated",
    ),
    of(
        "known: an answer was restated by sites that it is not about",
        KNOWN, "found &= set(each.values)", "pass",
        f"{TESTS}::test_an_answer_tells_when_its_closed_window_was_changed",
    ),
    of(
        "known: what was known is asked for after it was forgotten",
        "central/retention.py", "UPDATE sync.known_since SET since = now()",
        "UPDATE sync.known_since SET since = since + now() - now()",
        f"{TESTS}::test_what_is_forgotten_can_not_be_asked_for_any_more",
    ),
)  # fmt: skip
