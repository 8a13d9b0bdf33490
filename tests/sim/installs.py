"""A site of the release before gets today's while one end goes back to an older copy of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.breakage import RESTORES_MAX
from tests.sim.catalogue import MADE_MAX, NEW, OLD, as_in

if TYPE_CHECKING:
    from collections import Counter
    from random import Random

    from tests.sim.clock import Clock
    from tests.sim.site import Site


class Installs:
    """Installs the new release at the worst of times."""

    chance: Random
    clock: Clock
    reach: Counter[str]
    sites: dict[str, Site]

    def _of_the_release_before(self) -> Site | None:
        """Return a site that has not migrated, whose turn it is then."""
        olds = sorted(name for name, site in self.sites.items() if site.catalog is OLD)
        if not olds:
            return None
        self.clock.site = self.chance.choice(olds)
        return self.sites[self.clock.site]

    def _counts(self, site: Site) -> None:
        """A program of the site counts on in one of its orders, and writes what it likes to."""
        self.program_writes(site)  # type: ignore[attr-defined]
        table = site.catalog.table("orders")
        orders = [as_in(NEW.table("orders"), row) for row in site.rows("orders")]
        some = [row for row in orders if (row["made"] or 0) < MADE_MAX]
        if some:
            row = self.chance.choice(some)
            ((name, made),) = as_in(table, {"made": (row["made"] or 0) + 1}).items()
            site.write([(f"UPDATE orders SET {name} = ? WHERE id = ?", (made, row["id"]))])

    async def copy_meets_release(self) -> None:
        """Last week's file is put back under today's program; what it held in its log, was sent."""
        site = self._of_the_release_before()
        if site is None or self.restores[site.name] >= RESTORES_MAX:  # type: ignore[attr-defined]
            return
        self._counts(site)
        copy = site.files.copy()
        self.copies[site.name] = copy  # type: ignore[attr-defined]
        await self.send()  # type: ignore[attr-defined]
        await self.ingest_rest(site.name)  # type: ignore[attr-defined]
        self.reach["copy met a new release"] += 1
        self.put_back(site, copy, NEW)  # type: ignore[attr-defined]

    async def restore_meets_release(self) -> None:
        """The centre goes back, and a site owes it a count that it drained before it migrated."""
        site = self._of_the_release_before()
        if site is None:
            return
        name = site.name
        if not self.backups:  # type: ignore[attr-defined]
            await self.centre_is_backed_up()  # type: ignore[attr-defined]
        self._counts(site)
        await self._all_hear()  # type: ignore[attr-defined]
        self.clock.site = name
        self._counts(site)
        self.store_works(site.drain)  # type: ignore[attr-defined]
        await self.site_migrates()  # type: ignore[attr-defined]
        self.reach["restore met a new release"] += 1
        await self.centre_is_restored()  # type: ignore[attr-defined]
