"""Prometheus metrics of an edge agent."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

BACKLOG = Gauge("mes_edge_backlog_transactions", "Sync transactions not yet decided", ["site"])
BACKLOG_AGE = Gauge("mes_edge_backlog_age_seconds", "Age of the oldest undecided one", ["site"])
KEPT = Gauge("mes_edge_kept_transactions", "Kept here, since no backup has them for sure", ["site"])
KEPT_AGE = Gauge("mes_edge_kept_age_seconds", "Age of the oldest of them", ["site"])
PROTECTED_AGE = Gauge(
    "mes_edge_protected_age_seconds", "Since when writes are not in each backup of the centre's",
    ["site"],
)  # fmt: skip
BACKUP_LATE = Gauge("mes_edge_backup_late", "1 while the centre warns of its backups", ["site"])
LAG = Gauge("mes_edge_feed_lag_seconds", "Age of the last feed entry when it was applied", ["site"])
CONNECTED = Gauge("mes_edge_connected", "1 while the link to the broker stands", ["site"])
OFFSET = Gauge("mes_edge_clock_offset_seconds", "The centre's clock minus ours", ["site"])
REVIEWS = Gauge("mes_edge_reviews_open", "Conflicts that wait for a person", ["site"])
CONFLICTS = Gauge(
    "mes_edge_conflicts_today", "Conflicts decided today, by policy", ["site", "policy"]
)
PARKED = Gauge("mes_edge_parked", "Rows parked at the centre", ["site"])
FACTS_REFUSED = Gauge("mes_edge_facts_refused", "1 while the disk is too full for facts", ["site"])
DISK_FREE = Gauge("mes_edge_disk_free_bytes", "Free on the store's disk", ["site"])
COMPARED_AT = Gauge("mes_edge_compare_last_timestamp_seconds", "When all was compared", ["site"])
DIFFERING = Gauge("mes_edge_compare_differing_rows", "Rows that differ from the centre's", ["site"])
COMPARE_SECONDS = Gauge("mes_edge_compare_duration_seconds", "Time of the last", ["site"])
COMPARE_BYTES = Gauge("mes_edge_compare_bytes", "Traffic of the last, both ways", ["site"])
BATCHES = Counter("mes_edge_batches_total", "Batches sent", ["site"])
ROWS = Counter("mes_edge_rows_total", "Rows", ["site", "direction"])
DRAIN_SECONDS = Histogram("mes_edge_drain_seconds", "Time of a drain", ["site"])
APPLY_SECONDS = Histogram("mes_edge_apply_seconds", "Time to apply feed entries", ["site"])
