"""How often each may ask: a burst, then a steady rate, whoever else asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.api.rates import BUCKETS_MAX, BURST_S, Rates, TooOften


def taken(rates: Rates, who: str, at_s: float, times: int) -> int:
    """Ask so often at one instant; return how often it was granted."""
    granted = 0
    for _ in range(times):
        try:
            rates.take(who, at_s)
        except TooOften:
            continue
        granted += 1
    return granted


def test_four_seconds_worth_may_come_at_once_and_then_the_rate():
    rates = Rates(50)
    assert taken(rates, "key a", 0, 500) == 50 * BURST_S == 200
    assert taken(rates, "key a", 1, 500) == 50
    assert taken(rates, "key a", 100, 500) == 200


def test_who_asks_too_often_is_told_when_to_ask_again_and_is_answered_then():
    rates = Rates(2)
    taken(rates, "key a", 0, 8)
    with pytest.raises(TooOften) as told:
        rates.take("key a", 0)
    assert told.value.after_s == 0.5
    rates.take("key a", 0.5)


def test_one_that_asks_too_often_takes_nothing_from_another():
    rates = Rates(1)
    taken(rates, "key a", 0, 100)
    assert taken(rates, "key b", 0, 4) == 4


def test_zero_is_no_limit():
    assert taken(Rates(0), "key a", 0, 10_000) == 10_000


def test_those_who_asked_least_lately_are_forgotten_and_nobody_else():
    rates = Rates(1)
    taken(rates, "busy", 0, 100)
    for number in range(BUCKETS_MAX + 50):
        rates.take(f"key {number}", 0)
        taken(rates, "busy", 0, 1)
    assert len(rates._buckets) == BUCKETS_MAX
    assert taken(rates, "busy", 0, 10) == 0


@given(st.lists(st.floats(0, 5), max_size=60), st.sampled_from([0.5, 1.0, 3.0]))
def test_no_more_is_granted_than_a_burst_and_the_rate_since(pauses, per_s):
    rates, at_s, granted = Rates(per_s), 0.0, 0
    for pause in pauses:
        at_s += pause
        granted += taken(rates, "key a", at_s, 3)
    assert granted <= max(1.0, per_s * BURST_S) + per_s * at_s + 1e-6
