"""A seeded run: sites and the centre write, everything between them breaks, then all must agree."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Final

from tests.model.breakage import Breakage
from tests.model.centre import Centre, Chain
from tests.model.edge import Edge, File
from tests.model.ghosts import Ghosts
from tests.model.rules import Rule
from tests.model.vocabulary import (
    MINUTE,
    SITES,
    Link,
)
from tests.model.writers import Writers

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tests.model.centre import Book
    from tests.model.vocabulary import Entry

STEPS: Final = 140
SETTLE_ROUNDS: Final = 60


class World(Writers, Breakage):
    """Two sites, a broker that is trusted with nothing, and the centre."""

    def __init__(
        self, seed: int, off: frozenset[Rule] = frozenset(), *, restores: bool = False
    ) -> None:
        self.chance = random.Random(seed)
        self.off = off
        self.restores = restores
        self.now = 10**9
        self.count = 0
        self.ghosts = Ghosts()
        self.centre = Centre(SITES, off, self.name)
        self.centre.sequence_all = self.sequence
        self.centre.note = self.note
        self.centre.on_conflict = self.ghosts.judge
        self.edges = {site: self._new_edge(site) for site in SITES}
        self.clones: dict[str, Edge] = {}
        self.up: dict[str, list[Link]] = {site: [] for site in SITES}
        self.down: dict[str, list[Entry]] = {site: [] for site in SITES}
        self.files: dict[str, list[File]] = {site: [] for site in SITES}
        self.backups: list[tuple[int, Book, Counter[str]]] = []
        self.open: list[Callable[[], None]] = []
        self.stale: dict[tuple[str, str], Chain] = {}
        self.trace: list[str] = []
        self.settling = False
        #: User transactions in a clone that a person threw away.
        self.discarded: set[int] = set()
        self.backup_centre()

    def name(self, kind: str) -> str:
        """Return a name that is never used again."""
        self.count += 1
        return f"{kind}{self.count}"

    def on(self, rule: Rule) -> bool:
        """Return whether a rule is on."""
        return rule not in self.off

    def _new_edge(self, site: str) -> Edge:
        file = File(site, made_as="here", epoch=self.name(f"{site}-e"))
        edge = Edge(file, "here", self.off, self.name)
        edge.skew = self.chance.choice((0, 0, 60 * MINUTE, -60 * MINUTE))
        if self.chance.random() < 0.25:
            file.schema = 1
        return edge

    # --- a run --------------------------------------------------------------------------------

    def run(self, steps: int = STEPS) -> None:
        """Run the seed to its end; raises Violation."""
        if self.chance.random() < 0.25:
            self.centre.book.schema = 1
        for site in SITES:
            self.hello(self.edges[site])
        kinds = [
            kind for kind in self._faults(restores=self.restores) if self.chance.random() < 0.4
        ]
        for _ in range(steps):
            self.now += self.chance.choice((1, 1000, MINUTE, 20 * MINUTE))
            work = self.chance.random()
            if work < 0.36:
                self.somebody_writes()
            elif work < 0.9 or not kinds:
                self.something_moves()
            else:
                self.chance.choice(kinds)()
            self.ghosts.always(self)
        self.settle()
        self.ghosts.at_rest(self)

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now - 10**9:>9} {text}")

    def settle(self) -> None:
        """Let everything come to rest: no more faults, and a person looks after what waits."""
        self.settling = True
        self.note("settling")
        for work in self.open:
            work()
        self.open.clear()
        self.clones.clear()
        self.centre.migrate()
        self.centre.mended = True
        for edge in self.edges.values():
            self._migrate(edge)
        for _ in range(SETTLE_ROUNDS):
            before = self._state()
            self._one_round()
            if self._state() == before:
                return
        self.ghosts.fail("never comes to rest")

    def _one_round(self) -> None:
        for ticket in sorted(self.centre.book.parked):
            self.centre.retry(ticket, self.now)
        for site, edge in self.edges.items():
            self.hello(edge)
            self.drain(edge)
            self.send(edge)
            while self.up[site]:
                self.ingest(site)
            self.sequence()
            self.receive(edge)
            while edge.file.loading is not None:
                self.drain_whole(edge)
                edge.load_some(100)
            self.fetch(edge)
            self.down[site].clear()

    def _state(self) -> object:
        book = self.centre.book
        files = [edge.file for edge in self.edges.values()]
        return (
            book.order, len(book.records), [feed.pos for feed in book.feeds.values()],
            [(f.epoch, f.last_n, f.pos, len(f.log), len(f.undecided), f.acked_n) for f in files],
        )  # fmt: skip

    # --- what moves ---------------------------------------------------------------------------

    def something_moves(self) -> None:
        """One step of the agents, the broker or the centre."""
        edge = self.chance.choice([*self.edges.values(), *self.clones.values()])
        site = edge.file.site
        step = self.chance.randrange(9)
        if step == 0:
            self.drain(edge)
        elif step == 1:
            self.drain(edge)
            self.send(edge)
        elif step in (2, 3) and self.up[site]:
            self.ingest(site)
        elif step == 4 and self.open:
            self.open.pop(self.chance.randrange(len(self.open)))()
        elif step in (5, 6):
            self.sequence()
            self.receive(edge)
        elif step == 7:
            self.drain_whole(edge)
            edge.load_some(self.chance.randrange(1, 5))
        elif self.chance.random() < 0.5:
            self.hello(edge)
        else:
            self.fetch(edge)

    def may_speak(self, edge: Edge) -> bool:
        """Return whether an agent does anything with its file."""
        return edge.file.made_as == edge.place or not self.on(Rule.INSTANCE)

    def drain(self, edge: Edge) -> None:
        """Let the agent drain."""
        if not self.may_speak(edge) or not edge.file.log:
            return
        cut = None if self.settling else self.chance.randrange(1, len(edge.file.log) + 1)
        before = {touch.commit for touch in edge.file.log}
        edge.drain(cut)
        self.ghosts.drained(edge, before - {touch.commit for touch in edge.file.log})

    def send(self, edge: Edge) -> None:
        """Let the agent publish what is next."""
        if not self.may_speak(edge) or not edge.met:
            return
        for link in edge.to_send():
            self.up[edge.file.site].append(link.stored(self.now))

    def ingest(self, site: str) -> None:
        """Let a worker take the next message of a site."""
        link = self.up[site].pop(0)
        chain = self.centre.book.chains.get((site, link.epoch), Chain())
        stale = self.stale.pop((site, link.epoch), None)
        if self.chance.random() < 0.2:
            self.stale[site, link.epoch] = copy.deepcopy(chain)
        verdict = self.centre.receive(link, self.now, stale)
        self.note(f"{site} {link.epoch} n {link.n}/{link.part} {link.tx_id}: {verdict}")
        edge = self.edges[site]
        if verdict in ("gap", "fork") and link.tx_id not in {u.tx_id for u in edge.file.outbox}:
            self.ghosts.broker_lost([link.tx_id])  # what came before it is lost: it can't be taken
        if verdict == "gap":
            last = self.centre.book.chains[site, link.epoch].last_n
            edge.sent[link.epoch] = min(last, edge.sent.get(link.epoch, 0))
        elif verdict == "blocked":
            self.up[site].insert(0, link)
            if self.settling:
                self.ghosts.fail("the queue stands still")
        elif verdict == "fork" and self.settling:
            self.hello(edge)

    def sequence(self) -> None:
        """Let the sequencer make entries of what was committed."""
        for site, entry in self.centre.sequence():
            self.down[site].append(entry)

    def receive(self, edge: Edge) -> None:
        """Let the agent take what the broker holds for it."""
        if not self.may_speak(edge):
            return
        site = edge.file.site
        for entry in list(self.down[site]):
            if edge.file.loading is not None and edge.file.loading.anew:
                return
            crash = not self.settling and self.chance.random() < 0.05
            self.drain_whole(edge)
            verdict = edge.take(entry, crash=crash)
            self.note(f"{site} entry {entry.pos}: {verdict}")
            if verdict == "crash":
                return
            if edge is self.edges[site]:
                self.down[site].remove(entry)
            if verdict == "gap":
                self.fetch(edge)

    def drain_whole(self, edge: Edge) -> None:
        """Drain all, as an apply does first."""
        if self.on(Rule.DRAIN_BEFORE_APPLY):
            before = {touch.commit for touch in edge.file.log}
            edge.drain()
            self.ghosts.drained(edge, before)

    def fetch(self, edge: Edge) -> None:
        """Let the agent ask for what is after its position."""
        site = edge.file.site
        if not self.may_speak(edge) or site not in self.centre.verified:
            return
        entries = self.centre.fetch(site, edge.file.pos, edge.file.pos_hash)
        if entries is None:
            return  # the hello finds out what is the matter
        for entry in entries:
            self.drain_whole(edge)
            edge.take(entry)

    def hello(self, edge: Edge) -> None:
        """Let the agent and the centre tell one another where they stand."""
        if not self.may_speak(edge):
            return
        site, centre = edge.file.site, self.centre
        hello = edge.hello()
        for epoch, _, closed in hello.lineage:
            chain = centre.book.chains.setdefault((site, epoch), Chain())
            chain.closed = closed if chain.closed is None else chain.closed
        centre.chain_of(site, hello.epoch)
        centre.lineages[hello.epoch] = {epoch: fork for epoch, fork, _ in edge.file.lineage}
        if centre.lost(site, hello):
            self._come_home(edge)
            hello = edge.hello()
        fork = centre.fork_of(site, hello)
        centre.verified.add(site)
        if fork is not None and self.on(Rule.NEW_EPOCH):
            centre.reach["fork found"] += 1
            if self.up[site] and self.on(Rule.NOTHING_IN_FLIGHT):
                return
            self._begin_epoch(edge, fork)
        edge.met = True
        if not self.up[site]:
            edge.sent = {
                epoch: chain.last_n
                for (of, epoch), chain in centre.book.chains.items()
                if of == site
            }
        file = edge.file
        if file.loading is None and centre.fetch(site, file.pos, file.pos_hash) is None:
            self.note(f"{site} needs a snapshot")
            centre.reach["snapshot"] += 1
            edge.begin_loading(centre.snapshot(site, anew=False))

    def _come_home(self, edge: Edge) -> None:
        """The centre went back: what it lost comes home from this site."""
        site, centre = edge.file.site, self.centre
        self.note(f"{site} knows more of the centre than the centre: it comes home")
        centre.reach["resync"] += 1
        if self.on(Rule.UNVERIFIED):
            self.up[site].clear()
        self.down[site].clear()
        self.drain_whole(edge)
        if self.on(Rule.SALVAGE):
            file = edge.file
            centre.salvage(
                site, [head for head in file.heads.values() if not head.left],
                list(file.records.values()), edge.decided(),
                self.now,
            )  # fmt: skip
        edge.begin_loading(centre.snapshot(site, anew=True))

    def _begin_epoch(self, edge: Edge, fork: int) -> None:
        site = edge.file.site
        chain = self.centre.chain_of(site, edge.file.epoch)
        if self.on(Rule.CLOSE_FIRST):
            chain.closed = chain.last_n
        self.centre.reach["new epoch"] += 1
        self.drain_whole(edge)
        old = edge.file.epoch
        edge.begin_epoch(fork, chain.last_n)
        self.note(f"{site} leaves {old} at {fork} for {edge.file.epoch}")
        self.centre.chain_of(site, edge.file.epoch)
        self.centre.lineages[edge.file.epoch] = {e: f for e, f, _ in edge.file.lineage}
