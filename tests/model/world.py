"""A seeded run: sites and the centre write, everything between them breaks, then all must agree."""

from __future__ import annotations

import copy
import random
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.model.bias import USUAL
from tests.model.book import Chain
from tests.model.breakage import Breakage
from tests.model.centre import Centre
from tests.model.edge import Edge
from tests.model.file import File
from tests.model.ghosts import Ghosts
from tests.model.handshake import Handshake
from tests.model.rules import Rule
from tests.model.scenes import Scenes
from tests.model.vocabulary import MINUTE, SITES, Link
from tests.model.writers import Writers

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tests.model.bias import Bias
    from tests.model.book import Book
    from tests.model.vocabulary import Entry

STEPS: Final = 140
SETTLE_ROUNDS: Final = 60


class World(Writers, Breakage, Scenes, Handshake):
    """Two sites, a broker that is trusted with nothing, and the centre."""

    def __init__(
        self, seed: int, off: frozenset[Rule] = frozenset(), *, restores: bool = False,
        bias: Bias = USUAL,
    ) -> None:  # fmt: skip
        self.chance = random.Random(seed)
        self.off = off
        self.bias = bias
        self.restores = restores or bias.restores
        self.now = 10**9
        self.count = 0
        self.ghosts = Ghosts()
        self.centre = Centre(SITES, off, self.name)
        self.centre.sequence_all = self.sequence
        self.centre.note = self.note
        self.centre.on_conflict = self.ghosts.judge
        self.centre.on_decision = partial(self.ghosts.decided, self)
        self.centre.start(self.now)
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
        #: Messages that are held up somewhere on their way.
        self.limbo: list[Link] = []
        #: The centre went back in this run.
        self.went_back = False
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
        kinds = self._kinds()
        for _ in range(steps):
            self.now += self.chance.choice((1, 1000, MINUTE, 20 * MINUTE))
            work = self.chance.random()
            if work < self.bias.writes:
                self.somebody_writes()
            elif work < self.bias.calm or not kinds:
                self.something_moves()
            else:
                self.chance.choice(kinds)()
            self.ghosts.always(self)
        self.settle()
        self.ghosts.recount(self, at_rest=True)
        self.ghosts.at_rest(self)

    def _kinds(self) -> list[Callable[[], None]]:
        """Return what breaks in this run."""
        if self.bias.faults:
            return [getattr(self, name) for name in self.bias.faults]
        return [kind for kind in self._faults(restores=self.restores) if self.chance.random() < 0.4]

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
        self.ghosts.recount(self)
        self.centre.migrate()
        self.centre.mended = True
        for edge in self.edges.values():
            self.hello(edge)
        for _ in range(SETTLE_ROUNDS):
            before, is_quiet = self._state(), not any(self.up.values())
            self._one_round()
            if self.limbo:
                self.arrives(self.limbo.pop(0))
            elif is_quiet and self._state() == before and self._all_met():
                return
        self.ghosts.fail("never comes to rest")

    def _all_met(self) -> bool:
        sessions = {site: edge.session for site, edge in self.edges.items()}
        return sessions == self.centre.sessions

    def _one_round(self) -> None:
        for ticket in sorted(self.centre.book.parked):
            self.centre.retry(ticket, self.now)
        for site, edge in self.edges.items():
            self.hello(edge)
            self.migrate_site(edge)
            self.drain(edge)
            self.send(edge)
            while self.up[site]:
                self.ingest(site)
            self.sequence()
            self.receive(edge)
            while edge.file.loading is not None and self.may_work(edge):
                self.load(edge, 100)
            self.fetch(edge)
            self.down[site].clear()

    def _state(self) -> object:
        book = self.centre.book
        return (
            book.order, len(book.records), [feed.pos for feed in book.feeds.values()],
            [
                (
                    edge.session, sorted(edge.sent.items()), edge.file.epoch, edge.file.last_n,
                    edge.file.pos, len(edge.file.log), len(edge.file.undecided),
                    sorted(edge.file.acked.items()),
                )
                for edge in self.edges.values()
            ],
        )  # fmt: skip

    # --- what moves ---------------------------------------------------------------------------

    def something_moves(self) -> None:
        """One step of the agents, the broker or the centre."""
        edge = self.chance.choice([*self.edges.values(), *self.clones.values()])
        site = edge.file.site
        step = self.chance.randrange(10)
        if step < 2:
            self.drain(edge)
            if step:
                self.send(edge)
        elif step < 4:
            if self.up[site]:
                self.ingest(site)
        elif step < 6:
            self.sequence()
            self.receive(edge)
        elif step == 6:
            self.load(edge, self.chance.randrange(1, 5))
        elif step == 7:
            self.hello(edge) if self.chance.random() < 0.5 else self.fetch(edge)
        else:
            self._what_waits_goes_on()

    def _what_waits_goes_on(self) -> None:
        """Let a transaction of a client commit, or a message arrive that was held up."""
        if self.open:
            self.open.pop(self.chance.randrange(len(self.open)))()
        if self.limbo and self.chance.random() < 0.4:
            self.arrives(self.limbo.pop(0))

    def arrives(self, link: Link) -> None:
        """Let a message arrive after all, before those that were sent later or after them."""
        queue = self.up[link.site]
        queue.insert(self.chance.choice((0, len(queue))), link)

    def may_speak(self, edge: Edge) -> bool:
        """Return whether an agent does anything with its file."""
        return edge.file.made_as == edge.place or not self.on(Rule.INSTANCE)

    def may_work(self, edge: Edge) -> bool:
        """Return whether an agent may drain and send by now."""
        return self.may_speak(edge) and edge.may_work

    def drain(self, edge: Edge) -> None:
        """Let the agent drain."""
        if not self.may_work(edge) or not edge.file.log:
            return
        cut = None if self.settling else self.chance.randrange(1, len(edge.file.log) + 1)
        before = {touch.commit for touch in edge.file.log}
        edge.drain(cut)
        self.ghosts.drained(edge, before - {touch.commit for touch in edge.file.log})

    def send(self, edge: Edge) -> None:
        """Let the agent publish what is next."""
        if not self.may_work(edge):
            return
        for link in edge.to_send():
            self.ghosts.unpromised.discard(link.tx_id)
            self.up[edge.file.site].append(link.stored(self.now, edge.session))

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
        if verdict in ("gap", "fork"):
            self.ghosts.unpromised.add(link.tx_id)  # it has to be sent again, if it still can be
            self.ghosts.recount(self)
        if verdict == "gap":
            self._send_again(edge)
        elif verdict == "blocked":
            self.up[site].insert(0, link)
            if self.settling:
                self.ghosts.fail("the queue stands still")
        elif verdict == "fork" and link.session == edge.session:
            self.hello(edge)

    def _send_again(self, edge: Edge) -> None:
        for (of, epoch), chain in self.centre.book.chains.items():
            if of == edge.file.site:
                edge.sent[epoch] = min(chain.last_n, edge.sent.get(epoch, 0))

    def sequence(self) -> None:
        """Let the sequencer make entries of what was committed."""
        for site, entry in self.centre.sequence():
            self.down[site].append(entry)

    def receive(self, edge: Edge) -> None:
        """Let the agent take what the broker holds for it."""
        if not self.may_work(edge):
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
            self._may_have_let_go(edge)
            if edge is self.edges[site]:
                self.down[site].remove(entry)
            if verdict == "gap":
                self.fetch(edge)

    def load(self, edge: Edge, rows: int) -> None:
        """Let the agent load some more of a snapshot."""
        if self.may_work(edge):
            self.drain_whole(edge)
            edge.load_some(rows)
            self._may_have_let_go(edge)

    def _may_have_let_go(self, edge: Edge) -> None:
        """Note what nobody has any more where an agent followed a lost history still."""
        if self.went_back and edge.session != self.centre.sessions.get(edge.file.site):
            self.ghosts.recount(self)

    def drain_whole(self, edge: Edge) -> None:
        """Drain all, as an apply does first."""
        if self.on(Rule.DRAIN_BEFORE_APPLY):
            before = {touch.commit for touch in edge.file.log}
            edge.drain()
            self.ghosts.drained(edge, before)

    def fetch(self, edge: Edge) -> None:
        """Let the agent ask for what is after its position."""
        site = edge.file.site
        loading = edge.file.loading
        if not self.may_work(edge) or site not in self.centre.sessions:
            return
        if loading is not None and loading.anew:
            return
        entries = self.centre.fetch(site, edge.file.pos, edge.file.pos_hash)
        if entries is None:
            return  # the hello finds out what is the matter
        for entry in entries:
            self.drain_whole(edge)
            edge.take(entry)
