"""A site in the model: a file that can be copied and restored, and an agent that can be killed."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.changes import Op
from sync.policies import merge_both
from tests.model.file import File, Touch
from tests.model.rules import Rule
from tests.model.vocabulary import (
    ADDED,
    GENESIS,
    TABLES,
    Change,
    Head,
    Hello,
    Key,
    Link,
    Values,
    hashed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.catalog import Policy
    from shared.changes import Value
    from tests.model.vocabulary import Entry, Snapshot

    Names = Callable[[str], str]

_ADDITIVE = ("sum", "add_remove_set")


class Edge:
    """A site's store and its agent."""

    def __init__(self, file: File, place: str, off: frozenset[Rule], names: Names) -> None:
        self.file = file
        self.place = place
        self.off = off
        self._name = names
        #: The clock minus the true time.
        self.skew = 0
        #: Last n sent, by epoch: the agent's memory.
        self.sent: dict[str, int] = {}
        #: A hello was answered since the agent started: before, nothing is sent.
        self.met = False

    def on(self, rule: Rule) -> bool:
        """Return whether a rule is on."""
        return rule not in self.off

    # --- users --------------------------------------------------------------------------------

    def view(self, key: Key) -> Values | None:
        """Return the row as a reader sees it: the head under what is not decided yet."""
        if key[0] == "reports":
            return self.file.facts.get(key[1])
        head = self.file.heads.get(key)
        row = None if head is None or head.values is None else dict(head.values)
        for k, (op, new, old) in enumerate(self._undecided(key)):
            if k == 0 and row is None and op is Op.UPDATE:
                row = dict(self.file.last.get(key, {}))  # stays in sight until it is decided
            row = laid(key, row, op, new, old)
        return row

    def _undecided(self, key: Key) -> Iterator[tuple[Op, Mapping[str, Value], Mapping[str, Value]]]:
        covered_n, covered_commit = self.file.covered.get(key, (0, 0))
        for link in self.file.undecided:
            for change in link.changes:
                if change.key == key and link.n > covered_n:
                    yield change.op, change.new, change.old
        for touch in self.file.log:
            if touch.key == key and touch.commit > covered_commit:
                yield touch.op, touch.new, touch.old

    def rows(self) -> list[Key]:
        """Return the keys of all two-way rows that are or were here."""
        keys = set(self.file.heads)
        keys.update(change.key for link in self.file.undecided for change in link.changes)
        keys.update(touch.key for touch in self.file.log)
        return sorted(key for key in keys if key[0] != "reports")

    def commit(self, number: int, wishes: list[tuple[Key, Op, Values]], now: int) -> list[Touch]:
        """Commit what a user wants, in one transaction; return what it did."""
        self.file.commits = number
        done = []
        for key, op, new in wishes:
            seen = self.view(key)
            old = dict(seen or {}) if op is Op.DELETE else {c: (seen or {}).get(c) for c in new}
            touch = Touch(self.file.commits, key, op, new, old, now + self.skew, now)
            self.file.log.append(touch)
            if key[0] == "reports":
                self.file.facts[key[1]] = dict(new)
            done.append(touch)
        return done

    # --- drain and send -----------------------------------------------------------------------

    def drain(self, cut: int | None = None) -> None:
        """Move what was committed into the outbox, as one transaction."""
        file = self.file
        whole = self.on(Rule.WHOLE_TRANSACTIONS) or cut is None
        taken, file.log = (file.log, []) if whole else (file.log[:cut], file.log[cut:])
        changes = tuple(self._changes(taken))
        if changes:
            self._append(self._name("tx"), file.schema, file.offset, changes)

    def _changes(self, touches: list[Touch]) -> Iterator[Change]:
        by_key: dict[Key, list[Touch]] = {}
        for touch in touches:
            by_key.setdefault(touch.key, []).append(touch)
        for key, some in by_key.items():
            head = self.file.heads.get(key)
            own = [
                each.tx_id
                for each in self.file.undecided
                if any(change.key == key for change in each.changes)
            ]
            base = (head.version or None) if head else None
            if own and not self.on(Rule.BASE_IS_DECIDED):
                base = own[-1]
            known = base is not None or bool(own)
            folded = fold(some, first_old=self.on(Rule.FOLD_FIRST_OLD), known=known)
            if folded is not None:
                op, new, old = folded
                after = own[-1] if own else None
                yield Change(key, op, new, old, some[-1].at, base, after, some[-1].true_at)

    def _append(self, tx_id: str, schema: int, offset: int, changes: tuple[Change, ...]) -> None:
        file = self.file
        n = file.last_n + 1
        own = hashed(file.last_hash, file.epoch, n, tx_id, changes)
        link = Link(file.site, file.epoch, n, tx_id, file.last_hash, own, schema, offset, changes)
        file.last_n, file.last_hash = n, own
        file.chain[file.epoch, n] = own
        file.outbox.append(link)
        file.undecided.append(link)

    def to_send(self) -> list[Link]:
        """Return what goes out next, in parts where it is large."""
        links = [link for link in self.file.outbox if link.n > self.sent.get(link.epoch, 0)]
        sent = []
        for link in links[:4]:
            sent += in_parts(link)
            self.sent[link.epoch] = link.n
            if not self.on(Rule.KEEP_UNTIL_DECIDED):
                self.file.outbox.remove(link)
        return sent

    def forge(self, key: Key, mark: str, now: int) -> None:
        """Send a row of another site, as a hostile or broken program might."""
        change = Change(key, Op.INSERT, {"note": mark}, {}, now, None, None, now)
        self._append(self._name("tx"), 2, self.file.offset, (change,))

    def undecided_touches(self) -> list[tuple[Key, Op, Mapping[str, Value]]]:
        """Return what was written here and is not decided, in order."""
        sent = [(c.key, c.op, c.new) for link in self.file.undecided for c in link.changes]
        return [*sent, *((t.key, t.op, t.new) for t in self.file.log)]

    def prune(self, safe: Mapping[str, int]) -> None:
        """Let go of what is safe."""
        undecided = {(link.epoch, link.n) for link in self.file.undecided}
        self.file.outbox = [
            link
            for link in self.file.outbox
            if (link.epoch, link.n) in undecided or link.n > safe.get(link.epoch, 0)
        ]

    def restart(self) -> None:
        """Kill the agent and start it again: it remembers nothing."""
        self.sent = {}
        self.met = False

    # --- what the centre decided --------------------------------------------------------------

    def take(self, entry: Entry, *, crash: bool = False) -> str:
        """Apply an entry, or say why not: skip, gap or fork. A crash comes before the commit."""
        file = self.file
        if verdict := self._judge(entry):
            return verdict
        if crash:
            if not self.on(Rule.CURSOR_WITH_EFFECT):
                file.pos, file.pos_hash = entry.pos, entry.hash
            self.restart()
            return "crash"
        if self.on(Rule.DRAIN_BEFORE_APPLY):
            self.drain()
        for head in entry.heads:
            self._land(head)
        file.records |= {record.name: record for record in entry.records}
        self._settle(entry.ack)
        file.pos, file.pos_hash = entry.pos, entry.hash
        return "apply"

    def _judge(self, entry: Entry) -> str:
        if entry.pos <= self.file.pos:
            return "skip"
        if self.on(Rule.FEED_CHAIN) and entry.pos > self.file.pos + 1:
            return "gap"
        if self.on(Rule.FEED_CHAIN) and entry.previous != self.file.pos_hash:
            return "fork"
        return ""

    def _land(self, head: Head) -> None:
        file = self.file
        known = file.heads.get(head.key)
        if known and known.order > head.order and self.on(Rule.NOT_BACKWARDS):
            return
        if not self.on(Rule.OVERLAY):
            file.covered[head.key] = (file.last_n, file.commits)
        if head.left:  # what was seen last is what a writer saw; that it left says nothing of it
            head = replace(head, version=known.version if known else "")
        if file.schema < 2 and head.values is not None:
            unknown = {c: v for c, v in head.values.items() if c in ADDED}
            head = replace(head, values={c: v for c, v in head.values.items() if c not in ADDED})
            if self.on(Rule.UNKNOWN_ASIDE):
                file.aside[head.key] = unknown
        if file.schema >= 2 and head.values is not None and not head.values.keys() >= ADDED:
            seen = self.view(head.key) or {}  # the centre does not know the column yet
            unknown = {c: seen.get(c) for c in ADDED if c in TABLES[head.key[0]].names}
            head = replace(head, values={**unknown, **head.values})
        if head.values is None and known and known.values is not None:
            file.last[head.key] = known.values
        file.heads[head.key] = head

    def _settle(self, ack: tuple[tuple[str, int, int], ...]) -> None:
        """Take the decided transactions off the heads, and let go of those that are safe."""
        file = self.file
        for epoch, n, _ in ack:
            file.undecided = [u for u in file.undecided if u.epoch != epoch or u.n > n]
            if epoch == file.epoch:
                file.acked_n = max(file.acked_n, min(n, file.last_n))
        at = 2 if self.on(Rule.KEEP_UNTIL_SAFE) else 1
        self.prune({each[0]: each[at] for each in ack})

    # --- snapshots ----------------------------------------------------------------------------

    def begin_loading(self, snapshot: Snapshot) -> None:
        """Start to load a snapshot, in the place of any other."""
        self.file.loading, self.file.loaded = snapshot, 0

    def load_some(self, rows: int) -> None:
        """Apply some more rows of the snapshot under way; at its end follow the feed from there."""
        file = self.file
        snapshot = file.loading
        if snapshot is None:
            return
        if self.on(Rule.DRAIN_BEFORE_APPLY):
            self.drain()
        for head in snapshot.heads[file.loaded : file.loaded + rows]:
            self._land(head)
        file.loaded += rows
        if file.loaded >= len(snapshot.heads):
            self._finish(snapshot)

    def _finish(self, snapshot: Snapshot) -> None:
        file = self.file
        held = {head.key for head in snapshot.heads}
        if self.on(Rule.TAKE_MISSING):
            for key, head in list(file.heads.items()):
                if key not in held and head.order <= snapshot.order_max:
                    file.heads[key] = replace(head, values=None, left=True)
        file.records |= {record.name: record for record in snapshot.records}
        if self.on(Rule.SNAPSHOT_ACK):
            self._settle(snapshot.ack)
        if snapshot.pos >= file.pos or snapshot.anew:
            file.pos, file.pos_hash = snapshot.pos, snapshot.hash
        file.loading = None

    # --- the handshake ------------------------------------------------------------------------

    def hello(self) -> Hello:
        """Say where we stand; the clock is measured with it."""
        file = self.file
        file.offset = -self.skew
        lineage = tuple(file.lineage) if self.on(Rule.LINEAGE) else ()
        return Hello(
            file.epoch, lineage, file.last_n, file.last_hash, file.acked_n,
            file.pos, file.pos_hash, dict(file.chain),
        )  # fmt: skip

    def decided(self) -> dict[str, int]:
        """Return by epoch the last own transaction whose effects are in our heads."""
        upto: dict[str, int] = {}
        for epoch, n in self.file.chain:
            upto[epoch] = max(upto.get(epoch, 0), n)
        for link in self.file.undecided:
            upto[link.epoch] = min(upto[link.epoch], link.n - 1)
        return upto

    def begin_epoch(self, fork_n: int, closed_n: int) -> None:
        """Go on in a new epoch with what the centre does not have of the old one."""
        file = self.file
        moved = [u for u in file.outbox if u.epoch == file.epoch and u.n > fork_n]
        gone = {id(link) for link in moved}
        file.outbox = [u for u in file.outbox if id(u) not in gone]
        file.undecided = [u for u in file.undecided if u.epoch != file.epoch or u.n <= fork_n]
        for n in range(fork_n + 1, file.last_n + 1):
            file.chain.pop((file.epoch, n), None)
        file.lineage.append((file.epoch, fork_n, closed_n))
        file.epoch = self._name("epoch")
        file.last_n, file.last_hash, file.acked_n = 0, GENESIS, 0
        for link in moved:
            tx_id = link.tx_id if self.on(Rule.KEEP_TX_IDS) else self._name("tx")
            self._append(tx_id, link.schema, link.offset, link.changes)

    # --- the schema and the file --------------------------------------------------------------

    def migrate(self) -> None:
        """Learn the columns that were added."""
        file = self.file
        if file.schema == 2:
            return
        self.drain()
        file.schema = 2
        for key, values in file.aside.items():
            head = file.heads.get(key)
            if head is not None and head.values is not None:
                file.heads[key] = replace(head, values={**head.values, **values})
        file.aside.clear()

    def copy(self) -> File:
        """Return a copy of the file, as a backup takes it."""
        return copy.deepcopy(self.file)


