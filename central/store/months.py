"""Which partitions a run needs, so that they are made before its transaction begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from central.partitions import Partition, month_refused
from shared.catalog import CREATED_AT, Direction
from shared.values import rule_broken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.catalog import Catalog
    from shared.changes import ChangeBlock


def partitions_of(
    catalog: Catalog, site: str, blocks: Iterable[ChangeBlock], stored_at_ms: int
) -> set[Partition]:
    """Return the partitions that hold the rows of these blocks, as far as they are rows at all.

    ``stored_at_ms`` is that of their transaction: what ``intake`` refuses for its month gets none.
    """
    wanted: set[Partition] = set()
    for block in blocks:
        if block.table not in catalog:
            continue
        table = catalog.table(block.table)
        if table.partitioned and table.direction is not Direction.DOWN:
            months = {created[:7] for created in block.created}
            wanted.update(Partition(table.name, site, month) for month in months)
    kept = {
        month
        for month in {partition.month for partition in wanted}
        if _is_month(month) and month_refused(month, stored_at_ms) is None
    }
    return {partition for partition in wanted if partition.month in kept}


def _is_month(month: str) -> bool:
    return rule_broken(CREATED_AT, f"{month}-01T00:00:00.000Z") is None
