"""The soak's own judgement: that it would see what it is there to see."""

from __future__ import annotations

import random
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from tests.soak.ledger import Ledger
from tests.soak.plan import JUDGED_FROM_S, Kind, schedule
from tests.soak.report import Report
from tests.soak.run import times_of
from tests.soak.samples import CENTRAL, EDGE, Process, Sample, folder_mb
from tests.soak.tables import CENTRAL_RULES, EDGE_RULES, RULES, Empty, Stays
from tests.soak.verdict import KINDS, bounds, kind_of, slopes, theil_sen, unjudged, unruled
from tests.unit.test_retention_is_told import tables

if TYPE_CHECKING:
    from collections.abc import Callable

#: Half an hour with thirty sites, which is what is promised to find leaks.
SITES = tuple(f"SITE_{number:03}" for number in range(1, 31))
SECONDS = 1800
TIMES = times_of(SECONDS)
EVERY_S = 15
PROGRAMS = (SITES[0], "ingest-1", "feed", "broker", "postgres")


def sample(at_s: float, *, own: float = 50.0, pid: int = 1, name: str = "feed") -> Sample:
    return Sample(at_s=at_s, processes={name: Process(pid, own, own)})


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


# --- memory --------------------------------------------------------------------------------------


def seen_for(
    seconds: int, mb_a_minute: float, name: str = "SITE_001", mb: float = 40
) -> list[Sample]:
    """Return samples of one life of a program that leaks, and breathes as one does."""
    return [
        sample(at, own=mb + at % 70 / 100 + mb_a_minute * at / 60, name=name)
        for at in range(0, seconds, EVERY_S)
    ]


@pytest.mark.parametrize(("name", "mb"), [("SITE_001", 40), ("ingest-1", 100), ("feed", 80)])
def test_half_a_megabyte_a_minute_is_found_in_half_an_hour_and_what_is_flat_passes(name, mb):
    # The feed has no longer a life than the stretch without kills.
    seconds = 1080 if name == "feed" else SECONDS
    assert [each.flat for each in slopes(seen_for(seconds, 0.5, name, mb))] == [False]
    assert [each.flat for each in slopes(seen_for(seconds, 0.0, name, mb))] == [True]


def test_a_shorter_look_finds_a_larger_leak():
    assert [slopes(seen_for(600, rate))[0].flat for rate in (0.0, 0.5, 0.7)] == [True, True, False]