def laid(
    key: Key, row: Values | None, op: Op, new: Mapping[str, Value], old: Mapping[str, Value]
) -> Values | None:
    """Return a row under one more write."""
    if op is Op.DELETE:
        return None
    table = TABLES[key[0]]
    if row is None:
        whole: Values = {c.name: c.default for c in table.columns} if op is Op.INSERT else {}
        return {**whole, **old, **new} if op is Op.UPDATE else {**whole, **new}
    laid_over = dict(row)
    for name, value in new.items():
        column = table.column(name)
        if op is Op.UPDATE and _policy(column.policy) in _ADDITIVE:
            laid_over[name] = merge_both(column, row.get(name), value, old.get(name))
        else:
            laid_over[name] = value
    return laid_over


def _policy(policy: Policy) -> str:
    return str(policy)


def fold(touches: list[Touch], *, first_old: bool, known: bool) -> tuple[Op, Values, Values] | None:
    """Return what several touches of a row come to; None where nobody needs to know."""
    op: Op | None = None
    new: Values = {}
    old: Values = {}
    for touch in touches:
        if op is None:
            op, new, old = touch.op, dict(touch.new), dict(touch.old)
        elif touch.op is Op.DELETE:
            op, new = (None if op is Op.INSERT and not known else Op.DELETE), {}
        elif op is Op.DELETE:  # deleted and made again: all of it is new
            op, new = Op.UPDATE, dict(touch.new)
            old = {name: old.get(name) for name in new}
        else:
            new |= touch.new
            if op is Op.UPDATE:
                old = {**touch.old, **old} if first_old else {**old, **touch.old}
    return None if op is None else (op, new, {} if op is not Op.UPDATE else old)


def in_parts(link: Link, size: int = 3) -> list[Link]:
    """Return a transaction as the messages that carry it."""
    count = max(1, -(-len(link.changes) // size))
    return [
        replace(link, changes=link.changes[k * size : (k + 1) * size], part=k, parts=count)
        for k in range(count)
    ]
