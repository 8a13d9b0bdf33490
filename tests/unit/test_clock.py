"""The clock: stamps that never go back, and wall times that may not win for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import (
    COUNTER_BITS,
    DRIFT_MAX_MS,
    clock_offset_ms,
    stamp,
    tick,
    touch_ms,
    wall_ms,
)

#: 1970 to the year 6429, which is where 47 bits of milliseconds end.
WALLS = st.integers(0, (1 << 47) - 1)
STAMPS = st.integers(0, (1 << 63) - 2)
MINUTE_MS = 60_000


@given(WALLS, st.integers(0, (1 << COUNTER_BITS) - 1))
def test_a_stamp_holds_its_wall_time_and_fits_63_bits(wall, counter):
    assert wall_ms(stamp(wall, counter)) == wall
    assert 0 <= stamp(wall, counter) < 1 << 63


@given(WALLS, st.integers(0, 1 << 20))
def test_a_counter_that_is_too_large_does_not_run_over_into_the_wall_time(wall, counter):
    assert wall_ms(stamp(wall, counter)) == wall


@given(WALLS, WALLS, st.integers(0, 100), st.integers(0, 100))
def test_stamps_compare_as_wall_time_then_counter(one, other, left, right):
    assert (stamp(one, left) < stamp(other, right)) == ((one, left) < (other, right))


@given(STAMPS, WALLS)
def test_a_tick_is_later_than_the_last_and_never_behind_the_wall(last, now):
    after = tick(last, now)
    assert after > last
    assert wall_ms(after) >= now


@given(WALLS, st.lists(st.integers(-MINUTE_MS, MINUTE_MS), min_size=1))
def test_ticks_grow_while_the_wall_clock_goes_back_and_forth(start, steps):
    last, now, stamps = 0, start, []
    for step in steps:
        now = max(now + step, 0)
        last = tick(last, now)
        stamps.append(last)
    assert stamps == sorted(set(stamps))


def test_more_ticks_in_a_millisecond_than_the_counter_holds_borrow_from_the_next():
    last = stamp(1000, (1 << COUNTER_BITS) - 1)
    assert tick(last, 1000) == stamp(1001)


@given(STAMPS, WALLS)
def test_a_tick_depends_on_nothing_but_what_it_is_given(last, now):
    assert tick(last, now) == tick(last, now)


# --- wall times of touches ---------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_is_corrected_by_the_offset(hours):
    off_ms = hours * 60 * MINUTE_MS
    truth_ms = 1000 * MINUTE_MS
    assert touch_ms(truth_ms + off_ms, -off_ms, truth_ms + 5) == (truth_ms, False)


def test_a_touch_at_the_bound_is_believed_and_one_beyond_it_is_held_and_flagged():
    assert touch_ms(1000 + DRIFT_MAX_MS, 0, 1000) == (1000 + DRIFT_MAX_MS, False)
    assert touch_ms(1001 + DRIFT_MAX_MS, 0, 1000) == (1000 + DRIFT_MAX_MS, True)


def test_the_bound_is_laid_on_the_corrected_time_not_on_the_one_shown():
    ahead_ms = 3 * DRIFT_MAX_MS
    assert touch_ms(5000 + ahead_ms, -ahead_ms, 5000) == (5000, False)
    assert touch_ms(5000, ahead_ms, 5000) == (5000 + DRIFT_MAX_MS, True)


def test_an_old_edit_keeps_its_own_time_however_late_it_is_sent():
    three_days_ms = 3 * 24 * 60 * MINUTE_MS
    assert touch_ms(1000, 0, 1000 + three_days_ms) == (1000, False)


@given(st.integers(), st.integers(), WALLS)
def test_no_touch_is_later_than_the_bound_and_only_held_ones_are_flagged(at, offset, stored):
    corrected, held = touch_ms(at, offset, stored)
    assert corrected <= stored + DRIFT_MAX_MS
    assert held == (at + offset > stored + DRIFT_MAX_MS)
    assert held or corrected == at + offset


@given(st.integers(), st.integers(), st.integers(), WALLS)
def test_two_touches_of_one_message_keep_their_order(one, other, offset, stored):
    early, late = sorted((one, other))
    assert touch_ms(early, offset, stored)[0] <= touch_ms(late, offset, stored)[0]


@given(st.integers(0, 2**41), st.integers(0, 60_000), st.integers(0, 60_000))
def test_clocks_that_agree_are_not_parted_by_a_slow_question_or_a_slow_answer(start, there, back):
    assert clock_offset_ms(start, start + there, start + there + back) == 0


@given(
    st.integers(0, 2**41), st.integers(0, 500), st.integers(0, 500), st.integers(-(10**7), 10**7)
)
def test_an_offset_is_measured_to_half_the_round_trip(start, there, back, ahead):
    measured = clock_offset_ms(start, start + there + ahead, start + there + back)
    assert abs(measured - ahead) <= there + back + 2
    assert (measured == 0) or (measured > 0) == (ahead > 0)


@given(
    st.integers(0, 2**41),
    st.integers(0, 60_000),
    st.integers(0, 60_000),
    st.integers(-(10**7), 10**7),
)
def test_a_slow_answer_does_not_spoil_what_a_fast_one_measured(start, there, back, ahead):
    measured = clock_offset_ms(start, start + there + ahead, start + there + back, known_ms=ahead)
    assert measured == ahead


def test_what_was_known_gives_way_where_an_answer_says_otherwise():
    assert clock_offset_ms(1_000, 1_005, 1_010, known_ms=500) == 0
    assert clock_offset_ms(1_000, 4_605, 1_010, known_ms=500) == 3_600
