"""What happens at the sites, watched from outside: capture, bases, and what is seen of own writes.

Before and after the agent works, all rows are read as any program reads them. What was drained
must be just the difference between two such looks; its base must be the last version that had come
to the site; and a value that the site wrote must be seen until the centre has decided on it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from central.runs import whole_transaction
from edge.store.drain import waiting
from shared.changes import SHARED, FeedEntry
from sync import codec
from tests.sim.catalogue import as_in
from tests.sim.oracle import Change, Sent, fail
from tests.sim.own_writes import OwnWrites
from tests.sim.steps import Steps

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable
    from random import Random

    from shared.catalog import Table
    from tests.sim.centre import Database
    from tests.sim.clock import Clock
    from tests.sim.oracle import Key, Oracle
    from tests.sim.site import Image, Site

#: Many more than the largest snapshot of a run takes.
QUESTIONS_MAX = 400


class Sight(OwnWrites, Steps):
    """Watches the sites."""

    chance: Random
    clock: Clock
    reach: Counter[str]
    database: Database
    oracle: Oracle
    sites: dict[str, Site]
    trace: list[str]

    def prepare_sight(self) -> None:
        """Begin with nothing seen."""
        self.prepare_steps()
        self.images: dict[str, Image] = defaultdict(dict)
        self._written: dict[str, Image] = {}
        self._known_n: dict[str, int] = defaultdict(int)
        #: What the last load had decided, of stores that have one to come or under way.
        self._by_load: dict[str, int] = defaultdict(int)
        self._cursor: dict[tuple[str, str], int] = defaultdict(int)
        #: Order of the last version that came to a site, by row; None while a snapshot loads.
        self.seen: dict[str, dict[Key, int] | None] = defaultdict(dict)
        self.entries: dict[tuple[str, int], FeedEntry] = {}
        #: Questions to the centre in one step.
        self.questions = 0
        #: Transactions of a site that the centre has not decided on, as far as the site knows.
        self.undecided: dict[str, list[Sent]] = defaultdict(list)
        self.came_home: dict[str, set[str]] = defaultdict(set)
        self._epochs: dict[str, str] = {}
        #: Sites whose store went back, until they have what the centre has.
        self.restored: set[str] = set()
        self.were_restored: set[str] = set()
        self.gone: dict[str, list[str]] = defaultdict(list)
        self.marks: set[tuple[str, str]] = set()

    # --- the agent works -------------------------------------------------------------------------

    def store_works(self, work: Callable[[], object]) -> None:
        """Let the agent work on the store."""
        site: Site = self.site  # type: ignore[attr-defined]
        self.observe_before(site)
        work()
        self.observe_after(site)

    async def agent_works(self, work: Awaitable[object]) -> None:
        """Let the agent work."""
        site: Site = self.site  # type: ignore[attr-defined]
        self.observe_before(site)
        try:
            await work
        finally:
            self.observe_after(site)

    async def between_questions(self, subject: str) -> None:
        """Let programs write, and the centre work, while the agent waits for an answer."""
        _, name, verb = subject.split(".")
        self.questions += 1
        if self.questions > QUESTIONS_MAX:
            fail(f"{name} asks {verb} again and again, and comes to no end")
        if verb == "close":  # the centre wants to see first what is under way
            await self.ingest_rest(name)  # type: ignore[attr-defined]
        if verb == "chunk":  # how often an agent asks in vain must not depend on the hour
            await self.centre.rest()  # type: ignore[attr-defined]
        is_quiet = self.settling or self.crashing  # type: ignore[attr-defined]
        if verb == "chunk" and not is_quiet and self.chance.random() < 0.3:
            site = self.sites[name]
            self.observe_after(site)
            self.program_writes(site)  # type: ignore[attr-defined]
            self.observe_before(site)
            self.reach["write during a load"] += 1

    def observe_before(self, site: Site) -> None:
        """Look at what programs have written."""
        if site.is_dirty:
            self._written[site.name] = site.image()

    def observe_after(self, site: Site) -> None:
        """Look at what became of it: what was drained, what has come, what is seen."""
        at = site.store.position()
        if self._epochs.setdefault(site.name, at.epoch) != at.epoch:
            self._begin_epoch(site, at)
        if site.name in self.restored:
            self._look_at_restored(site, at)
            return
        fresh = range(self._known_n[site.name] + 1, at.last_n + 1)
        drained = [self._read(site, at.epoch, n) for n in fresh]
        self._known_n[site.name] = at.last_n
        if site.is_dirty and not waiting(site.store.opened):
            self._check_capture(site, drained)
            site.is_dirty = False
        elif drained:
            fail(f"{site.name} drained, and changes still wait")
        for sent in drained:
            self._check_bases(site, sent)
            self.undecided[site.name].append(sent)
        self._follow(site, at)
        if not site.is_dirty:
            self.images[site.name] = site.image()
            self.check_own_writes(site, max(at.acked_n, self._decided_by_load(site, at)))

    def _decided_by_load(self, site: Site, at: Any) -> int:
        """Return the last n that is decided by the rows of a snapshot, as far as they have come.

        They have come also where that load was given up, and another is to follow.
        """
        under_way = site.store.snapshot_state()
        ack = under_way.manifest.ack if under_way is not None else None
        if ack is not None:
            self._by_load[site.name] = ack.n if ack.epoch == at.epoch else 0
        elif not at.needs_snapshot:
            self._by_load[site.name] = 0
        return self._by_load[site.name]

    # --- a store that went back -------------------------------------------------------------------

    def went_back(self, site: Site) -> None:
        """Forget what was seen of a store: an older copy stands in its place."""
        self.restored.add(site.name)
        self.were_restored.add(site.name)
        if self.oracle.is_blind:  # the copy may be of the time that the centre lost
            self.apart.add(site.name)  # type: ignore[attr-defined]
        self.gone[site.name].clear()  # nobody there knows of these any more
        self._known_n[site.name] = self._by_load[site.name] = 0
        self.observe_after(site)

    def _begin_epoch(self, site: Site, at: Any) -> None:
        """All that is not decided has moved to the new epoch, under the ids that it had."""
        self._epochs[site.name], self._known_n[site.name] = at.epoch, 0
        self._by_load[site.name] = 0
        self.restored.add(site.name)
        self.reach["went on in a new epoch"] += 1

    def _look_at_restored(self, site: Site, at: Any) -> None:
        """Hear what a store sends that knows less than its site has done, and check no more."""
        name = site.name
        rows = site.read("SELECT DISTINCT n FROM _sync_out WHERE epoch = ? ORDER BY n", at.epoch)
        for (n,) in rows:
            if n > self._known_n[name]:
                self._read(site, at.epoch, n)
        self._known_n[name] = at.last_n
        site.is_dirty = bool(waiting(site.store.opened))
        chain = self.oracle.chains[name, at.epoch]
        moved = [chain[n] for n in range(at.acked_n + 1, at.last_n + 1)]
        # What is decided moves as well, as long as it is not safe.
        self.undecided[name] = [each for each in moved if each.tx_id not in self.oracle.applied]
        self.came_home[name] = self._came_home(site, at.epoch)
        shown = site.store.shown()
        self._cursor[name, SHARED], self._cursor[name, name] = shown.shared, shown.own
        # The feed's entries up to here are known, whatever they brought.
        if not self.has_met(site):  # type: ignore[attr-defined]
            return
        if site.has_met and not at.needs_snapshot and not site.is_dirty:
            self.restored.discard(name)
            self.seen[name] = self._read_seen(site)
            self.images[name] = site.image()

    def _came_home(self, site: Site, epoch: str) -> set[str]:
        """Return the transactions that came home, though they are sent again.

        Of a centre that went back nobody foretells them. They are those that another life of the
        store had sent, and that it takes for come home: what was written on them since is seen.
        """
        if not self.oracle.is_blind:
            return set()
        pending = {n for (n,) in site.read("SELECT DISTINCT n FROM _sync_pending")}
        chains = self.oracle.chains
        own = {s.tx_id: n for n, s in chains[site.name, epoch].items()}
        before = {
            sent.tx_id
            for (name, other), chain in chains.items() if name == site.name and other != epoch
            for sent in chain.values()
        }  # fmt: skip
        return {tx for tx in before if own.get(tx, 0) not in pending}

    def _read(self, site: Site, epoch: str, n: int) -> Sent:
        parts = [p for p in site.store.outbox((n - 1, 1 << 40), bytes_max=1 << 40) if p.n == n]
        sent = whole_transaction(parts, [codec.open_body(part) for part in parts], 0)
        made = self.oracle.drained(sent, len(parts))
        what = [(c.op, c.table, c.id[:13], c.new, c.base, c.after) for c in made.changes]
        self.trace.append(f"   {site.name} drains n {n} {made.tx_id}: {what}")
        return made

    # --- capture ---------------------------------------------------------------------------------

    def _check_capture(self, site: Site, drained: list[Sent]) -> None:
        before, after = self.images[site.name], self._written[site.name]
        wanted = {
            key: (before.get(key), after.get(key))
            for key in before.keys() | after.keys()
            if before.get(key) != after.get(key) or site.decided.get(key)
        }
        found = {change.key: change for sent in drained for change in sent.changes}
        if sum(len(sent.changes) for sent in drained) != len(found):
            fail(f"{site.name} drained a row twice at once")
        for key, (old, new) in wanted.items():
            self._check_change(site, key, (old, new), found.pop(key, None))
        for key in site.decided:
            if key[0] == "sync_reviews" and found.pop(key, None) is None:
                fail(f"{site.name}: {key} was decided, and nothing was drained")
        site.decided.clear()
        if found:
            fail(f"{site.name} drained {list(found.values())}, which nobody wrote")

    def _check_change(
        self, site: Site, key: Key, rows: tuple[Any, Any], change: Change | None
    ) -> None:
        table, (old, new) = site.catalog.table(key[0]), rows
        decided = site.decided.get(key, set())
        # What a migration has added stood in no row before.
        old, new = (row and dict.fromkeys(table.names) | as_in(table, row) for row in (old, new))
        if change is not None:  # it was drained by the names of then, and of the site's release
            change = replace(change, new=as_in(table, change.new), old=as_in(table, change.old))
        if change is None:
            if not (old and new and not _touched(table, old, new, decided)):
                fail(f"{site.name}: {key} was {old}, is {new}, and nothing was drained")
            return
        op = "U" if old and new else "I" if new else "D"
        if change.op != op:
            fail(f"{site.name}: {key} was {old}, is {new}, and was drained as {change}")
        told = {c: new[c] for c in table.names} if new else {}
        if op == "U":
            told = {c: told[c] for c in _touched(table, old, new, decided)}
            if any(change.old[c] != old[c] for c in told if c in change.old):
                fail(f"{site.name}: {key} was {old}, and is drained as {change.old} before")
        added = told.keys() - change.new.keys()  # by a migration, in whose course it was drained
        if any(told[c] is not None or table.column(c).since == 1 for c in added) or any(
            told.get(c) != value for c, value in change.new.items()
        ):
            fail(f"{site.name}: {key} should be drained as {told}, and is as {change.new}")
        self._note_marks(table, change)

    def _note_marks(self, table: Table, change: Change) -> None:
        known = self.database.catalog.table(table.name).names
        for name, value in change.new.items():
            if isinstance(value, str) and value.startswith("m") and name in known:
                self.marks.add((change.id, value))

    # --- bases -----------------------------------------------------------------------------------

    def _check_bases(self, site: Site, sent: Sent) -> None:
        seen = self.seen[site.name]
        if seen is None or self.oracle.is_blind:
            return
        for change in sent.changes:
            if site.catalog.table(change.table).fact:
                continue
            orders = self.oracle.orders
            order = orders.get((change.table, change.id, change.base or ""), 0)
            if order != seen.get(change.key, 0):
                fail(
                    f"{site.name} n {sent.n}: {change.key} is based on {change.base} of order"
                    f" {order}, and order {seen.get(change.key, 0)} had come"
                )

    def _follow(self, site: Site, at: Any) -> None:
        """Take note of the versions that have come to a site."""
        name, moved = site.name, list[FeedEntry]()
        shown = site.store.shown()  # what waits for the other feed has come, and is not seen
        for scope, pos in ((SHARED, shown.shared), (name, shown.own)):
            before, self._cursor[name, scope] = self._cursor[name, scope], pos
            moved += [e for p in range(before + 1, pos + 1) if (e := self.entries.get((scope, p)))]
        if at.needs_snapshot:
            self.seen[name] = None
        elif self.seen[name] is None or name in self.were_restored or self.oracle.is_blind:
            # What a store that went back has seen, it alone can tell.
            self.seen[name] = self._read_seen(site)
            self.has_loaded(site)
        else:
            self._take(site, moved, at.acked_n)
            if moved:
                self.check_order(site, at)
        self.undecided[name] = [s for s in self.undecided[name] if s.n > at.acked_n]

    def _take(self, site: Site, moved: list[FeedEntry], acked_n: int) -> None:
        seen = self.seen[site.name]
        assert seen is not None
        for entry in moved:
            for block in entry.blocks:
                for row_id, order in zip(block.ids, block.order, strict=True):
                    if order:
                        seen[block.table, row_id] = max(order, seen.get((block.table, row_id), 0))
                    else:
                        seen.pop((block.table, row_id), None)
        self._take_acked(site, seen, acked_n)

    def _take_acked(self, site: Site, seen: dict[Key, int], acked_n: int) -> None:
        """What an ack passes stands at the site's own version; no head comes of it."""
        # What was parked comes as a head once it is applied, whenever that is.
        parked = {(each.sent.tx_id, each.change.key) for each in self.oracle.tickets.values()}
        for sent in self.undecided[site.name]:
            for change in sent.changes if sent.n <= acked_n else ():
                if (sent.tx_id, change.key) in parked:
                    continue
                own = self.oracle.orders.get((change.table, change.id, sent.tx_id), 0)
                if own > seen.get(change.key, 0):
                    seen[change.key] = own

    def _read_seen(self, site: Site) -> dict[Key, int]:
        rows = site.read(
            "SELECT t.name, r.id, r.version FROM _sync_row r"
            " JOIN _sync_table t ON t.no = r.table_no"
        )
        return {
            (table, row_id): self.oracle.orders.get((table, row_id, version), 0)
            for table, row_id, version in rows
        }

    # --- entries ---------------------------------------------------------------------------------

    async def hear_entries(self) -> None:
        """Read the entries that the sequencer has made, and check what may stand in them."""
        rows = await self.database.rows(
            "SELECT scope, pos, previous, hash, body, xmin::text::bigint FROM sync.feed"
        )
        for scope, pos, previous, own, body, step in sorted(rows, key=lambda row: row[:2]):
            known_as = self.entries.get((scope, pos))
            if known_as is not None:
                if known_as.hash != bytes(own):
                    fail(f"entry {pos} of {scope} was changed")
                continue
            message = codec.encode_entry(scope, pos, bytes(previous), bytes(own), bytes(body))
            entry, _ = codec.decode_entry(message)
            self.entries[scope, pos] = entry
            self.note_step(entry, step)
            self.reach["entry with more"] += entry.more
            heads = [
                (b.fate.name, b.table, [i[:13] for i in b.ids], b.version) for b in entry.blocks
            ]
            self.trace.append(f"   entry {scope} {pos} ack {entry.ack}: {heads}")
            self._check_share(entry)
            if entry.ack and entry.ack.n > self.oracle.last_n[scope, entry.ack.epoch]:
                fail(f"entry {pos} of {scope} acks {entry.ack}, which is not decided")

    def _check_share(self, entry: FeedEntry) -> None:
        for block in entry.blocks:
            self.reach[f"head: {block.fate.name}"] += len(block)
            if block.fate.value != "P":
                continue
            table = self.database.catalog.table(block.table)
            shares = [
                block.sites if name == "site_id" else block.new[block.columns.index(name)]
                for name in table.share
            ]
            for k, row_id in enumerate(block.ids):
                named = [str(values[k]) for values in shares]
                if not any(each == entry.scope or f'"{entry.scope}"' in each for each in named):
                    fail(f"{block.table} {row_id} of {named} goes to {entry.scope}")


def _touched(
    table: Table, old: dict[str, Any], new: dict[str, Any], decided: set[str]
) -> list[str]:
    """Return the columns that a change of a row has to carry."""
    changed = {c for c in table.names if old[c] != new[c] or type(old[c]) is not type(new[c])}
    changed |= decided
    changed = {c for name in changed for c in table.group_of(name).columns}
    writer = table.writer_column
    if changed and writer is not None and new[writer.name] is not None:
        changed.add(writer.name)
    return [c for c in table.names if c in changed]
