"""What a month's rows come to, and what may be wrong with its file. Loads no Parquet."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import Fatal
from shared.sums import folded


class ArchiveDamaged(Fatal):
    """A file of the archive is not what was written; put it back from a backup of the archive."""


class ArchiveAway(Fatal):
    """A file of the archive can't be reached; name its folder in MES_ARCHIVE_DIR."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What rows come to: their number, and the sum of their hashes modulo 2^64."""

    rows: int
    sum: int

    def __add__(self, other: Contents) -> Contents:
        """Return what both come to together."""
        return Contents(self.rows + other.rows, folded(self.sum + other.sum))
