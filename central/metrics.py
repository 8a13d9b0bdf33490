"""Prometheus metrics of the centre."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge, Histogram

LAG = Gauge("mes_central_lag_seconds", "Age of the last applied transaction", ["site"])
BACKLOG = Gauge("mes_central_backlog_messages", "Messages the broker holds for us", ["site"])
BATCHES = Counter("mes_central_batches_total", "PostgreSQL transactions applied", ["site"])
ROWS = Counter("mes_central_rows_total", "Rows applied", ["site"])
CONFLICTS = Counter("mes_central_conflicts_total", "Conflicts recorded", ["site", "policy"])
SKIPPED = Counter("mes_central_skipped_total", "Transactions that came again", ["site"])
PARKED = Counter("mes_central_parked_total", "Rows parked", ["site"])
REFUSED = Counter("mes_central_refused_total", "Messages refused", ["site", "why"])
APPLY_SECONDS = Histogram("mes_central_apply_seconds", "Time of one apply", ["site"])
PRUNED = Counter("mes_central_pruned_total", "Rows of bookkeeping past their time", ["what"])
FOLDED = Counter("mes_central_folded_total", "Deltas of reports folded into rollups")
STALE = Gauge(
    "mes_central_stale_keys", "Keys of which the facts are read until they are mended", ["table"]
)
ARCHIVED = Counter("mes_central_archived_months_total", "Months archived by themselves")
ARCHIVE_FAILURES = Counter(
    "mes_central_archive_failures_total", "Attempts to archive a month that failed"
)
FEED_ENTRIES = Counter("mes_central_feed_entries_total", "Feed entries made", ["scope"])


def count(site: str, outcome: Any) -> None:
    """Count the outcome of one run."""
    BATCHES.labels(site).inc()
    ROWS.labels(site).inc(outcome.rows)
    SKIPPED.labels(site).inc(outcome.skipped)
    PARKED.labels(site).inc(outcome.parked)
    APPLY_SECONDS.labels(site).observe(outcome.apply_ms / 1000)
    for policy, number in outcome.conflicts.items():
        CONFLICTS.labels(site, policy).inc(number)
