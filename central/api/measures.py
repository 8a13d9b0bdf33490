"""Gauges that are read out of the database whenever somebody asks for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Gauge

from central import metrics

if TYPE_CHECKING:
    from datetime import datetime

    from central.picture import SitePicture
    from central.status import Verdict

FRESH: Final = Gauge("mes_central_status_fresh", "Whether the gauges of the database are of now")
LEVEL: Final = Gauge("mes_central_level", "Verdict: 0 ok, 1 degraded, 2 critical")
SITE_LEVEL: Final = Gauge("mes_central_site_level", "Verdict on the site, as above", ["site"])
WORKERS: Final = Gauge("mes_central_ingest_workers", "Ingest workers that are alive")
BROKER: Final = Gauge("mes_central_broker_up", "Whether the broker answers")
TOUCHED: Final = Gauge("mes_central_touched_rows", "Changed rows that are in no feed yet")
UNPUBLISHED: Final = Gauge("mes_central_unpublished_entries", "Entries that are not sent yet")
HELLO_AGE: Final = Gauge("mes_central_hello_age_seconds", "Age of the last hello", ["site"])
FEED_LAG: Final = Gauge("mes_central_feed_lag_entries", "Entries not passed at hello", ["site"])
REVIEWS: Final = Gauge("mes_central_reviews_open", "Conflicts that wait for a person", ["site"])
PARKED_ROWS: Final = Gauge("mes_central_parked_rows", "Rows not applied", ["site", "state"])
CLOCK: Final = Gauge("mes_central_clock_offset_seconds", "Centre's clock minus ours", ["site"])
UNSAFE: Final = Gauge("mes_central_unsafe_transactions", "Kept at the edge for a restore", ["site"])
PROTECTED: Final = Gauge(
    "mes_central_protected_age_seconds",
    "Since when a site's writes are not in each backup that may be restored",
    ["site"],
)
BACKUPS: Final = Gauge("mes_central_backups_restorable", "Backups marked that may be restored")
BACKUP_AGE: Final = Gauge(
    "mes_central_backup_age_seconds", "Age of backups that may be restored", ["which"]
)
BACKUP_LATE: Final = Gauge("mes_central_backup_late", "1 while the status warns of the backups")
COMPARE_AGE: Final = Gauge("mes_central_compare_age_seconds", "Since all was compared", ["site"])
DIFFERING: Final = Gauge("mes_central_compare_differing_rows", "Rows that differ", ["site"])
SUMS: Final = Gauge(
    "mes_central_rollup_differing_rows", "Sums of reports that are not those of the facts", ["site"]
)
STREAM: Final = Gauge("mes_central_stream_filled_ratio", "Room taken in the stream", ["site"])


def measure(verdict: Verdict | None) -> None:
    """Set the gauges; with None, say that they are old."""
    FRESH.set(float(verdict is not None))
    if verdict is None:
        return
    picture = verdict.picture
    LEVEL.set(int(verdict.level))
    WORKERS.set(picture.centre.workers)
    BROKER.set(float(not picture.centre.broker_away_because))
    TOUCHED.set(picture.centre.touched)
    UNPUBLISHED.set(picture.centre.unpublished)
    _measure_backups(verdict)
    for each in verdict.sites:
        SITE_LEVEL.labels(each.picture.site).set(int(each.level))
        _measure_site(each.picture, picture.centre.shared_pos, picture.at)


def _measure_backups(verdict: Verdict) -> None:
    backups, now = verdict.picture.centre.backups, verdict.picture.at
    BACKUPS.set(backups.restorable)
    BACKUP_LATE.set(float(any(r.code.startswith("MES-BACKUP-") for r in verdict.reasons)))
    BACKUP_AGE.clear()  # there may be none any more
    PROTECTED.clear()
    for which, each in (("newest", backups.newest), ("oldest", backups.oldest)):
        if each is not None:
            BACKUP_AGE.labels(which).set((now - each.begun_at).total_seconds())


def _measure_site(site: SitePicture, shared_pos: int, now: datetime) -> None:
    name = site.site
    REVIEWS.labels(name).set(site.reviews_open)
    PARKED_ROWS.labels(name, "parked").set(site.parked)
    PARKED_ROWS.labels(name, "waiting").set(site.waiting)
    CLOCK.labels(name).set(site.clock_offset_ms / 1000)
    UNSAFE.labels(name).set(site.last_n - site.safe_n)
    DIFFERING.labels(name).set(site.differing)
    SUMS.labels(name).set(site.sums_differing)
    if site.compared_at is not None:
        COMPARE_AGE.labels(name).set((now - site.compared_at).total_seconds())
    if site.hello is not None:
        HELLO_AGE.labels(name).set((now - site.hello.at).total_seconds())
        FEED_LAG.labels(name).set(site.feed_lag(shared_pos) or 0)
    if site.protected_through is not None:
        PROTECTED.labels(name).set((now - site.protected_through).total_seconds())
    if site.complete_through is not None:
        metrics.LAG.labels(name).set((now - site.complete_through).total_seconds())
    if site.backlog is not None:
        metrics.BACKLOG.labels(name).set(site.backlog.messages)
        STREAM.labels(name).set(site.backlog.filled)
