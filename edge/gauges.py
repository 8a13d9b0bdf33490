"""Sets what the metrics show of a store, from a picture of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge import metrics
from shared.catalog import Policy

if TYPE_CHECKING:
    from edge.picture import Picture


def measure(picture: Picture) -> None:
    """Set what the metrics show of the store."""
    site, backlog = picture.site, picture.backlog
    metrics.BACKLOG.labels(site).set(backlog.transactions)
    metrics.BACKLOG_AGE.labels(site).set(picture.age(backlog.oldest_ms) / 1000)
    metrics.REVIEWS.labels(site).set(picture.conflicts.open)
    metrics.PARKED.labels(site).set(picture.unapplied.parked)
    _measure_kept(picture)
    if picture.compared.at_ms is not None:
        metrics.COMPARED_AT.labels(site).set(picture.compared.at_ms / 1000)
    metrics.DIFFERING.labels(site).set(picture.compared.differing)
    metrics.FACTS_REFUSED.labels(site).set(float(picture.space.facts_refused))
    metrics.DISK_FREE.labels(site).set(picture.space.free_bytes)
    for policy in Policy:  # nobody names one that has decided nothing today
        decided = picture.conflicts.decided_today.get(policy.value, 0)
        metrics.CONFLICTS.labels(site, policy.value).set(decided)


def _measure_kept(picture: Picture) -> None:
    site, kept, protected = picture.site, picture.kept, picture.protected
    metrics.KEPT.labels(site).set(kept.transactions)
    metrics.KEPT_AGE.labels(site).set(picture.age(kept.oldest_ms) / 1000)
    metrics.BACKUP_LATE.labels(site).set(float(bool(protected.why)))
    if protected.marked:
        metrics.PROTECTED_AGE.labels(site).set(_protected_age_s(picture))


def _protected_age_s(picture: Picture) -> float:
    """Return for how long writes are in no backup that may be restored; NaN where none are."""
    if picture.protected.through_ms is None:
        return math.nan
    if not picture.kept.transactions and not picture.backlog.undrained_rows:
        return 0.0
    return picture.age(picture.protected.through_ms) / 1000
