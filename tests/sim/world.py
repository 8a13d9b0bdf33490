"""One run: sites and the centre write, all between them breaks, then all must come to rest alike.

A run is a list of steps, each a name and a number that seeds whatever the step leaves to chance. So
steps can be left out, and what is left still means the same: a run that fails is cut down to the
few steps that matter.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

import psycopg

from shared.changes import SHARED
from shared.errors import SyncError, Transient, WaitsBehind
from tests.sim.afterwards import Afterwards
from tests.sim.breakage import Breakage
from tests.sim.broker import Broker
from tests.sim.catalogue import NEW, OLD, SITES
from tests.sim.centre import Centre, CutConnection
from tests.sim.checks import Checks
from tests.sim.clients import Clients
from tests.sim.clock import MINUTE, Clock
from tests.sim.installs import Installs
from tests.sim.narrow import narrow
from tests.sim.oracle import Oracle, fail
from tests.sim.programs import Writer
from tests.sim.sight import Sight
from tests.sim.site import Site
from tests.sim.starts import Starts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.sim.centre import Database

Step = tuple[str, int]

#: How often each step is taken, in a run without faults and in others.
USUAL: Final = {
    "write": 30, "drain": 4, "send": 12, "receive": 14, "hello": 4, "fetch": 2, "obey": 4,
    "prune": 2, "load": 4, "ingest": 18, "sequence": 12, "publish": 10, "client": 22,
    "client_opens": 1, "client_ends": 2, "retry": 6, "retry_due": 1, "discard": 1, "safe": 2,
}  # fmt: skip
FAULTS: Final = {
    "broker_loses": 3, "broker_delivers": 4, "broker_publishes": 2, "answer_fails": 2,
    "database_cuts": 4, "store_is_killed": 3, "power_fails": 3, "agent_restarts": 1,
    "centre_restarts": 2, "database_starts": 1, "worker_lags": 3, "feed_is_pruned": 1,
    "snapshot_is_wanted": 1, "clock_jumps": 3, "agent_goes": 2, "agent_comes": 2,
    "site_migrates": 1, "message_is_forged": 1,
}  # fmt: skip
#: A store goes back to an older copy, or somebody starts a copy of it elsewhere (rule 19).
RESTORES: Final = {"store_is_copied": 4, "store_is_restored": 4, "store_is_cloned": 1}
#: The centre goes back (rule 20): from then on the oracle does not foretell rows, see ``Blind``.
CENTRE_RESTORES: Final = {"centre_is_backed_up": 2, "centre_goes_back": 2}
#: The clock of the centre and of PostgreSQL is set.
CENTRE_CLOCK: Final = {"centre_clock_jumps": 3}
#: A site gets the new release while one end goes back.
INSTALLS: Final = {"copy_meets_release": 4, "restore_meets_release": 3}
SETTLE_ROUNDS: Final = 60
CLOSINGS_MAX: Final = 1_000
#: What passes: the process that met it tries again, or is started anew.
PASSING: Final = (Transient, psycopg.OperationalError)


@dataclass(frozen=True)
class Plan:
    """All that a run is made of."""

    config: int
    steps: tuple[Step, ...]

    @classmethod
    def of_seed(cls, seed: int) -> Plan:
        """Return the run of a seed."""
        chance = Random(seed)
        weights = dict(USUAL)
        some = [name for name in FAULTS if chance.random() < 0.45]
        weights |= RESTORES if chance.random() < 0.3 else {}
        weights |= CENTRE_RESTORES if chance.random() < 0.2 else {}
        # Chosen by a chance of its own: runs without it are what they were before there was any.
        weights |= CENTRE_CLOCK if Random(f"clock of {seed}").random() < 0.2 else {}
        weights |= INSTALLS if Random(f"release of {seed}").random() < 0.2 else {}
        weights |= {name: FAULTS[name] * chance.choice((1, 2)) for name in some}
        count = chance.randrange(60, 130)
        names = chance.choices(list(weights), list(weights.values()), k=count)
        return cls(chance.getrandbits(16), tuple((name, chance.getrandbits(16)) for name in names))

    def __str__(self) -> str:
        """Return it as ``of_text`` reads it."""
        return " ".join([f"config:{self.config}", *(f"{name}:{n}" for name, n in self.steps)])

    @classmethod
    def of_text(cls, text: str) -> Plan:
        """Return the run that was printed."""
        (_, config), *steps = [each.split(":") for each in text.split()]
        return cls(int(config), tuple((name, int(n)) for name, n in steps))


class World(Clients, Breakage, Starts, Installs, Sight, Checks, Afterwards):
    """Two or three sites, a broker that is trusted with nothing, and the centre."""

    def __init__(self, database: Database, folder: Path, config: int) -> None:
        self.database, self.folder = database, folder
        self.chance = Random(config)
        #: Of the ids that the product draws.
        self.ids = Random(f"ids of {config}")
        self.reach: Counter[str] = Counter()
        self.clock = Clock()
        self.broker = Broker(self.chance, self.clock.true)
        self.broker.between = self.between_questions
        self.writer = Writer(self.chance)
        self.oracle = Oracle(database, self.reach)
        self.centre = Centre(database, self.broker, self.oracle)
        self.trace = self.oracle.trace
        self.is_small = self.chance.random() < 0.5
        self.settling = self.crashing = False
        self.copies: dict[str, Path] = {}
        self.restores = Counter[str]()
        self.closings = 0
        self._makeup()
        self.prepare_starts()

    def _makeup(self) -> None:
        """Choose which sites there are, what their clocks show, and which release each has."""
        chance = self.chance
        names = SITES[: chance.choice((2, 2, 3))]
        skews = (0, 0, 0, 60 * MINUTE, -60 * MINUTE, 7 * MINUTE)
        self.clock.skew = {name: chance.choice(skews) for name in names}
        catalogs = {n: chance.choice((self.database.catalog, NEW, NEW, OLD)) for n in names}
        self.prepare_sight()
        self.prepare_clients()
        self.prepare_afterwards()
        self.sites = {
            name: Site(
                name, self.folder / name / "store.db", catalogs[name], self.broker, self.clock,
                Random(chance.getrandbits(32)),
            )
            for name in names
        }  # fmt: skip
        for site in self.sites.values():
            self.images[site.name] = site.image()

    # --- a run -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin with an empty centre, which every site has met."""
        CutConnection.met = Counter()
        await self.database.empty()
        self.life = await self.database.starts(self.clock.now_ms)
        await self.centre.start()
        for name in self.sites:
            await self.step("hello", 0, site=name)
            await self.step("load", 0, site=name)

    async def run(self, plan: Plan) -> None:
        """Take the steps and come to rest; raises Violation."""
        with narrow(self.clock, self.ids, is_small=self.is_small):
            try:
                await self.start()
                for name, number in plan.steps:
                    await self.step(name, number)
                await self.settle()
                await self.at_rest()
            finally:
                await self.close()

    async def close(self) -> None:
        """Let go of all files and tasks."""
        await self.centre.rest()
        for site in self.sites.values():
            site.close()

    async def step(self, name: str, number: int, *, site: str | None = None) -> None:
        """Take one step; what passes is no failure."""
        self.chance.seed(number)
        self.questions = 0
        self.clock.now_ms += self.chance.choice((1, 1000, MINUTE, 20 * MINUTE))
        self.clock.site = site or self.chance.choice(list(self.sites))
        self.trace.append(f"-- {name}:{number} {self.clock.site} at {self.clock.now_ms}")
        try:
            await getattr(self, name)()
        except PASSING as why:
            self.trace.append(f"   {type(why).__name__}: {why}")
            self.reach[f"passing: {type(why).__name__}"] += 1
        except (SyncError, psycopg.Error) as why:
            fail(f"{name}: {type(why).__name__}: {why}")
        await self.centre.rest()
        await self.always()

    @property
    def site(self) -> Site:
        """Return the site whose turn it is."""
        return self.sites[self.clock.site]

    def up(self) -> bool:
        """Return whether the agent of the site runs."""
        return self.settling or not self.site.is_down

    # --- sites -----------------------------------------------------------------------------------

    async def write(self) -> None:
        """A program of a site commits a transaction."""
        self.program_writes(self.site)

    def program_writes(self, site: Site) -> None:
        """Commit a transaction of a site's program; the store may refuse it."""
        rows = {table: site.rows(table) for table in ("orders", "steps", "people")}
        statements = self.writer.transaction(site.name, site.catalog, rows)
        gone = self.gone[site.name]
        if gone and self.chance.random() < 0.1:
            statements = self.writer.again(site.name, site.catalog, self.chance.choice(gone))
        why = site.write(statements)
        self.trace.append(f"   {site.name} writes {statements} {why}")
        self.reach["refused by the store" if why else "user transaction"] += 1
        if not why:
            gone += [
                given[0] for text, given in statements if text.startswith("DELETE FROM orders")
            ]

    async def drain(self) -> None:
        """The agent drains."""
        if self.up():
            self.store_works(self.site.drain)

    async def send(self) -> None:
        """The agent drains and publishes."""
        await self.drain()
        if self.up():
            await self.site.send()

    async def receive(self) -> None:
        """The agent takes what the broker has of a feed."""
        if self.up():
            scope = self.chance.choice((self.site.name, self.site.name, SHARED))
            await self.agent_works(self.site.receive(scope, self.chance.choice((1, 2, 9))))

    async def hello(self) -> None:
        """The agent says hello."""
        if self.up():
            await self.agent_works(self.site.hello())

    async def fetch(self) -> None:
        """The agent asks for what it misses."""
        if self.up():
            await self.agent_works(self.site.fetch())

    async def obey(self) -> None:
        """The agent does what the centre's orders ask for."""
        if self.up():
            await self.agent_works(self.site.obey())

    async def prune(self) -> None:
        """The agent prunes."""
        if self.up():
            self.site_prunes(self.site)

    async def load(self) -> None:
        """The agent loads a snapshot, if it needs one."""
        if self.up() and self.site.needs_snapshot:
            self.seen[self.site.name] = None  # what comes by it, the store alone can tell
            await self.agent_works(self.site.load())
            self.reach["snapshot loaded"] += not self.site.needs_snapshot

    # --- the centre ------------------------------------------------------------------------------

    async def ingest(self) -> None:
        """The worker takes what a site sent."""
        count = 99 if self.settling else self.chance.choice((1, 2, 5, 99))
        verdict = await self.centre.ingest(self.site.name, count)
        if verdict is not None:
            self.reach[f"up: {verdict.name}"] += 1
            self.trace.append(f"   {verdict}")
            expects = self.site.name in self.were_restored or self.oracle.is_blind
            if verdict.name == "FORK" and not expects:
                fail("a fork, and nobody was restored")

    async def ingest_rest(self, name: str) -> None:
        """The worker takes all that a site has under way."""
        self.closings += 1
        if self.closings > CLOSINGS_MAX:
            fail(f"the epoch of {name} is not closed")
        with contextlib.suppress(*PASSING):
            await self.centre.ingest(name, 99)

    async def sequence(self) -> None:
        """The sequencer makes entries."""
        step = await self.centre.sequencer.step(self.clock.now_ms)
        self.trace.append(f"   {step}")
        await self.hear_entries()

    async def publish(self) -> None:
        """The relay publishes."""
        await self.centre.publish()

    # --- rest ------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let nothing break any more, and everything come to rest; a person mends the rest."""
        self.trace.append("-- settling")
        self.settling = True
        self.broker.mend()
        await self.close_clients()
        await self.centre.restart()
        for site in self.sites.values():
            site.is_down = False
        await self._rounds()
        for ticket in self._tickets():
            await self.centre.by_hand.retry(ticket)
        await self._let_go()
        await self._rounds()

    async def _let_go(self) -> None:
        """A person discards all that is parked, what waits behind another after that."""
        tickets = self._tickets()
        while tickets:
            left = []
            for ticket in tickets:
                try:
                    done = await self.centre.by_hand.discard(ticket, "a person")
                    self.reach["discarded"] += done
                except WaitsBehind:
                    left.append(ticket)
                await self._nobody_waits_in_a_circle()
            if len(left) == len(tickets):
                fail(f"{left} wait behind others, and nobody can let go of any")
            tickets = left

    async def _nobody_waits_in_a_circle(self) -> None:
        """What waits behind another has somebody at the end of the line who has a cause."""
        rows = await self.database.rows(
            "SELECT ticket::text, behind::text FROM sync.waiting WHERE reason IN ('behind', 'tied')"
        )
        behind = dict(rows)
        for ticket in behind:
            at, passed = ticket, set[str]()
            while at in behind and at not in passed:
                passed.add(at)
                at = behind[at]
            if at in passed:
                fail(f"{sorted(passed)} wait for each other, and nothing will ever wake them")

    async def _rounds(self) -> None:
        still = 0
        for _ in range(SETTLE_ROUNDS):
            before = await self._state()
            for name in self.sites:
                for step in ("obey", "hello", "load", "send", "send"):
                    await self.step(step, 1, site=name)
                while self.broker.waiting(f"up.{name}.tx", "apply"):
                    await self.step("ingest", 4, site=name)
                for step in ("sequence", "publish", "fetch", "prune"):
                    await self.step(step, 1, site=name)
            # That a message was lost is told by two hellos in a row that see nothing of it.
            still = still + 1 if await self._state() == before else 0
            if still > 1:
                return
        fail("it never comes to rest")

    async def _state(self) -> Any:
        feeds = await self.database.rows("SELECT scope, pos FROM sync.feed_head ORDER BY scope")
        queue = await self.database.rows("SELECT count(*) FROM sync.touched")
        places = [
            (at.epoch, at.last_n, at.acked_n, at.own_pos, at.shared_pos, at.needs_snapshot)
            for at in (site.store.position() for site in self.sites.values())
        ]
        return feeds, queue, places, dict(self.oracle.last_n)


def shorten(steps: Sequence[Step], fails: Any) -> tuple[Step, ...]:
    """Return few of the steps with which it still fails; none of them can be left out alone."""
    kept, size = list(steps), max(1, len(steps) // 2)
    while True:
        at = 0
        while at < len(kept):
            left = kept[:at] + kept[at + size :]
            if fails(tuple(left)):
                kept = left
            else:
                at += size
        if size == 1:
            return tuple(kept)
        size //= 2
