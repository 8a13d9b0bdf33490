"""Sets what the metrics show of a store, from a picture of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import metrics
from shared.catalog import Policy

if TYPE_CHECKING:
    from edge.verdict import Picture


def measure(picture: Picture) -> None:
    """Set what the metrics show of the store."""
    site, backlog = picture.site, picture.backlog
    metrics.BACKLOG.labels(site).set(backlog.transactions)
    metrics.BACKLOG_AGE.labels(site).set(picture.age(backlog.oldest_ms) / 1000)
    metrics.REVIEWS.labels(site).set(picture.conflicts.open)
    metrics.PARKED.labels(site).set(picture.unapplied.parked)
    metrics.FACTS_REFUSED.labels(site).set(float(picture.space.facts_refused))
    metrics.DISK_FREE.labels(site).set(picture.space.free_bytes)
    for policy in Policy:  # nobody names one that has decided nothing today
        decided = picture.conflicts.decided_today.get(policy.value, 0)
        metrics.CONFLICTS.labels(site, policy.value).set(decided)
