"""Until when what a page shows is complete, site by site, and what of it is stale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from central.picture import read_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.api.reach import Reach

#: A site of which nothing newer is known is stale: its numbers are of then, and not low.
STALE: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Known:
    """Until when all that a site committed is at the centre."""

    site: str
    through: datetime | None
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh a page is."""

    at: datetime
    sites: tuple[Known, ...]

    @property
    def stale(self) -> tuple[Known, ...]:
        """Return the sites of which the centre does not know the present."""
        return tuple(each for each in self.sites if each.is_stale)

    @property
    def stale_names(self) -> frozenset[str]:
        """Return their names."""
        return frozenset(each.site for each in self.stale)


async def read_freshness(reach: Reach, sites: Sequence[str]) -> Freshness:
    """Return until when sites are complete, without asking the broker."""
    async with reach.pool.connection() as connection:
        picture = await read_picture(connection, reach.catalog, None, sites)
    known = [
        Known(
            each.site, each.complete_through,
            is_stale=each.complete_through is None or picture.at - each.complete_through > STALE,
        )
        for each in picture.sites
    ]  # fmt: skip
    return Freshness(picture.at, tuple(known))
