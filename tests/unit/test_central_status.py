"""The verdict on the centre and its sites: each case is a picture, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.backlogs import Backlog
from central.backups import Backup, summary
from central.documents import to_json
from central.picture import TOUCHED_MAX, CentrePicture, Hello, Picture, SitePicture
from central.status import (
    AWAY,
    FEED_LAG_MAX,
    SCHEMA,
    UNDECIDED_CRITICAL,
    UNDECIDED_MAX,
    age,
    document,
    judge,
)
from shared.clock import DRIFT_MAX_MS
from shared.verdict import Level

NOW = datetime(2026, 11, 24, 11, 48, 24, tzinfo=UTC)
LITTLE = timedelta(seconds=1)

HELLO = Hello(
    at=NOW - timedelta(seconds=4),
    instance="host:/var/lib/mes/store.db",
    version="0.1.0",
    schema=3,
    epoch="e",
    n=120,
    acked_n=120,
    own_pos=40,
    shared_pos=7,
    needs_snapshot=False,
)
SITE = SitePicture(
    site="SITE_001",
    registered_at=NOW - timedelta(days=30),
    stopped_because=None,
    verified=True,
    hello=HELLO,
    clock_offset_ms=80,
    worker="host-12",
    epoch="e",
    last_n=120,
    safe_n=100,
    decided_at=NOW - timedelta(minutes=30),
    complete_through=HELLO.at,
    feed_pos=40,
    reviews_open=0,
    reviews_oldest_at=None,
    parked=0,
    waiting=0,
    refused=0,
    backlog=Backlog(messages=0, filled=0.1),
)
CENTRE = CentrePicture(
    workers=2,
    feed_runs=True,
    touched=0,
    unpublished=0,
    shared_pos=7,
    catalogue=3,
    catalogue_is_ours=True,
    broker_away_because="",
)


def verdict_on(*sites: SitePicture, centre: CentrePicture = CENTRE):
    return judge(Picture(at=NOW, centre=centre, sites=sites))


def codes(verdict) -> set[str]:
    sites = [reason.code for site in verdict.sites for reason in site.reasons]
    return {*(reason.code for reason in verdict.reasons), *sites}


def hello(**changed) -> Hello:
    return replace(HELLO, **changed)


def test_a_stream_that_the_broker_refuses_needs_a_person_of_one_site_or_of_all():
    refused = "UP_SITE_001: no room; lower MES_NATS_STREAM_MIB"
    verdict = verdict_on(replace(SITE, stream_refused=refused))
    (reason,) = verdict.sites[0].reasons
    assert (reason.code, reason.level, reason.message) == ("MES-STREAMS", Level.CRITICAL, refused)
    verdict = verdict_on(SITE, centre=replace(CENTRE, stream_refused="no room"))
    assert [r.message for r in verdict.reasons if r.code == "MES-STREAMS"] == ["DOWN: no room"]


def test_another_life_of_a_sites_store_is_told_from_another_store_that_speaks_for_it():
    why = "these are two lives of one store"
    lives = verdict_on(replace(SITE, claimed_by="host:/a", claimed_because=why)).sites[0]
    (reason,) = lives.reasons
    assert (reason.code, reason.level, reason.message) == ("MES-TWO-LIVES", Level.CRITICAL, why)
    assert (lives.words, "release" in reason.hint) == ("stopped", False)
    stores = verdict_on(replace(SITE, claimed_by="pc7:/copy.db")).sites[0]
    assert [each.code for each in stores.reasons] == ["MES-TWO-STORES"]


# --- backups ---------------------------------------------------------------------------------


def taken(name: str, hours_ago: float, **ended: bool) -> Backup:
    at = NOW - timedelta(hours=hours_ago)
    return Backup(name=name, begun_at=at, **{f"{mark}_at": at for mark in ended})


def about_backups(*backups: Backup) -> dict[str, str]:
    seen = replace(CENTRE, backups=summary(backups, late_hours=26))
    return {reason.code: reason.message for reason in verdict_on(SITE, centre=seen).reasons}


def test_backups_that_are_marked_in_time_need_no_word():
    assert not about_backups()
    old, new = taken("old", 99, finished=True), taken("new", 26, finished=True)
    assert not about_backups(old, new, taken("next", 0.5), taken("broken", 99, failed=True))


def test_while_no_backup_was_ever_finished_none_is_late():
    assert not about_backups(taken("first", 1))
    assert not about_backups(taken("first", 99, failed=True))


def test_the_newest_backup_is_named_when_it_gets_too_old():
    seen = about_backups(taken("a", 99, finished=True), taken("b", 26.1, finished=True))
    assert seen == {"MES-BACKUP-OLD": "the newest backup, b, is 26 h old"}


def test_it_is_said_that_all_backups_are_gone():
    gone = taken("a", 1, finished=True, gone=True)
    assert about_backups(gone) == {
        "MES-BACKUP-OLD": "no backup is left that may be restored: sites keep all that they send"
    }


def test_a_backup_of_which_nobody_said_how_it_ended_is_named():
    new = taken("b", 2, finished=True)
    seen = about_backups(taken("a", 30), new, taken("c", 29))
    assert seen == {
        "MES-BACKUP-UNENDED": "backup a was begun 30 h ago, and nobody said how it ended"
    }


# --- all is well -----------------------------------------------------------------------------


def test_a_site_in_touch_with_nothing_left_is_in_step():
    verdict = verdict_on(SITE)
    assert (verdict.level, verdict.words) == (Level.OK, "the site is in step")
    assert [site.words for site in verdict.sites] == ["in step"]
    assert not codes(verdict)


def test_a_site_whose_messages_are_being_applied_is_sending_and_well():
    busy = replace(SITE, backlog=Backlog(messages=12, filled=0.1), decided_at=NOW - LITTLE)
    assert [(s.words, s.level) for s in verdict_on(busy).sites] == [("sending", Level.OK)]


def test_what_was_drained_and_not_decided_shows_as_sending():
    assert verdict_on(replace(SITE, hello=hello(n=121))).sites[0].words == "sending"


def test_rows_that_wait_for_their_parent_are_no_fault():
    assert verdict_on(replace(SITE, waiting=5)).level is Level.OK


# --- reasons, one at a time ------------------------------------------------------------------

DEGRADED = [
    ("MES-NEVER-SEEN", replace(SITE, hello=None), "never seen"),
    ("MES-AWAY", replace(SITE, hello=hello(at=NOW - AWAY - LITTLE)), "away"),
    ("MES-UNVERIFIED", replace(SITE, verified=False), "unverified"),
    ("MES-CLOCK", replace(SITE, clock_offset_ms=DRIFT_MAX_MS + 1), "needs a look"),
    ("MES-CLOCK", replace(SITE, clock_offset_ms=-DRIFT_MAX_MS - 1), "needs a look"),
    ("MES-REVIEWS", replace(SITE, reviews_open=1), "needs a look"),
    ("MES-DIFFERS", replace(SITE, differing=2), "needs a look"),
    ("MES-SUMS", replace(SITE, sums_differing=2), "needs a look"),
    ("MES-SUMS-UNSEEN", replace(SITE, sums_why="canceled"), "needs a look"),
    ("MES-PARKED", replace(SITE, parked=1), "needs a look"),
    ("MES-REFUSED", replace(SITE, refused=1), "needs a look"),
    ("MES-WITHHELD", replace(SITE, withheld=1), "needs a look"),
    ("MES-STREAM-FULL", replace(SITE, backlog=Backlog(messages=0, filled=0.9)), "needs a look"),
    (
        "MES-UNDECIDED",
        replace(
            SITE,
            backlog=Backlog(messages=1, filled=0.1),
            decided_at=NOW - UNDECIDED_MAX - LITTLE,
        ),
        "behind",
    ),
    ("MES-FEED-LAG", replace(SITE, feed_pos=40 + FEED_LAG_MAX + 1), "behind"),
]


@pytest.mark.parametrize(("code", "site", "words"), DEGRADED)
def test_one_thing_out_of_order_degrades_the_site_and_tells_why(code, site, words):
    verdict = verdict_on(site)
    assert codes(verdict) == {code}
    assert [(s.words, s.level) for s in verdict.sites] == [(words, Level.DEGRADED)]
    assert (verdict.level, verdict.words) == (Level.DEGRADED, "1 of 1 site needs a look")


CRITICAL = [
    ("MES-NO-INGEST", replace(CENTRE, workers=0)),
    ("MES-NO-FEED", replace(CENTRE, feed_runs=False)),
    ("MES-BROKER", replace(CENTRE, broker_away_because="connection refused")),
]


@pytest.mark.parametrize(("code", "centre"), CRITICAL)
def test_without_one_of_its_parts_the_centre_is_critical(code, centre):
    verdict = verdict_on(SITE, centre=centre)
    assert (codes(verdict), verdict.level) == ({code}, Level.CRITICAL)
    assert verdict.words == verdict.reasons[0].message


def test_a_stopped_site_is_critical_and_names_the_way_out():
    verdict = verdict_on(replace(SITE, stopped_because="two stores speak for it"))
    assert (verdict.level, verdict.sites[0].words) == (Level.CRITICAL, "stopped")
    assert "sites release SITE_001" in verdict.sites[0].reasons[0].hint


def test_messages_that_wait_for_a_quarter_of_an_hour_are_critical():
    stuck = replace(
        SITE,
        backlog=Backlog(messages=1, filled=0.1),
        decided_at=NOW - UNDECIDED_CRITICAL - LITTLE,
        worker=None,
    )
    reason = verdict_on(stuck).sites[0].reasons[0]
    assert (reason.code, reason.level) == ("MES-UNDECIDED", Level.CRITICAL)
    assert "no worker has the site" in reason.message


def test_a_queue_to_the_feed_that_grows_and_another_catalogue_are_told():
    centre = replace(CENTRE, touched=TOUCHED_MAX + 1, catalogue_is_ours=False)
    verdict = verdict_on(SITE, centre=centre)
    assert codes(verdict) == {"MES-FEED-BEHIND", "MES-CATALOGUE"}
    assert verdict.level is Level.DEGRADED


def test_a_site_that_is_away_is_not_blamed_for_being_behind_as_well():
    away = replace(SITE, hello=hello(at=NOW - timedelta(days=9)), feed_pos=40 + FEED_LAG_MAX + 1)
    assert codes(verdict_on(away)) == {"MES-AWAY"}


def test_a_backlog_that_nobody_knows_is_not_taken_for_none():
    site = replace(SITE, backlog=None, decided_at=NOW - timedelta(days=1))
    centre = replace(CENTRE, broker_away_because="connection refused")
    verdict = verdict_on(site, centre=centre)
    assert document(verdict)["sites"][0]["backlog"] is None
    assert codes(verdict) == {"MES-BROKER"}


# --- the whole -------------------------------------------------------------------------------


def test_the_worst_site_comes_first():
    sites = [
        replace(SITE, site="A"),
        replace(SITE, site="B", parked=1),
        replace(SITE, site="C", stopped_because="a fork"),
        replace(SITE, site="D", parked=1, refused=1),
    ]
    verdict = verdict_on(*sites)
    assert [each.picture.site for each in verdict.sites] == ["C", "D", "B", "A"]
    assert verdict.level is Level.CRITICAL


def test_the_lag_counts_both_feeds_and_never_below_none():
    behind = replace(SITE, hello=hello(own_pos=30, shared_pos=5))
    ahead = replace(SITE, hello=hello(own_pos=99, shared_pos=7))
    assert behind.feed_lag(shared_pos=7) == 12
    assert ahead.feed_lag(shared_pos=7) == 0
    assert replace(SITE, hello=None).feed_lag(shared_pos=7) is None


def test_the_document_names_what_programs_rely_on():
    found = json.loads(to_json(document(verdict_on(replace(SITE, parked=2)))))
    assert (found["schema"], found["status"], found["exit_code"]) == (SCHEMA, "degraded", 1)
    assert found["generated_at"] == "2026-11-24T11:48:24.000Z"
    assert found["reasons"] == [
        {
            "code": "MES-PARKED",
            "severity": "degraded",
            "message": "2 rows could not be applied",
            "hint": "mes-central parked list --site SITE_001",
            "site": "SITE_001",
        }
    ]
    site = found["sites"][0]
    assert {
        "site", "verdict", "status", "hello", "backlog", "decided_at", "complete_through",
        "feed_lag", "reviews_open", "parked", "waiting", "clock_offset_ms", "safe_n", "last_n",
        "unsafe", "epoch", "reasons", "protected_through",
    } <= set(site)  # fmt: skip
    assert (site["unsafe"], site["feed_lag"]) == (20, 0)
    assert found["centre"]["backups"]["restorable"] == 0


@given(st.integers(0, 10**8))
def test_an_age_is_short_and_never_off_by_more_than_its_last_unit(seconds):
    units = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
    words = age(timedelta(seconds=seconds)).split()
    said = sum(int(n) * units[u] for n, u in zip(words[::2], words[1::2], strict=True))
    smaller = {"d": 3_600, "h": 60, "min": 1, "s": 1}[words[1]]
    assert said <= seconds < said + smaller
    assert len(words) <= 4


sites = st.builds(
    replace,
    st.just(SITE),
    hello=st.one_of(st.none(), st.builds(hello, n=st.integers(0, 500))),
    parked=st.integers(0, 3),
    refused=st.integers(0, 3),
    reviews_open=st.integers(0, 3),
    stopped_because=st.one_of(st.none(), st.just("a fork")),
    clock_offset_ms=st.integers(-(10**6), 10**6),
    backlog=st.one_of(
        st.none(), st.builds(Backlog, messages=st.integers(0, 9), filled=st.just(0.9))
    ),
)


@given(st.lists(sites, max_size=5))
def test_the_exit_code_is_that_of_the_worst_reason(some):
    verdict = verdict_on(*some)
    levels = [reason.level for site in verdict.sites for reason in site.reasons]
    assert verdict.level == max(levels, default=Level.OK)
    assert document(verdict)["exit_code"] == int(verdict.level)
