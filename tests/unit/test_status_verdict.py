from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.cli.status import lines
from edge.picture import (
    Agent,
    Backlog,
    Centre,
    Clock,
    Compared,
    Conflicts,
    Feed,
    Kept,
    Picture,
    Protected,
    Space,
    Unapplied,
)
from edge.reasons import PAGES
from edge.verdict import document, judge
from shared.verdict import Level

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000_000
MINUTE = 60_000
WELL = Picture(
    at_ms=NOW,
    store="/var/lib/mes/F07.db",
    site="F07",
    agent=Agent(
        running=True,
        connected=True,
        since_ms=NOW - 60 * MINUTE,
        told_ms=NOW,
        met_ms=NOW - 9_000,
        version="0.1.0",
        rtt_ms=4.0,
        servers=("nats://centre:4222",),
    ),
    centre=Centre(last_n=7, decided_n=7, decided_at_ms=NOW - 1000),
    kept=Kept(safe_n=7),
    clock=Clock(offset_ms=80, measured_at_ms=NOW - 9_000),
    space=Space(store_bytes=10**6, free_bytes=50 * 10**9, disk_bytes=100 * 10**9),
)


def agent(**changed: Any) -> Agent:
    return replace(WELL.agent, **changed)


def codes(picture: Picture) -> list[str]:
    return [reason.code for reason in judge(picture).reasons]


def test_a_site_in_step_is_ok_and_has_nothing_to_say():
    verdict = judge(WELL)
    assert (verdict.level, verdict.words, verdict.reasons) == (
        Level.OK,
        "in step with the centre",
        (),
    )


