"""One site in this process: a real store, programs that write it, and its agent, step by step.

The agent is the product's own ``edge.agent.Agent``, whose methods are called one at a time instead
of by its loops; its calls of the store run where they are made and not in threads.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge import agent as agents
from edge.agent import Agent
from edge.loading import load_snapshot
from edge.reviews import Choice, resolve
from edge.settings import EdgeSettings
from edge.store import EdgeStore
from shared.changes import SHARED
from shared.errors import ForkedHistory
from sync import codec
from tests.sim.disk import Files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from shared.catalog import Catalog
    from sync.protocol import Verdict
    from tests.sim.broker import Broker
    from tests.sim.clock import Clock
    from tests.sim.disk import Crash

HOST = "here"
#: All rows by table and id.
Image = dict[tuple[str, str], dict[str, Any]]


class Inline:
    """Stands for the agent's threads: runs the store's work where it is asked for."""

    def __init__(self, name: str = "") -> None:
        del name

    async def run(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Run the work and return its result."""
        return work(*given, **named)

    def close(self) -> None:
        """End nothing."""


class Quiet:
    """Stands for the file events of the kernel: nobody waits for them here."""

    def __init__(self, store: Path) -> None:
        del store


@dataclass
class Site:
    """A store with its agent and its programs."""

    name: str
    path: Path
    catalog: Catalog
    broker: Broker
    clock: Clock
    chance: Random
    host: str = HOST
    #: The agent does not run; programs go on.
    is_down: bool = False
    #: Programs wrote since the agent's last transaction.
    is_dirty: bool = False
    is_open: bool = False
    #: Columns that a person decided on since, by row; none named for the review itself.
    decided: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    files: Files = field(init=False)

    def __post_init__(self) -> None:
        """Make the store, and start its agent."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.files = Files(self.path)
        self.open()

    # --- lives -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the store and start an agent, which holds nothing but what is in it."""
        self.store = EdgeStore.open(
            self.path, self.catalog, site=self.name, now_ms=self.clock.here(), host=self.host,
            chance=self.chance,
        )  # fmt: skip
        self.is_open = True
        settings = EdgeSettings(site=self.name, store=self.path, beat_s=0.0)
        self.agent = _agent(settings, self.store, self.broker)
        self.agent._up.go_back_to(self.store.position().acked_n)
        self.program = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        self.program.create_function("julianday", 1, self._julianday)

    def _julianday(self, text: str) -> float:
        assert text == "now"
        return self.clock.of(self.name) / 86_400_000 + 2_440_587.5

    def close(self) -> None:
        """Close the store as it stands, if it is open."""
        if self.is_open:
            self.is_open = False
            self.program.close()
            self.store.close()

    def restart(self, catalog: Catalog | None = None) -> None:
        """Stop the agent and start it again, by another catalogue where one is given."""
        self.close()
        self.catalog = catalog or self.catalog
        self.open()

    def crash(self) -> None:
        """End the machine as it was prepared by ``Files.crashing``, and start it again."""
        self.close()
        self.files.recover()
        self.open()

    # --- what the agent does ---------------------------------------------------------------------

    def drain(self) -> None:
        """Drain what programs wrote."""
        self.store.drain(self.clock.here())

    async def send(self) -> int:
        """Publish the next batch."""
        return await self.agent._sender.send_next() if self.has_met else 0

    @property
    def has_met(self) -> bool:
        """Return whether both ends agree; before, nothing is sent or received."""
        return bool(self.agent._met.is_set())

    async def receive(self, scope: str, count: int) -> Verdict | None:
        """Take what the broker has of a feed."""
        if not self.has_met:
            return None
        found: Verdict | None = await self._until_apart(self._receive(scope, count))
        return found

    async def _until_apart(self, work: Any) -> Any:
        """Do as ``Agent._receive`` does where the feed does not go on from here: say hello."""
        try:
            return await work
        except ForkedHistory as why:
            if self.agent._unmended == str(why):
                raise
            self.agent._forked = str(why)
            self.agent._met.clear()
            return None

    async def _receive(self, scope: str, count: int) -> Verdict | None:
        subject = f"down.{'all' if scope == SHARED else scope}"
        deliveries = self.broker.deliver(subject, self.name, count)
        if not deliveries:
            return None
        receiver = self.agent._receiver
        verdict = await receiver.receive_next(deliveries)
        self.broker.ack(subject, self.name, deliveries[: receiver.settled(deliveries)])
        return verdict

    async def fetch(self) -> None:
        """Ask the centre for what is missing."""
        if self.has_met:
            await self._until_apart(self.agent._down.ask_again())

    async def hello(self) -> None:
        """Say where the store stands, and do what the answer asks for."""
        await self.agent._hello()

    async def load(self) -> None:
        """Load a snapshot, or go on with one."""
        if self.has_met:
            link: Any = self.broker
            thread, met = self.agent._thread, self.agent._met
            await self._until_apart(load_snapshot(link, self.store, thread, self.name, met))

    async def obey(self) -> None:
        """Do what the centre's orders ask for."""
        orders = self.broker.orders.get(self.name)
        while orders:
            order, payload = orders.popleft()
            if order == "rewind":
                self.agent._up.go_back_to(int(codec.decode_control(payload)["after"]))
            elif order == "hello":
                await self.hello()

    def prune(self) -> int:
        """Remove from the outbox what is safe."""
        return self.store.prune(self.clock.here())

    @property
    def needs_snapshot(self) -> bool:
        """Return whether the feed waits for a snapshot."""
        return self.store.position().needs_snapshot

    # --- what programs do ------------------------------------------------------------------------

    def write(self, statements: list[tuple[str, tuple[Any, ...]]]) -> str:
        """Run statements in one transaction; return why the store refused them, if it did."""
        self.program.execute("BEGIN IMMEDIATE")
        try:
            for text, given in statements:
                self.program.execute(text, given)
        except (sqlite3.IntegrityError, sqlite3.OperationalError) as why:
            if self.program.in_transaction:
                self.program.execute("ROLLBACK")
            return str(why)
        self.program.execute("COMMIT")
        self.is_dirty = True
        return ""

    def decide(self, name: str, choice: Choice) -> None:
        """Let a person decide on a review, in a transaction of its own."""
        now = datetime.fromtimestamp(self.clock.of(self.name) // 1000, UTC)
        told = f"{now:%Y-%m-%dT%H:%M:%S}.000Z"
        done = resolve(self.program, self.catalog, name, choice, now=told)
        assert done.conflict.review is not None
        self.decided.setdefault(("sync_reviews", done.conflict.review.id), set())
        row = self.decided.setdefault((done.conflict.table, done.conflict.row_id), set())
        row.update(done.decision.columns)
        self.is_dirty = True

    def read(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        """Return what any program sees."""
        return self.program.execute(query, given).fetchall()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table as any program sees them."""
        names = ("id", "site_id", "created_at", *self.catalog.table(table).names)
        found = self.read(f"SELECT {', '.join(names)} FROM {table}")
        return [dict(zip(names, row, strict=True)) for row in found]

    def image(self) -> Image:
        """Return all rows of the campaign's tables."""
        tables = [t.name for t in self.catalog.tables if not t.name.startswith("sync_")]
        return {(table, row["id"]): row for table in tables for row in self.rows(table)}


def _agent(settings: EdgeSettings, store: EdgeStore, link: Any) -> Agent:
    """Make an agent that has no threads and watches no files."""
    threads, agents.StoreThread = agents.StoreThread, Inline  # type: ignore[assignment,attr-defined]
    wakes, agents.Wake = agents.Wake, Quiet  # type: ignore[assignment,attr-defined]
    try:
        return Agent(settings, store, link)
    finally:
        agents.StoreThread, agents.Wake = threads, wakes  # type: ignore[attr-defined]


def crash_of(site: Site, crash: Crash) -> Any:
    """Return the context in which the site's machine ends."""
    return site.files.crashing(site.store.opened.connection, crash)
