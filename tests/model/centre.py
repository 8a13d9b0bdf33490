"""The centre in the model: what sites sent is judged and applied, parked and tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.changes import Op
from sync.decisions import CENTRE, Author, Resolution, Write
from sync.resolve import resolve
from tests.model.book import CAME_HOME, Known, Row
from tests.model.decisions import made
from tests.model.restores import Restores
from tests.model.rules import Rule
from tests.model.vocabulary import ADDED, TABLES, Change, Key, Link, Values

if TYPE_CHECKING:
    from tests.model.book import Chain


class Centre(Restores):
    """Takes what is sent, in order, each once."""

    def receive(self, link: Link, now: int, stale: Chain | None = None) -> str:
        """Apply a message, or say why not. ``stale`` is what another worker had read before."""
        verdict = self._refused(link)
        chain = self.chain_of(link.site, link.epoch)
        if not verdict:
            seen = chain if self.on(Rule.FENCE) or stale is None else stale
            verdict = self._judge(seen, link)
        self.reach[verdict] += 1
        if verdict != "apply":
            return verdict
        whole = self._whole(link)
        if whole is None:
            return "part"
        if not self._apply(whole, now):
            return "blocked"
        if self.on(Rule.CHUNKS_WHOLE) or link.part == link.parts - 1:
            chain.last_n = max(chain.last_n, link.n)
            chain.hash = link.hash
            chain.hashes[link.n] = link.hash
        return "apply"

    def _refused(self, link: Link) -> str:
        """Return why nothing is taken of who sent it, if so."""
        session = self.sessions.get(link.site)
        if session is None and self.on(Rule.UNVERIFIED):
            return "unverified"
        if session is not None and session != link.session and self.on(Rule.SESSION):
            return "late"
        return ""

    def _judge(self, chain: Chain, link: Link) -> str:
        if chain.closed is not None and link.n > chain.closed:
            return "fenced"
        if not self.on(Rule.WATERMARK):
            return "apply"
        if link.n <= chain.last_n:
            known = chain.hashes.get(link.n, link.hash)
            return "skip" if known == link.hash or not self.on(Rule.HASH_CHAIN) else "fork"
        if link.n > chain.last_n + 1 or not self._follows(chain, link):
            return "gap"
        if link.previous != chain.hash and self.on(Rule.HASH_CHAIN):
            return "fork"
        return "apply"

    def _follows(self, chain: Chain, link: Link) -> bool:
        """Return whether the epochs before this one are there, as far as they are part of it."""
        return not self.on(Rule.PARENT_FIRST) or all(
            self.chain_of(link.site, epoch).last_n >= fork for epoch, fork in chain.lineage.items()
        )

    def _whole(self, link: Link) -> Link | None:
        if link.parts == 1 or not self.on(Rule.CHUNKS_WHOLE):
            return link
        parts = self.book.spool.setdefault((link.site, link.epoch, link.n), {})
        if any(part.hash != link.hash for part in parts.values()):
            parts.clear()
        parts[link.part] = link
        if len(parts) < link.parts:
            return None
        del self.book.spool[link.site, link.epoch, link.n]
        self.reach["chunked"] += 1
        changes = tuple(change for k in range(link.parts) for change in parts[k].changes)
        stored_at = max(part.stored_at for part in parts.values())
        return replace(link, changes=changes, part=0, parts=1, stored_at=stored_at)

    def _apply(self, link: Link, now: int) -> bool:
        book = self.book
        if link.tx_id in book.applied and self.on(Rule.TX_ID_ONCE):
            self.reach["known"] += 1
            for change in link.changes:  # what became of it, the ack alone does not say
                self._touch(change.key)
            return True
        order = {Op.DELETE: 0, Op.UPDATE: 1, Op.INSERT: 2}
        changes = sorted(link.changes, key=lambda c: (c.key[0] == "reports", order[c.op]))
        if not self.on(Rule.PARK) and any(self._reason(link, c) for c in changes):
            return False
        book.applied.add(link.tx_id)
        self.effects[link.tx_id] += 1
        self.remember(link)
        for change in changes:
            self._take(link, change, now)
        self.wake(now)
        return True

    def _take(self, link: Link, change: Change, now: int) -> None:
        included = self.book.included.get(change.key, {}).get(link.epoch, 0)
        if change.key[0] != "reports" and link.n <= included:
            self._skip(link, change)
            return
        reason = self._reason(link, change)
        if reason:
            self._park(link, change, reason)
            return
        self._is_not_parked(f"{link.tx_id}/{change.key}", link.site)
        if change.key[0] == "reports":
            self._take_fact(link, change)
        else:
            self._decide(link, change, now)

    def _is_not_parked(self, ticket: str, site: str) -> None:
        """Correct what came home of a change that was parked in our past, and is not any more."""
        record = self.book.records.get(ticket)
        if record is not None and record.policy == "parked":
            self._tell_record(replace(record, policy="applied"), site)

    def _skip(self, link: Link, change: Change) -> None:
        """Its effect came home already, or the record that it had none yet."""
        self.reach["included"] += 1
        self._touch(change.key)  # a store that went back as well waits for it again
        record = self.book.records.get(f"{link.tx_id}/{change.key}")
        if record is not None and record.policy == "parked" and self.on(Rule.PARKED_HOME):
            self.reach["parked home"] += 1
            self._park(link, change, record.outcome, is_news=False)
        row = self.book.rows.get(change.key)
        if row is None or row.values is None:
            # What we had kept of columns that we did not have yet is lost with our past.
            self.tell_late(change.key, {c: v for c, v in change.new.items() if c in ADDED})

    # --- the centre's own writes --------------------------------------------------------------

    def client(self, key: Key, op: Op, new: Values, now: int, number: int) -> bool:
        """Write as any SQL client does: onto what is there. Tell whether anything was done."""
        row = self.book.rows.get(key, Row())
        if (row.values is None) == (op is not Op.INSERT):
            return False
        if self.is_taken(key, new.get("code")):
            return False
        old = {c: (row.values or {}).get(c) for c in new}
        write = Write(op, "", row.version or None, new, old, Author(CENTRE, None, now, False))
        if op is Op.INSERT:
            done = Resolution(new, revive=True)
        else:
            done = resolve(TABLES[key[0]], row.values, row.last, [], write)
        self._number = number
        version = self._version_id(self._name("version"), fresh=False)
        self._put(key, done, Known(0, made(key, version, write, done)))
        self._number = None
        return True

    def api(self, key: Key, new: Values, old: Values, seen: str, now: int) -> bool:
        """Write for a person who saw an earlier version. Tell whether it was taken."""
        row = self.book.rows.get(key, Row())
        if row.values is None and self.is_taken(key, (row.last or {}).get("code")):
            return False  # it may come back by this, and PostgreSQL refuses it
        known = self.book.versions.get(key, [])
        places = [k for k, each in enumerate(known) if each.version.id == seen]
        since = [each.version for each in known[places[-1] + 1 :]] if places else None
        author = Author(CENTRE, None, now, False)
        write = Write(Op.UPDATE, self._name("api"), seen, new, old, author)
        done = resolve(TABLES[key[0]], row.values, row.last, since, write)
        self._keep(key, done)
        self._put(key, done, Known(0, made(key, write.tx_id, write, done)))
        return True

    # --- upkeep -------------------------------------------------------------------------------

    def migrate(self) -> None:
        """Learn the columns that were added."""
        book = self.book
        if book.schema == 2:
            return
        book.schema = 2
        for key, values in book.aside.items():
            row = book.rows.get(key)
            if row is None or row.values is None:
                self.tell_late(key, values)
                continue
            by = book.aside_by.get(key, CAME_HOME)
            write = Write(Op.UPDATE, "", row.version, values, {}, by.author)
            done = Resolution(values)
            version = made(key, self._name("version"), write, done)
            self._put(key, done, Known(0, version, by.epoch, by.n))
        book.aside.clear()
        for item in book.parked.values():  # its site shows the value of one that does not count
            if item.state != "applied" and not ADDED.isdisjoint(item.change.new):
                self._touch(item.change.key, refused=item.link.site)

    def prune_feed(self, site: str) -> None:
        """Forget the entries of a site, as if they were older than they are kept."""
        feed = self.book.feeds[site]
        feed.entries.clear()
        feed.pruned = feed.pos

    def forget(self) -> bool:
        """Forget the deletions, as if they were too old to be kept, and the feeds with them."""
        book = self.book
        if book.queue:
            return False
        book.forgot = True
        for key, row in list(book.rows.items()):
            if row.values is None:
                del book.rows[key]
                book.versions.pop(key, None)
        for site in book.feeds:
            self.prune_feed(site)
        return True