CASES: dict[str, tuple[dict[str, Any], Level, str]] = {
    "MES-STOPPED": ({"stopped_because": "fork at 7"}, Level.CRITICAL, "stopped, a person"),
    "MES-AGENT-DOWN": ({"agent": Agent(running=False)}, Level.CRITICAL, "not running"),
    "MES-STORE-DAMAGED": (
        {"agent": Agent(running=False, damaged="the file is damaged")},
        Level.CRITICAL,
        "not running",
    ),
    "MES-AGENT-FAILED": (
        {"agent": agent(failure="KeyError: x", failed_ms=NOW - MINUTE)},
        Level.DEGRADED,
        "needs a look",
    ),
    "MES-REFUSED": (
        {"agent": agent(connected=False, refused="the broker refuses the credentials of F07")},
        Level.CRITICAL,
        "refused by the broker, working locally",
    ),
    "MES-OFFLINE": (
        {"agent": agent(connected=False, last_error="timeout")},
        Level.DEGRADED,
        "offline, working locally",
    ),
    "MES-CENTRE-SILENT": (
        {"agent": agent(met_ms=NOW - 4 * MINUTE)},
        Level.DEGRADED,
        "the centre does not answer",
    ),
    "MES-NOT-AGREED": (
        {"agent": agent(met_ms=NOW - 4 * MINUTE, apart="the centre knows 3 only")},
        Level.DEGRADED,
        "not agreed with the centre",
    ),
    "MES-DRAIN-STUCK": (
        {"backlog": Backlog(undrained_rows=1, undrained_since_ms=NOW - 2 * MINUTE)},
        Level.CRITICAL,
        "needs a look",
    ),
    "MES-BACKLOG-OLD": (
        {"backlog": Backlog(transactions=1, oldest_ms=NOW - 11 * MINUTE)},
        Level.DEGRADED,
        "needs a look",
    ),
    "MES-SNAPSHOT": (
        {"feed": Feed(needs_snapshot=True, snapshot_chunks=3)},
        Level.DEGRADED,
        "loading the centre's state",
    ),
    "MES-FEED-WAITS": (
        {"feed": Feed(waits_since_ms=NOW - 2 * MINUTE)},
        Level.DEGRADED,
        "needs a look",
    ),
    "MES-REVIEWS": ({"conflicts": Conflicts(open=1)}, Level.DEGRADED, "needs a look"),
    "MES-PARKED": ({"unapplied": Unapplied(parked=1)}, Level.DEGRADED, "needs a look"),
    "MES-DIFFERS": ({"compared": Compared(differing=2)}, Level.DEGRADED, "needs a look"),
    "MES-CAPTURE-LOST": (
        {"compared": Compared(uncaptured=("work_orders",))},
        Level.DEGRADED,
        "needs a look",
    ),
    "MES-ASIDE": ({"unapplied": Unapplied(aside={"unique": 2})}, Level.DEGRADED, "needs a look"),
    "MES-CLOCK": ({"clock": Clock(offset_ms=-6_000)}, Level.DEGRADED, "needs a look"),
    "MES-DISK-LOW": (
        {"space": Space(free_bytes=9 * 10**9, disk_bytes=10**11)},
        Level.DEGRADED,
        "needs a look",
    ),
    "MES-DISK-READ-ONLY": ({"space": replace(WELL.space, read_only=True)}, Level.CRITICAL, "look"),
    "MES-DISK-FULL": ({"space": replace(WELL.space, facts_refused=True)}, Level.CRITICAL, "look"),
    "MES-BACKUP-OLD": (
        {"protected": Protected(marked=True, why="the newest backup, tue, is 27 h old")},
        Level.DEGRADED,
        "needs a look",
    ),
    "MES-KEPT-LONG": (
        {"kept": Kept(oldest_n=1, oldest_ms=NOW - 15 * 1440 * MINUTE)},
        Level.DEGRADED,
        "needs a look",
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_each_thing_that_can_be_wrong_has_its_code_level_and_words(code: str):
    changed, level, words = CASES[code]
    verdict = judge(replace(WELL, **changed))
    assert [reason.code for reason in verdict.reasons] == [code]
    assert verdict.level == level
    assert words in verdict.words
    assert all(reason.hint for reason in verdict.reasons)


def test_every_code_of_a_status_has_a_case_here():
    shown = {page.code for page in PAGES.values() if page.shown}
    assert shown == {*CASES, "MES-STORE-UNREADABLE"}


@pytest.mark.parametrize(
    "changed",
    [
        {"backlog": Backlog(transactions=1, oldest_ms=NOW - 61 * MINUTE)},
        {"clock": Clock(offset_ms=301_000)},
        {"space": Space(free_bytes=10**9, disk_bytes=10**11)},
        {"space": Space(free_bytes=10**8, disk_bytes=2 * 10**9)},
    ],
)
def test_what_grows_worse_becomes_critical(changed: dict[str, Any]):
    assert judge(replace(WELL, **changed)).level is Level.CRITICAL


@pytest.mark.parametrize(
    "changed",
    [
        {"backlog": Backlog(transactions=9, oldest_ms=NOW - 9 * MINUTE)},
        {"backlog": Backlog(undrained_rows=9, undrained_since_ms=NOW - 30_000)},
        {"clock": Clock(offset_ms=-4_999)},
        {"agent": agent(failure="KeyError: x", failed_ms=NOW - 61 * MINUTE)},
        {"agent": agent(met_ms=None, since_ms=NOW - MINUTE)},
        {"unapplied": Unapplied(waiting=3, aside={"parked": 4, "left": 1})},
        {"conflicts": Conflicts(decided_today={"last_write": 41})},
        {"kept": Kept(oldest_n=1, oldest_ms=NOW - 13 * 1440 * MINUTE)},
        {
            "kept": Kept(oldest_n=1, oldest_ms=NOW - 30 * 1440 * MINUTE),
            "protected": Protected(marked=True),
        },
        {"space": Space()},
    ],
)
def test_what_is_within_its_bounds_is_ok(changed: dict[str, Any]):
    assert judge(replace(WELL, **changed)).level is Level.OK


def test_a_site_that_is_cut_off_is_not_blamed_for_its_backlog():
    offline = replace(
        WELL,
        agent=agent(connected=False),
        backlog=Backlog(transactions=99, oldest_ms=NOW - 9 * 1440 * MINUTE),
        kept=Kept(oldest_n=1, oldest_ms=NOW - 99 * 1440 * MINUTE),
    )
    assert (judge(offline).level, codes(offline)) == (Level.DEGRADED, ["MES-OFFLINE"])


def test_a_site_that_is_cut_off_does_not_warn_of_backups_that_it_hears_nothing_of():
    told = Protected(marked=True, why="the newest backup, tue, is 27 h old")
    assert codes(replace(WELL, agent=agent(connected=False), protected=told)) == ["MES-OFFLINE"]


def test_a_dead_agent_is_not_blamed_for_what_it_does_not_take_up():
    dead = replace(
        WELL,
        agent=Agent(running=False),
        backlog=Backlog(undrained_rows=1, undrained_since_ms=NOW - 9 * MINUTE),
    )
    assert codes(dead) == ["MES-AGENT-DOWN"]


def test_the_gravest_reason_comes_first():
    picture = replace(WELL, conflicts=Conflicts(open=1), clock=Clock(offset_ms=400_000))
    assert codes(picture) == ["MES-CLOCK", "MES-REVIEWS"]


@pytest.mark.parametrize("code", CASES)
def test_a_status_for_people_is_ascii_and_fits_the_screen(code: str):
    for line in lines(judge(replace(WELL, **CASES[code][0]))):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        assert plain.isascii()
        assert len(plain) <= 100, plain


def test_a_status_for_people_says_verdict_why_and_what_to_type_next():
    text = [*lines(judge(replace(WELL, conflicts=Conflicts(open=2, oldest_ms=NOW - MINUTE))))]
    assert "F07: connected, needs a look" in text[0]
    assert "2 need a person, oldest 1 min" in text[5]
    assert "MES-REVIEWS" in text[-2]
    assert text[-1] == "  next      mes-sync conflicts list"


def test_the_status_shows_what_is_protected_and_until_when():
    safe = [*lines(judge(WELL))]
    assert "everything up to transaction 7 is safe" in safe[7]
    kept = replace(WELL, kept=Kept(safe_n=4, transactions=3, oldest_n=5, oldest_ms=NOW - MINUTE))
    assert (
        "safe up to 4; 3 kept here until they are, the oldest of 2023-" in [*lines(judge(kept))][7]
    )


@pytest.mark.parametrize("through_ms", [NOW - 400 * MINUTE, None])
def test_where_backups_are_marked_the_status_shows_until_when_the_oldest_protects(through_ms):
    kept = Kept(safe_n=1_188_002, transactions=12_343, oldest_n=5, oldest_ms=NOW - 399 * MINUTE)
    told = Protected(marked=True, through_ms=through_ms, newest_ms=NOW)
    line = [*lines(judge(replace(WELL, kept=kept, protected=told)))][7]
    assert ("until 2023-11-14 " in line) is (through_ms is not None)
    assert ", safe up to 1 188 002; 12 343 kept, the oldest 6 h 39 min" in line
    assert len(line) <= 100


def test_the_clock_line_shows_offset_and_drift_bound():
    text = [*lines(judge(replace(WELL, clock=Clock(offset_ms=-7200, measured_at_ms=NOW))))]
    assert "7.2 s ahead of the centre's" in text[9]
    assert "counts up to 5 min" in text[9]


def test_the_document_for_programs_holds_all_of_it():
    found = json.loads(json.dumps(document(judge(replace(WELL, conflicts=Conflicts(open=1))))))
    assert found["schema"] == "mes-sync.status/v1"
    assert (found["status"], found["exit_code"]) == ("degraded", 1)
    assert found["reasons"][0]["code"] == "MES-REVIEWS"
    assert found["agent"]["connected"] is True
    assert found["kept"]["safe_n"] == 7
    assert found["protected"] == {"marked": False, "through_ms": None, "newest_ms": None, "why": ""}


def test_every_code_that_the_edge_may_show_is_explained():
    used = set()
    for path in (ROOT / "edge").rglob("*.py"):
        used |= set(re.findall(r'"(MES-[A-Z-]+)"', path.read_text(encoding="utf-8")))
    assert used == set(PAGES)


def test_the_documentation_lists_every_code():
    text = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(MES-[A-Z-]+)`", text)) >= set(PAGES)


def test_an_old_backlog_tells_why_the_broker_does_not_take_it():
    backlog = Backlog(transactions=1, oldest_ms=NOW - 11 * MINUTE)
    full = agent(not_taken="the stream takes no more: maximum bytes exceeded")
    (reason,) = judge(replace(WELL, backlog=backlog, agent=full)).reasons
    assert reason.code == "MES-BACKLOG-OLD"
    assert reason.message == (
        "the oldest write without a decision is 11 min old; the broker does not take it: the stream"
        " takes no more: maximum bytes exceeded"
    )
