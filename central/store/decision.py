"""What was decided on one row, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.changes import Op

if TYPE_CHECKING:
    from central.store.standing import Standing
    from shared.catalog import Table
    from shared.changes import Value
    from sync.decisions import Resolution, Write


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one row."""

    #: Its place among the rows that were decided on.
    row: int
    standing: Standing
    write: Write
    resolution: Resolution
    #: The version that the row gets.
    version: str
    #: Nobody else had written the row, and the write takes effect in full.
    is_clean: bool
    #: The site can't know the outcome from the ack alone.
    tells_site: bool
    #: Not of a change that is parked: then it takes no effect.
    counts: bool = True

    @property
    def is_nothing(self) -> bool:
        """Return whether the row was there already, or is gone already."""
        what = self.resolution
        done = what.values or what.delete or what.revive or what.conflicts or what.overruled
        return self.write.op is not Op.UPDATE and not done

    @property
    def stands(self) -> bool:
        """Return whether there is a row afterwards."""
        what = self.resolution
        return what.revive or (self.standing.values is not None and not what.delete)

    def content(self, table: Table) -> dict[str, Value]:
        """Return the whole row as it is afterwards."""
        if self.resolution.revive:
            known = self.resolution.values
            return {c.name: known.get(c.name, c.default) for c in table.columns}
        return {**(self.standing.values or {}), **self.resolution.values}
