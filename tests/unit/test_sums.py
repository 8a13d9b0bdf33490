"""Sums of buckets: no order matters, and no row is in two buckets or in none."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.sums import Cut, Sum, differing, digits_for, folded, instant_at, is_time, pieces, span

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001
sums = st.dictionaries(
    st.sampled_from("abcdef"), st.builds(Sum, st.integers(0, 9), st.integers(0, 2**64 - 1))
)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.randoms())
def test_a_sum_is_the_same_whatever_the_order_and_signs_of_its_hashes(hashes, chance):
    mixed = hashes[:]
    chance.shuffle(mixed)
    assert folded(sum(hashes)) == folded(sum(each % 2**64 for each in mixed))


@given(sums, sums)
def test_buckets_differ_exactly_where_either_end_holds_another_sum(one, other):
    same = {bucket for bucket in one.keys() & other.keys() if one[bucket] == other[bucket]}
    assert set(differing(one, other)) == (one.keys() | other.keys()) - same


@given(MOMENTS, MOMENTS)
def test_a_fact_lies_in_the_span_of_its_own_bucket_and_of_no_other(made, fresh):
    created = f"{made.isoformat(timespec='milliseconds')}Z"
    cut = Cut(minutes_from=fresh.isoformat()[:16])
    bucket = created[:10] if created < cut.minutes_from else created[:16]
    inside = span(bucket, cut)
    assert inside.since <= created < inside.before
    later = made + timedelta(days=1) if len(bucket) == 10 else made + timedelta(minutes=1)
    assert not inside.since <= later.isoformat() < inside.before


def test_a_day_ends_where_its_minutes_begin():
    cut = Cut(minutes_from="2026-11-26T10:45")
    assert span("2026-11-26", cut).before == "2026-11-26T10:45"
    assert span("2026-11-25", cut).before == "2026-11-26"
    assert span("2026-11-26T10:45", cut).before == "2026-11-26T10:46"


@given(st.lists(st.tuples(st.dates(), st.integers(1, 900)), unique_by=lambda d: d[0]))
def test_pieces_cover_all_of_time_once_and_hold_few_rows_each(days):
    ordered = sorted((f"{day:%Y-%m-%d}", rows) for day, rows in days)
    found = pieces(ordered, 1_000)
    assert found[0][0] == found[-1][1] == ""
    assert [before for _, before in found[:-1]] == [since for since, _ in found[1:]]
    for since, before in found:
        held = [rows for day, rows in ordered if since <= day and (not before or day < before)]
        assert sum(held) <= 1_000


def test_what_is_no_day_or_minute_is_no_bucket():
    assert is_time("2026-11-26")
    assert is_time("2026-11-26T10:45")
    for wrong in ("", "0000-99-99", "yesterday", "2026-11-26T25:00", "9999-12-31", "12", "x' OR"):
        assert not is_time(wrong)


def test_a_bound_is_its_first_moment_and_a_table_gets_more_buckets_as_it_grows():
    assert instant_at("2026-11-26") == "2026-11-26T00:00:00.000Z"
    assert instant_at("2026-11-26T10:45") == "2026-11-26T10:45:00.000Z"
    assert [digits_for(rows) for rows in (0, 2_000, 2_001, 50_001, 10**7)] == [1, 1, 2, 3, 3]
