"""What breaks in the real stores' world, one thing at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.changes import GENESIS, SHARED, Part, PartBody
from sync import codec
from sync.protocol import digest, transaction_hash
from tests.sim.broker import ANSWERS, DELIVERIES, LOSSES, PUBLISHES
from tests.sim.catalogue import NEW, SITES
from tests.sim.clock import MINUTE
from tests.sim.disk import Crash, Disk
from tests.sim.sent import fail
from tests.sim.site import Site, crash_of

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path
    from random import Random

    from shared.catalog import Catalog
    from tests.sim.broker import Broker
    from tests.sim.centre import Centre, Database
    from tests.sim.clock import Clock
    from tests.sim.oracle import Oracle

#: An operator is asked to look at a site whose store goes back again and again.
RESTORES_MAX = 2
CUTS = ("at a statement", "before the commit", "after the commit")


class Breakage:
    """Breaks things."""

    chance: Random
    clock: Clock
    reach: Counter[str]
    broker: Broker
    centre: Centre
    database: Database
    oracle: Oracle
    trace: list[str]
    #: The copy that was taken of a site's store last, and how often it was put back.
    copies: dict[str, Path]
    restores: Counter[str]

    # --- the broker ------------------------------------------------------------------------------

    async def broker_loses(self) -> None:
        """The broker loses something that it had acknowledged."""
        site = self.clock.site
        subject = self.chance.choice((f"up.{site}.tx", f"down.{site}", "down.all"))
        self.broker.lose(subject, self.chance.choice(LOSSES))

    async def broker_delivers(self) -> None:
        """The broker delivers twice, in the wrong order, damaged, or not at all, the next time."""
        self.broker.arm("delivery", self.chance.choice(DELIVERIES))

    async def broker_publishes(self) -> None:
        """The broker refuses a batch, or takes it and nobody hears of it, the next time."""
        self.broker.arm("publish", self.chance.choice(PUBLISHES))

    async def answer_fails(self) -> None:
        """Nobody answers the next question, or the answer is lost."""
        self.broker.arm("answer", self.chance.choice(ANSWERS))

    async def message_is_forged(self) -> None:
        """A site sends what speaks for another site."""
        mine, other = self.chance.sample(SITES, 2)
        epoch, tx_id = self.writer.id(), self.writer.id()  # type: ignore[attr-defined]
        body = codec.encode_body(PartBody(1, 1, 0, ()))
        own = transaction_hash(GENESIS, epoch, 1, tx_id, [digest(body)])
        digests, packed = (digest(body),), codec.compress(body)
        part = Part(other, epoch, 1, tx_id, 0, 1, GENESIS, own, digests, packed)
        self.broker.lane(f"up.{mine}.tx").store([codec.encode_part(part)], self.clock.now_ms)
        self.reach["forged message"] += 1

    # --- the centre ------------------------------------------------------------------------------

    async def database_cuts(self) -> None:
        """The database goes away in the middle of what the centre does next."""
        which = self.chance.choice(("apply", "apply", "apply", "sequence", "answer", "publish"))
        cut = self.chance.choice(CUTS)
        database = self.database
        connection = {
            "apply": database.applying, "sequence": database.sequencing,
            "answer": database.pooled[0], "publish": database.publishing,
        }[which]  # fmt: skip
        connection.arm(cut, self.chance.randrange(12))
        self.trace.append(f"   {which} will be cut {cut}")

    async def centre_restarts(self) -> None:
        """All processes of the centre are killed and started again."""
        if await self.is_put_right():  # type: ignore[attr-defined]
            return
        await self.centre.restart()
        self.reach["centre restarted"] += 1

    async def worker_lags(self) -> None:
        """A worker of a life before, whose lease is another's by now, still takes messages."""
        if self.centre._receivers_of_before:
            await self.centre.ingest(self.clock.site, 2, lagging=True)

    async def feed_is_pruned(self) -> None:
        """Entries are older than the feed reaches back."""
        scope = self.chance.choice((self.clock.site, self.clock.site, SHARED))
        await self.centre.prune(scope, self.chance.choice((0, 0, 1, 3)))
        self.reach["feed pruned"] += 1

    # --- sites -----------------------------------------------------------------------------------

    async def store_is_killed(self) -> None:
        """A site's machine is killed at any statement of what its agent does next."""
        await self.crashes(Crash(None, self.chance.choice((*range(1, 40), *range(40, 120, 8)))))

    async def power_fails(self) -> None:
        """A site's power fails at any fsync of what its agent does next."""
        disk = self.chance.choice(list(Disk))
        await self.crashes(Crash(disk, self.chance.choice((1, 1, 1, 2))))

    async def crashes(self, crash: Crash) -> None:
        """Let a site's machine end in the middle of something."""
        site: Site = self.site  # type: ignore[attr-defined]
        what = self.chance.choice(("drain", "receive", "receive", "fetch", "load", "prune"))
        self.program_writes(site)  # type: ignore[attr-defined]
        if what == "load":
            site.store.want_snapshot("before a crash", self.clock.here())
        self.observe_before(site)  # type: ignore[attr-defined]
        self.crashing = True  # nothing of what is seen until it is over will have been
        try:
            with crash_of(site, crash):
                await self._of_agent(site, what)
        finally:
            self.crashing = False
            site.crash()
            where = "kill" if crash.disk is None else f"power cut, {crash.disk.value}"
            self.reach[f"{where}{'' if crash.taken else ', at the end'}"] += 1
            self.reach[f"crash in {what}"] += crash.taken
            self.observe_after(site)  # type: ignore[attr-defined]

    async def _of_agent(self, site: Site, what: str) -> None:
        if what == "drain":
            site.drain()
        elif what == "receive":
            await site.receive(self.chance.choice((site.name, SHARED)), 5)
        elif what == "fetch":
            await site.fetch()
        elif what == "prune":
            site.prune()
        elif site.needs_snapshot:
            await site.load()

    async def store_is_copied(self) -> None:
        """Somebody copies a site's store."""
        self.copies[self.site.name] = self.site.files.copy()  # type: ignore[attr-defined]
        self.reach["store copied"] += 1

    async def store_is_restored(self) -> None:
        """A copy is put in the place of a site's store, and programs write before it is noticed."""
        if not self.copies:
            return
        self.clock.site = self.chance.choice(sorted(self.copies))
        site: Site = self.site  # type: ignore[attr-defined]
        copy = self.copies[site.name]
        if self.restores[site.name] >= RESTORES_MAX:
            return
        self.put_back(site, copy)
        for _ in range(self.chance.randrange(3)):
            self.program_writes(site)  # type: ignore[attr-defined]

    def put_back(self, site: Site, copy: Path, catalog: Catalog | None = None) -> None:
        """Put a copy in the place of a site's store, under another release where one is given."""
        self.observe_before(site)  # type: ignore[attr-defined]
        self.observe_after(site)  # type: ignore[attr-defined]
        self.restores[site.name] += 1
        self.reach["store restored"] += 1
        self.reach["store restored after the centre"] += self.oracle.is_blind
        site.close()
        site.files.put(copy)
        site.catalog = catalog or site.catalog
        site.open()
        self.went_back(site)  # type: ignore[attr-defined]
        self.records.pop(site.name, None)  # type: ignore[attr-defined]

    async def store_is_cloned(self) -> None:
        """A copy of a store is started elsewhere: it is sent away, and the site goes on."""
        site: Site = self.site  # type: ignore[attr-defined]
        if site.name in self.restored or not site.has_met:  # type: ignore[attr-defined]
            return
        folder = site.path.parent.parent / f"{site.name}-clone-{self.reach['store cloned']}"
        folder.mkdir()
        site.files.copy_to(folder)
        path = folder / site.path.name
        clone = Site(site.name, path, site.catalog, self.broker, self.clock, self.chance, "there")
        stopped = clone.store.position().stopped_because
        clone.close()
        self.reach["store cloned"] += 1
        if not stopped:
            fail(f"a copy of the store of {site.name} may speak for it")

    async def agent_restarts(self) -> None:
        """A site's agent is started again."""
        self.observe_before(self.site)  # type: ignore[attr-defined]
        self.site.restart()  # type: ignore[attr-defined]
        self.observe_after(self.site)  # type: ignore[attr-defined]

    async def agent_goes(self) -> None:
        """A site's agent ends; its programs go on, and its clock may be set."""
        self.site.is_down = True  # type: ignore[attr-defined]
        if self.chance.random() < 0.4:
            await self.clock_jumps()

    async def agent_comes(self) -> None:
        """It is started again, and says hello."""
        if self.site.is_down:  # type: ignore[attr-defined]
            self.reach["backlog of a dead agent"] += 1
            self.site.is_down = False  # type: ignore[attr-defined]
            await self.agent_restarts()
            await self.hello()  # type: ignore[attr-defined]

    async def clock_jumps(self) -> None:
        """A site's clock is set to another time, and what is written by it may go out at once."""
        skew = self.chance.choice((-90, -10, 0, 4, 30, 90, 60 * 24)) * MINUTE
        self.clock.skew[self.clock.site] = skew
        self.reach["clock set"] += 1
        if self.chance.random() < 0.5:
            self.program_writes(self.site)  # type: ignore[attr-defined]
            await self.send()  # type: ignore[attr-defined]

    async def centre_clock_jumps(self) -> None:
        """The clocks of the centre, the broker and PostgreSQL are set by up to an hour."""
        jump = self.chance.choice((-60, -20, -4, 4, 20, 60)) * MINUTE
        self.clock.now_ms += jump
        for name in self.clock.skew:  # the sites' clocks go on as they were
            self.clock.skew[name] -= jump
        self.reach["clock of the centre set"] += 1

    async def site_migrates(self) -> None:
        """A site gets the new release."""
        if self.site.catalog.version < NEW.version:  # type: ignore[attr-defined]
            self.observe_before(self.site)  # type: ignore[attr-defined]
            self.site.restart(NEW)  # type: ignore[attr-defined]
            self.observe_after(self.site)  # type: ignore[attr-defined]
            self.reach["site migrated"] += 1

    async def snapshot_is_wanted(self) -> None:
        """An operator has a site's rows sent again."""
        self.site.store.want_snapshot("an operator asks", self.clock.here())  # type: ignore[attr-defined]
        self.reach["snapshot wanted"] += 1
