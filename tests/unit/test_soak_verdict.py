"""The soak's own judgement: that it would see what it is there to see."""

from __future__ import annotations

import random

import pytest

from tests.soak.ledger import Ledger
from tests.soak.plan import Kind, schedule
from tests.soak.report import Report
from tests.soak.samples import Process, Sample
from tests.soak.system import Times
from tests.soak.verdict import bounds, left_over, slopes, theil_sen

TIMES = Times(safe_s=20, feed_s=100, versions_s=60, history_s=60)
SITES = ("SITE_001", "SITE_002")


def sample(at_s: float, *, own: float = 50.0, pid: int = 1, **tables: int) -> Sample:
    central = {name: rows for name, rows in tables.items() if name != "out"}
    return Sample(
        at_s=at_s, processes={"feed": Process(pid, own, own)}, central=central,
        edge={"out": tables.get("out", 0)},
    )  # fmt: skip


# --- what was written ----------------------------------------------------------------------------


def written(*pairs: tuple[str, str | None]) -> Ledger:
    ledger = Ledger()
    for text, saw in pairs:
        ledger.note(text, saw)
    return ledger


def test_a_write_that_stands_or_was_seen_by_one_that_stands_is_accounted_for():
    ledger = written(("A w1", None), ("A w2", "A w1"), ("CENTRE w3", "A w2"))
    assert ledger.unaccounted(["CENTRE w3"]) == []


def test_a_write_that_was_overwritten_unseen_is_missed_until_a_record_names_it():
    ledger = written(("A w1", None), ("A w2", "A w1"), ("CENTRE w3", "A w1"))
    assert ledger.unaccounted(["CENTRE w3"]) == ["A w2"]
    ledger.record(['{"notes": "A w2"}'])
    assert ledger.unaccounted(["CENTRE w3"]) == []


def test_only_a_write_of_unknown_outcome_may_be_gone():
    ledger = written(("A w1", None))
    ledger.note("CENTRE w2", "A w1", sure=False)
    assert ledger.unaccounted(["A w1"]) == []
    assert ledger.unaccounted([]) == ["A w1"]


@pytest.mark.parametrize(("shown", "wrong"), [(3, 0), (4, 0), (2, 1), (5, 1), (None, 1)])
def test_a_counter_shows_what_was_counted_and_at_most_what_perhaps_was(shown, wrong):
    ledger = Ledger()
    ledger.count("m", 3)
    ledger.count("m", 1, sure=False)
    assert len(ledger.miscounted({} if shown is None else {"m": shown})) == wrong


# --- memory and tables ---------------------------------------------------------------------------


def test_memory_that_grows_steadily_is_no_longer_flat():
    flat = [sample(t, own=50 + t % 7 / 10) for t in range(0, 600, 10)]
    leaky = [sample(t, own=50 + t / 40) for t in range(0, 600, 10)]
    assert [each.flat for each in slopes(flat)] == [True]
    assert [each.flat for each in slopes(leaky)] == [False]


def test_a_start_and_a_short_life_are_not_judged():
    steep = [sample(t, own=50 + t) for t in range(0, 90, 10)]
    assert slopes(steep) == []
    reborn = [sample(t, own=50, pid=t // 100) for t in range(0, 600, 10)]
    assert slopes(reborn) == []


def test_the_servers_have_more_leeway_and_no_end_of_it():
    def grown(name: str, mb_in_ten_minutes: float) -> bool:
        points = [
            Sample(at_s=t, processes={name: Process(1, 50, 50 + t * mb_in_ten_minutes / 600)})
            for t in range(0, 600, 10)
        ]
        return slopes(points)[0].flat

    assert [grown(name, 15) for name in ("broker", "feed")] == [True, False]
    assert not grown("broker", 40)


def test_one_outlier_does_not_make_a_slope():
    points = [(float(t), 50.0) for t in range(20)]
    assert theil_sen([*points, (20.0, 500.0)]) == 0.0


def test_a_table_that_goes_on_growing_when_its_rows_have_come_of_age_is_told():
    bounded = [sample(t, feed=1000 + t % 50, out=100) for t in range(0, 900, 10)]
    growing = [sample(t, feed=10 * t, out=100) for t in range(0, 900, 10)]
    assert {each.table: each.held for each in bounds(bounded, TIMES)}["central feed"]
    assert not {each.table: each.held for each in bounds(growing, TIMES)}["central feed"]


def test_a_run_too_short_for_a_table_says_nothing_of_it():
    assert bounds([sample(t, feed=10 * t) for t in range(0, 200, 10)], TIMES) == [
        each for each in bounds([sample(t) for t in range(0, 200, 10)], TIMES)
        if each.table == "edge out"
    ]  # fmt: skip


def test_what_is_under_way_must_be_gone_in_the_end():
    assert left_over(sample(1, touched=0)) == []
    assert left_over(sample(1, touched=3)) == ["central touched holds 3 rows"]


def test_a_report_with_a_violation_has_failed_and_names_the_seed():
    report = Report(7, 60, 4, TIMES, samples=[sample(t, own=t) for t in range(0, 600, 10)])
    assert report.passed
    report.judge()
    assert not report.passed
    assert "SEED=7" in report.text()
    assert report.document()["violations"]


# --- the schedule --------------------------------------------------------------------------------


def test_a_seed_repeats_its_faults_and_every_kind_comes():
    once, again, other = (
        schedule(random.Random(seed), seconds=120, sites=SITES, workers=2) for seed in (1, 1, 2)
    )
    assert once == again != other
    assert {fault.kind for fault in once} >= set(Kind) - {Kind.PURGE_UP, Kind.CUT_LINK}


@pytest.mark.parametrize("seed", range(20))
def test_no_two_faults_hit_the_same_thing_at_a_time(seed):
    ends: dict[str, float] = {}
    for fault in schedule(random.Random(seed), seconds=300, sites=SITES, workers=2):
        assert fault.at_s >= ends.get(fault.target, 0.0)
        ends[fault.target] = fault.ends_s
