"""How a site takes what the centre decided: entries, acks, snapshots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.changes import Op
from tests.model.drains import Drains
from tests.model.file import Touch
from tests.model.fold import laid
from tests.model.rules import Rule
from tests.model.vocabulary import ADDED, TABLES, Ack, Change, Fate, Head, Key, Link, Place, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.model.vocabulary import Entry, Snapshot


class Landing(Drains):
    """A site's store, as far as it is told what stands."""

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
        if not self.on(Rule.CLASH_ASIDE) and self._clashes(entry):
            return "clash"
        if self.on(Rule.DRAIN_BEFORE_APPLY):
            self.drain()
        self.meet(entry.start, entry.order, (entry.pos, entry.hash))
        for head in entry.heads:
            self.land(head, entry.ack)
        file.records |= {record.name: record for record in entry.records}
        self._settle(entry.ack, entry.order)
        file.pos, file.pos_hash = entry.pos, entry.hash
        return "apply"

    def _clashes(self, entry: Entry) -> bool:
        """Return whether an own row that is not decided has a code that comes."""
        told = {head.key for head in entry.heads}
        codes = {head.values.get("code") for head in entry.heads if head.values} - {None}
        own = [key for key in self.rows() if key not in told and key not in self.file.heads]
        return any((self.view(key) or {}).get("code") in codes for key in own)

    def meet(self, start: str, order: int, place: Place) -> None:
        """Note what something was taken from, so that a hello can tell."""
        file = self.file
        file.top = max(file.top, place, key=lambda each: each[0])
        file.starts[start] = max(order, file.starts.get(start, 0))

    def _judge(self, entry: Entry) -> str:
        if self.on(Rule.LOST_ENTRIES) and self.session:
            end = self.ends.get(entry.start, 0)
            if end is not None and entry.order > end:
                return "lost"
        if entry.pos <= self.file.pos:
            return "skip"
        if self.on(Rule.FEED_CHAIN) and entry.pos > self.file.pos + 1:
            return "gap"
        if self.on(Rule.FEED_CHAIN) and entry.previous != self.file.pos_hash:
            return "fork"
        return ""

    def land(self, head: Head, ack: Ack) -> None:
        """Put a head in its place, unless a later one is there."""
        file, key = self.file, head.key
        known = file.heads.get(key)
        if known is not None and not known.stale and known.order > head.order:
            # The same version: its order is guessed where an own write was taken as it stood.
            same = known.fate is Fate.DECIDED and known.version == head.version
            if not same and self.on(Rule.NOT_BACKWARDS):
                return
        head = self._as_known(head, ack)
        includes = file.includes.setdefault(key, {})
        for epoch, n, _ in ack:
            includes[epoch] = max(includes.get(epoch, 0), n)
        if not self.on(Rule.OVERLAY):
            file.covered[key] = (file.last_n, file.commits)
        if head.fate is Fate.LEFT:  # what a writer saw last; that it left says nothing of it
            head = replace(head, version=known.version if known else "")
        if head.values is None and known and known.values is not None:
            file.last[key] = known.values
        if not self.on(Rule.NO_ECHO):
            self._echo(head)
        file.heads[key] = head

    def _echo(self, head: Head) -> None:
        """Take what comes for a write of a program, as triggers would that are not told better."""
        old, new = self.values_of(head.key) or {}, head.values or {}
        changed = {c: v for c, v in new.items() if v != old.get(c)}
        if changed:
            seen = {c: old.get(c) for c in changed}
            self.file.log.append(Touch(0, head.key, Op.UPDATE, changed, seen, 0, 0))

    def _as_known(self, head: Head, ack: Ack) -> Head:
        """Return a head with the columns that our schema has, as far as anybody knows them."""
        file, values = self.file, head.values
        if values is None:
            file.aside.pop(head.key, None)  # a row that is made again has none of them
            return head
        if file.schema < 2:
            if self.on(Rule.UNKNOWN_ASIDE):
                file.aside[head.key] = {c: v for c, v in values.items() if c in ADDED}
            return replace(head, values={c: v for c, v in values.items() if c not in ADDED})
        added = ADDED & set(TABLES[head.key[0]].names)
        if values.keys() >= added:
            return head
        # The centre does not know the column yet, and keeps what we have sent of it.
        known = self.values_of(head.key) or {}
        own = [change.new for change in self._decided(head.key, ack)]
        kept = {c: [v[c] for v in (known, *own) if c in v][-1:] or [None] for c in added}
        return replace(head, values={**{c: v[0] for c, v in kept.items()}, **values})

    def _decided(self, key: Key, ack: Ack) -> list[Change]:
        """Return the own changes of a row that an ack decides on, and its head does not hold."""
        decided = {epoch: n for epoch, n, _ in ack}
        links = [
            u
            for u in self.file.undecided
            if u.n <= decided.get(u.epoch, 0) and not self.includes(key, u)
        ]
        return [change for link in links for change in link.changes if change.key == key]

    def _settle(self, ack: Ack, order: int) -> None:
        """Take the decided transactions off the heads, and let go of those that are safe."""
        file = self.file
        decided = {epoch: n for epoch, n, _ in ack}
        left = []
        for link in file.undecided:
            if link.n > decided.get(link.epoch, 0):
                left.append(link)
                continue
            for change in link.changes:
                if change.key[0] != "reports" and not self.includes(change.key, link):
                    self._take_own(link, change, order)
        file.undecided = left
        for epoch, n in decided.items():
            file.acked[epoch] = max(file.acked.get(epoch, 0), n)
        at = 2 if self.on(Rule.KEEP_UNTIL_SAFE) else 1
        self.prune({each[0]: int(each[at]) for each in ack})

    def _take_own(self, link: Link, change: Change, order: int) -> None:
        """Take an own write for decided as it stands: the centre would have told otherwise."""
        file, key = self.file, change.key
        known = file.heads.get(key)
        file.includes.setdefault(key, {})[link.epoch] = link.n
        is_gone = known is not None and (known.fate is not Fate.DECIDED or known.values is None)
        if is_gone and change.op is not Op.INSERT:
            if change.op is Op.DELETE and known is not None and known.fate is Fate.DECIDED:
                file.heads[key] = replace(known, version=link.tx_id)  # gone once more
            return  # it can't have been taken on a row that went out of sight
        before = known.values if known else None
        values = laid(key, before, change.op, change.new, change.old)
        if values is None and before is not None:
            file.last[key] = before
            file.aside.pop(key, None)
        file.heads[key] = Head(key, values, link.tx_id, order)

    def prune(self, safe: Mapping[str, int]) -> None:
        """Let go of what is safe."""
        undecided = {(link.epoch, link.n) for link in self.file.undecided}
        self.file.outbox = [
            link
            for link in self.file.outbox
            if (link.epoch, link.n) in undecided or link.n > safe.get(link.epoch, 0)
        ]

    # --- snapshots ----------------------------------------------------------------------------

    def begin_loading(self, snapshot: Snapshot) -> None:
        """Start to load a snapshot, in the place of any other."""
        file = self.file
        file.loading, file.loaded = snapshot, 0
        place = (snapshot.pos, snapshot.hash)
        if not snapshot.anew:
            self.meet(snapshot.start, snapshot.order, place)
            return
        met = dict(file.starts)
        # It knows of nothing that the centre does not know: what it met of a lost past is told.
        file.starts = {snapshot.start: snapshot.order}
        # The centre went back: what came home is there, and the rest of its past is none.
        file.pos, file.pos_hash = file.top = place
        decided = {epoch: n for epoch, n, _ in snapshot.ack}
        file.acked = {epoch: min(n, decided.get(epoch, 0)) for epoch, n in file.acked.items()}
        if self.on(Rule.FORGET_ORDERS):
            file.heads = {
                key: head if head.stale else replace(head, stale=True, met=met)
                for key, head in file.heads.items()
            }

    def load_some(self, rows: int) -> None:
        """Apply some more rows of the snapshot under way; at its end follow the feed from there."""
        file = self.file
        snapshot = file.loading
        if snapshot is None:
            return
        if self.on(Rule.DRAIN_BEFORE_APPLY):
            self.drain()
        # Records go first: a head whose history is not here must not be told to come from here.
        file.records |= {record.name: record for record in snapshot.records}
        for head in snapshot.heads[file.loaded : file.loaded + rows]:
            self.land(head, snapshot.ack if self.on(Rule.SNAPSHOT_ACK) else ())
        file.loaded += rows
        if file.loaded >= len(snapshot.heads):
            self._finish(snapshot)

    def _finish(self, snapshot: Snapshot) -> None:
        file = self.file
        held = {head.key for head in snapshot.heads}
        if self.on(Rule.TAKE_MISSING):
            for key in [key for key in self.rows() if key not in held]:
                self._take_away(key, snapshot)
        if self.on(Rule.SNAPSHOT_ACK):
            self._settle(snapshot.ack, snapshot.order)
        if snapshot.pos >= file.pos:
            file.pos, file.pos_hash = snapshot.pos, snapshot.hash
        file.loading = None

    def _take_away(self, key: Key, snapshot: Snapshot) -> None:
        """Take away a row that a snapshot did not hold, unless it is newer."""
        head = self.file.heads.get(key)
        if head is None and not self._decided(key, snapshot.ack):
            return
        if head is None or head.stale or head.order <= snapshot.order:
            order = 0 if head is None or head.stale else head.order
            if head is not None and head.values is None:
                self.land(replace(head, order=order, stale=False), snapshot.ack)
                return
            version = head.version if head else ""
            self.land(Head(key, None, version, order, Fate.MISSING), snapshot.ack)

    def values_of(self, key: Key) -> Values | None:
        """Return a row as the centre decided it, by what is known here."""
        head = self.file.heads.get(key)
        return head.values if head else None
