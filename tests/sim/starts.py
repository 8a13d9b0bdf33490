"""The centre's database server is started again: as it was, or as an older copy of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from central.backups import Mark, set_mark
from tests.sim import backups

if TYPE_CHECKING:
    from collections import Counter
    from random import Random

    from tests.sim.backups import Backup
    from tests.sim.centre import Centre, Database
    from tests.sim.clock import Clock
    from tests.sim.oracle import Oracle
    from tests.sim.site import Site

#: Copies of the centre that are kept at once.
BACKUPS_MAX: Final = 2
CENTRE_RESTORES_MAX: Final = 2


class Starts:
    """Starts the server."""

    chance: Random
    clock: Clock
    reach: Counter[str]
    database: Database
    centre: Centre
    oracle: Oracle
    trace: list[str]
    opened: list[Any]
    sites: dict[str, Site]
    entries: dict[tuple[str, int], Any]
    #: By backup: the entries of the feeds that it holds.
    entries_of: dict[str, dict[tuple[str, int], Any]]

    def prepare_starts(self) -> None:
        """Begin with no backup."""
        self.backups: list[Backup] = []
        #: Those that are newer than the one that was restored last: of a history that was left.
        self.newer: list[Backup] = []
        self.entries_of = {}
        self.centre_restores = 0
        #: The life of the server that sites have to meet.
        self.life = ""
        #: Nobody marks backups: what is safe goes by age, and a restore may lose it.
        self.is_unmarked = self.chance.random() < 0.2

    async def database_starts(self) -> None:
        """The server is started again, and holds what it held, or else what it should have held."""
        if await self.is_put_right():
            return
        await self._start()
        self.reach["database started"] += 1

    async def _start(self) -> None:
        self.opened.clear()
        await self.centre.rest()
        self.life = await self.database.starts(self.clock.now_ms)
        await self.centre.restart()
        self.trace.append(f"   life {self.life} begins")

    async def centre_is_backed_up(self) -> None:
        """A backup is taken of the centre, between its two marks."""
        admin = self.database.admin
        # No mark of this history tells of them: what is safe by this backup, they may lack.
        self.newer.clear()
        if len(self.backups) == BACKUPS_MAX:
            gone = self.backups.pop(0)
            if not self.is_unmarked:
                await set_mark(admin, gone.name, Mark.FINISHED)  # a restored one is still begun
                await set_mark(admin, gone.name, Mark.GONE)
        self.reach["centre backed up"] += 1
        name = f"backup-{self.reach['centre backed up']}"
        place = next(k for k in range(BACKUPS_MAX) if f"sim_copy_{k}" not in self._places())
        if not self.is_unmarked:
            await set_mark(admin, name, Mark.BEGUN)
        self.backups.append(await backups.take(admin, name, place))
        self.entries_of[name] = dict(self.entries)
        if not self.is_unmarked:
            await set_mark(admin, name, Mark.FINISHED)

    async def _all_hear(self) -> None:
        """Let all that is under way arrive."""
        for name in self.sites:
            self.clock.site = name
            await self.send()  # type: ignore[attr-defined]
            await self.ingest_rest(name)  # type: ignore[attr-defined]
        await self.sequence()  # type: ignore[attr-defined]
        await self.publish()  # type: ignore[attr-defined]
        for name in self.sites:
            self.clock.site = name
            await self.fetch()  # type: ignore[attr-defined]

    def _places(self) -> set[str]:
        return {each.schema for each in (*self.backups, *self.newer)}

    async def is_put_right(self) -> bool:
        """Restore the right one, where the wrong backup was; tell whether that was done."""
        is_wrong = self.newer and self.centre_restores < CENTRE_RESTORES_MAX
        if not is_wrong or self.chance.random() < 0.3:
            return False
        await self.centre_is_restored()
        return True

    async def centre_goes_back(self) -> None:
        """The centre is restored; whoever does it may keep what there is, to be safe."""
        if len(self.backups) == 1 and self.chance.random() < 0.5:
            await self.centre_is_backed_up()
        await self.centre_is_restored()

    async def centre_is_restored(self) -> None:
        """The centre goes back to a backup, or forward to one of the history that it left."""
        if not self.backups or self.centre_restores == CENTRE_RESTORES_MAX:
            return
        if self.chance.random() < 0.6:  # that something was lost, somebody has to have heard of it
            await self._all_hear()
        self.centre_restores += 1
        self.reach["centre restored"] += 1
        self.reach["centre restored after a store"] += bool(self.were_restored)  # type: ignore[attr-defined]
        # What is newer is rare, and whoever took the wrong one takes the right one next.
        backup = self.chance.choice((self.backups[0], *self.backups, *self.newer * 4))
        self.trace.append(f"   the centre goes back to {backup.name}")
        self.reach["centre restored forward"] += backup in self.newer
        known = [*self.backups, *self.newer]
        end = known.index(backup) + 1
        self.backups, self.newer = known[:end], known[end:]
        await self.before_the_centre_goes_back(backup)  # type: ignore[attr-defined]
        self.opened.clear()
        for each in self.database.clients:
            await each.rollback()
        await self.database.mend()
        await backups.put_back(self.database.admin, backup)
        await self._start()
        if not self.is_unmarked and self.chance.random() < 0.5:
            await set_mark(self.database.admin, backup.name, Mark.FINISHED)
        await self.oracle.look()
