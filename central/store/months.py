"""Which partitions a run needs, so that they are made before its transaction begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from central.partitions import Partition
from shared.catalog import CREATED_AT, Direction
from shared.values import rule_broken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.catalog import Catalog
    from shared.changes import ChangeBlock


def partitions_of(catalog: Catalog, site: str, blocks: Iterable[ChangeBlock]) -> set[Partition]:
    """Return the partitions that hold the rows of these blocks, as far as they are rows at all."""
    wanted: set[Partition] = set()
    for block in blocks:
        if block.table not in catalog:
            continue
        table = catalog.table(block.table)
        if table.partitioned and table.direction is not Direction.DOWN:
            months = {created[:7] for created in block.created}
            wanted.update(Partition(table.name, site, month) for month in months)
    return {partition for partition in wanted if _is_month(partition.month)}


def _is_month(month: str) -> bool:
    return rule_broken(CREATED_AT, f"{month}-01T00:00:00.000Z") is None