def test_a_start_and_a_short_life_are_not_judged():
    steep = [sample(t, own=50 + t) for t in range(0, 90, 10)]
    assert slopes(steep) == []
    reborn = [sample(t, own=50, pid=t // 100) for t in range(0, 600, 10)]
    assert slopes(reborn) == []


def test_the_servers_have_more_leeway_and_no_end_of_it():
    assert [slopes(seen_for(SECONDS, rate, "broker"))[0].flat for rate in (1.5, 4.0)] == [
        True, False,
    ]  # fmt: skip


def test_one_outlier_does_not_make_a_slope():
    points = [(float(t), 50.0) for t in range(20)]
    assert theil_sen([*points, (20.0, 500.0)]) == 0.0


def test_every_program_is_of_a_kind():
    assert {kind_of(name) for name in PROGRAMS} == set(KINDS)


# --- tables --------------------------------------------------------------------------------------


def run_with(table: str = "", rows: Callable[[int], float] = float, sites: int = 30) -> Report:
    """Return a run of half an hour in which all is flat, but for one table."""
    report = Report(1, SECONDS, sites, TIMES)
    for at in range(0, SECONDS + 1, EVERY_S):
        counts = dict.fromkeys(RULES, 0) | ({table: int(rows(at))} if table else {})
        ends = {
            end: {name.split(" ", 1)[1]: n for name, n in counts.items() if name.startswith(end)}
            for end in ("central", "edge")
        }
        report.samples.append(
            Sample(
                at_s=at, processes={name: Process(1, 50, 50) for name in PROGRAMS},
                central=ends["central"], edge=ends["edge"], writes=17 * at,
            )
        )  # fmt: skip
    report.judge()
    return report


def test_every_table_of_the_bookkeeping_says_how_it_is_bounded():
    centre = {name.removeprefix("sync.") for name in tables("central")}
    edge = {name.removeprefix("_sync_") for name in tables("edge")}
    assert centre | CENTRAL.keys() == CENTRAL_RULES.keys()
    assert edge | EDGE.keys() | {"logs"} == EDGE_RULES.keys()


def test_a_run_in_which_nothing_grows_passes():
    assert run_with().violations == []


@pytest.mark.parametrize("table", RULES)
def test_a_table_that_grows_with_the_load_is_found_in_half_an_hour(table):
    # A row for each write; of deletions, which stay at a site for 90 days, more than the load has.
    rate = 100 if table == "edge deletions" else 17
    (found,) = run_with(table, lambda at: rate * at).violations
    assert found.startswith(table)


@pytest.mark.parametrize("table", [name for name, rule in RULES.items() if isinstance(rule, Stays)])
def test_what_is_never_pruned_is_found_at_a_row_in_two_seconds(table):
    assert run_with(table, lambda at: at / 2).violations


@pytest.mark.parametrize("table", [name for name, rule in RULES.items() if isinstance(rule, Stays)])
def test_what_is_pruned_in_time_passes_though_upkeep_comes_by_the_minute(table):
    kept_s = RULES[table].kept_s(TIMES)

    def rows(at: int) -> float:
        return 17 * min(at, kept_s - 60 + at % 60)

    assert run_with(table, rows).violations == []


@pytest.mark.parametrize("table", [name for name, rule in RULES.items() if isinstance(rule, Empty)])
def test_what_is_under_way_must_be_gone_in_the_end(table):
    assert run_with(table, lambda at: 500 if at < SECONDS else 0).violations == []
    assert run_with(table, lambda at: 3).violations == [f"{table} holds 3 rows, 0 are allowed"]


def test_a_table_that_nobody_has_thought_of_is_a_violation():
    report = run_with("central rollup")
    assert unruled(report.samples) == ["central rollup"]
    assert report.violations == ["nobody says how central rollup is bounded"]


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_kind_of_program_that_was_always_killed_is_told_and_fails_a_long_run(kind):
    report = run_with()
    for number, each in enumerate(report.samples):
        each.processes[kind] = Process(number // 5, 50, 50)
    report.judge()
    assert report.violations == [f"memory of {kind_of(kind)} was not judged"]


def test_a_short_run_says_what_it_does_not_judge_and_passes():
    report = run_with()
    report.seconds = 120
    report.samples = [each for each in report.samples if each.at_s <= 120]
    report.judge()
    assert report.passed
    assert {"memory of feed", "central applied", "edge out"} <= set(report.unjudged)
    assert "**Not judged**, for want of time: memory of agent" in report.text()
    assert "central site" not in report.unjudged
    report.seconds = JUDGED_FROM_S
    report.judge()
    assert "central applied was not judged" in report.violations


def test_a_run_of_ten_minutes_is_long_enough_for_every_table():
    samples = [each for each in run_with().samples if each.at_s <= 600]
    report = Report(1, 600, 30, times_of(600), samples=samples)
    assert unjudged(report.samples, report.times, report.met) == []
    assert len(bounds(report.samples, report.times, report.met)) == len(RULES)


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
    assert {fault.kind for fault in once} == set(Kind)


@pytest.mark.parametrize("seconds", [600, 1800])
@pytest.mark.parametrize("seed", range(10))
def test_each_kind_of_program_lives_long_enough_to_be_judged(seed, seconds):
    faults = schedule(random.Random(seed), seconds=seconds, sites=SITES, workers=2)
    assert {fault.kind for fault in faults} == set(Kind)
    killed = [f for f in faults if "kill" in f.kind or f.kind is Kind.RESTART_POSTGRES]
    every_s = min(15.0, seconds / 60)
    samples = []
    for number in range(int(seconds / every_s) + 1):
        at = number * every_s
        pids = {name: sum(f.target == name and f.at_s < at for f in killed) for name in PROGRAMS}
        samples.append(
            Sample(at_s=at, processes={name: Process(pid, 50, 50) for name, pid in pids.items()})
        )
    over_s = dict.fromkeys(KINDS, 0.0)
    for each in slopes(samples):
        over_s[kind_of(each.name)] = max(over_s[kind_of(each.name)], each.over_s)
    assert min(over_s.values()) >= (200 if seconds == 600 else 600)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_faults_hit_the_same_thing_at_a_time(seed):
    ends: dict[str, float] = {}
    for fault in schedule(random.Random(seed), seconds=300, sites=SITES, workers=2):
        assert fault.at_s >= ends.get(fault.target, 0.0)
        ends[fault.target] = fault.ends_s


def test_a_folder_is_measured_while_folders_in_it_go(tmp_path):
    def come_and_go() -> None:
        while not is_over.is_set():
            (tmp_path / "a" / "b").mkdir(parents=True)
            (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 5000)
            shutil.rmtree(tmp_path / "a")

    is_over = threading.Event()
    (tmp_path / "stays").write_bytes(b"x" * 1_000_000)
    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert {round(folder_mb(tmp_path)) for _ in range(2_000)} == {1}
    finally:
        is_over.set()
        other.join()
