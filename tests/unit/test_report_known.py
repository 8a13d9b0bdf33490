"""Two days after a window, all that came in time is there: whatever the zone and its day start."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from central.reports.known import IN_TIME, closed_at, facts, known_at
from central.reports.question import BadQuestion, Question, Window

#: What ``central.rollups`` calls late.
LATE_AFTER = timedelta(hours=12)
_FIRST, _LAST = (datetime.fromisoformat(f"{year}-01-01") for year in (1990, 2090))
MOMENTS = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))


def day_of(at: datetime, zone: str, day_start: time) -> date:
    """Return the business day of an instant, as ``mes`` has it."""
    start = timedelta(hours=day_start.hour, minutes=day_start.minute, seconds=day_start.second)
    return (at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - start).date()


@given(MOMENTS, st.timezone_keys(), st.times())
@example(datetime(2026, 11, 3, 11, 59, tzinfo=UTC), "Etc/GMT+12", time(23, 59, 59))
def test_what_came_in_time_was_there_when_its_window_was_closed(at, zone, day_start):
    last_day = day_of(at, zone, day_start)
    closed = closed_at(Window(None, last_day + timedelta(days=1)))
    assert closed is not None
    assert at + LATE_AFTER <= closed
    by_instant = closed_at(Window(None, at + timedelta(microseconds=1)))
    assert by_instant is not None
    assert at + LATE_AFTER <= by_instant


@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)), st.times())
def test_by_its_business_date_too(business_date, clock):
    # Its date in UTC is at most one after that of the report; else it would be late.
    arrived = datetime.combine(business_date + timedelta(days=1), clock, UTC)
    closed = closed_at(Window(None, business_date + timedelta(days=1)))
    assert closed is not None
    assert arrived <= closed


def test_a_window_that_is_over_for_less_than_two_days_is_none_of_the_past():
    window = Window(date(2026, 11, 1), date(2026, 11, 2))
    assert known_at("2026-11-04T00:00Z", window) == datetime(2026, 11, 2, tzinfo=UTC) + IN_TIME
    with pytest.raises(BadQuestion, match="two days after"):
        known_at("2026-11-03T23:59:59.999999Z", window)


def test_today_s_facts_are_read_from_their_table_alone():
    assert facts(Question(sites=("SITE_001",))) == "mes.job_responses"
