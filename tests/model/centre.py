"""The centre in the model: what sites sent is judged and applied, parked and tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.changes import Op
from sync.decisions import CENTRE, Author, Resolution, Write
from sync.resolve import resolve
from tests.model.book import Chain, Parked, Row
from tests.model.restores import Restores
from tests.model.rules import Rule
from tests.model.vocabulary import (
    POISON,
    TABLES,
    Change,
    Key,
    Link,
    Record,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.changes import Value

    Names = Callable[[str], str]


class Centre(Restores):
    """Takes what is sent, in order, each once."""

    def receive(self, link: Link, now: int, stale: Chain | None = None) -> str:
        """Apply a message, or say why not. ``stale`` is what another worker had read before."""
        book = self.book
        if link.site not in self.verified and self.on(Rule.UNVERIFIED):
            return "unverified"
        chain = book.chains.setdefault((link.site, link.epoch), Chain())
        seen = chain if self.on(Rule.FENCE) or stale is None else stale
        verdict = self._judge(seen, link)
        self.reach[verdict] += 1
        if verdict != "apply":
            return verdict
        whole = self._whole(link)
        if whole is None:
            return "part"
        if not self._apply(chain, whole, now):
            return "blocked"
        if self.on(Rule.CHUNKS_WHOLE) or link.part == link.parts - 1:
            chain.last_n = max(chain.last_n, link.n)
            chain.hash = link.hash
            chain.hashes[link.n] = link.hash
        return "apply"

    def _judge(self, chain: Chain, link: Link) -> str:
        if chain.closed is not None and link.n > chain.closed:
            return "fenced"
        if not self.on(Rule.WATERMARK):
            return "apply"
        if link.n <= chain.last_n:
            known = chain.hashes.get(link.n, link.hash)
            return "skip" if known == link.hash or not self.on(Rule.HASH_CHAIN) else "fork"
        if link.n > chain.last_n + 1:
            return "gap"
        if link.previous != chain.hash and self.on(Rule.HASH_CHAIN):
            return "fork"
        return "apply"

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

    def _apply(self, chain: Chain, link: Link, now: int) -> bool:
        book = self.book
        if link.tx_id in book.applied and self.on(Rule.TX_ID_ONCE):
            return True
        order = {Op.DELETE: 0, Op.UPDATE: 1, Op.INSERT: 2}
        changes = sorted(link.changes, key=lambda c: (c.key[0] == "reports", order[c.op]))
        if not self.on(Rule.PARK) and any(self._reason(link, c) for c in changes):
            return False
        book.applied.add(link.tx_id)
        self.effects[link.tx_id] += 1
        for change in changes:
            if change.key[0] != "reports" and link.n <= chain.included:
                continue  # its effect came home with the salvage
            reason = self._reason(link, change)
            if reason:
                self._park(link, change, reason)
            elif change.key[0] == "reports":
                self._take_fact(link, change)
            else:
                self._decide(link, change, now)
        self._wake(now)
        return True

    def _reason(self, link: Link, change: Change) -> str:
        """Return why a change can't be applied; empty where it can."""
        foreign = change.key[1].startswith("SITE") and not change.key[1].startswith(link.site)
        if foreign and self.on(Rule.SITE_BOUNDARY):
            return "foreign"
        if change.key[0] == "reports":
            order = ("orders", str(change.new.get("order")))
            missing = order not in self.book.rows and self.on(Rule.WAIT_FOR_PARENT)
            return "parent" if missing else ""
        if change.new.get("due") == POISON and not self.mended:
            return "poison"
        if change.after is not None and self.on(Rule.PARK_BEHIND):
            ticket = f"{change.after}/{change.key}"
            if ticket in self.book.parked and self.book.parked[ticket].state == "parked":
                return "behind"
        code = change.new.get("code")
        if code is not None and self._taken(change.key, code):
            return "unique"
        return ""

    def _taken(self, key: Key, code: Value) -> bool:
        site = key[1].split("/")[0]
        return any(
            row.values is not None and row.values.get("code") == code
            for other, row in self.book.rows.items()
            if other != key and other[0] == "orders" and other[1].startswith(site)
        )

    def _take_fact(self, link: Link, change: Change) -> None:
        facts, values = self.book.facts, dict(change.new)
        if not self.on(Rule.ID_ALONE) and values in facts.values():
            return
        if facts.get(change.key[1], values) != values:
            self._park(link, change, "id taken")
            return
        facts[change.key[1]] = values

    # --- parked -------------------------------------------------------------------------------

    def _park(self, link: Link, change: Change, reason: str) -> None:
        ticket = f"{link.tx_id}/{change.key}"
        if ticket in self.book.parked:
            return
        self.reach["parked"] += 1
        self.reach[f"parked: {reason}"] += 1
        self.book.parked[ticket] = Parked(link, change, reason)
        values = (*change.new.items(), *change.old.items())
        self._tell_record(Record(ticket, change.key, "parked", reason, values), link.site)
        self._touch(change.key)

    def _wake(self, now: int) -> None:
        """Apply what waited for a row that has come, or for a change that was parked."""
        again = True
        while again:
            again = False
            for ticket, item in list(self.book.parked.items()):
                waits = item.reason in ("parent", "behind") and item.state == "parked"
                if waits and not self._reason(item.link, item.change):
                    self.retry(ticket, now)
                    again = True

    def retry(self, ticket: str, now: int) -> bool:
        """Try a parked change again; tell whether it is applied now."""
        item = self.book.parked[ticket]
        change = item.change
        if item.state != "parked" or self._reason(item.link, change):
            return False
        item.state = "applied"
        if change.key[0] == "reports":
            self._take_fact(item.link, change)
        else:
            self.reach["retried"] += 1
            self._decide(item.link, change, now, late=self.on(Rule.RETRY_IS_LATE))
        return True

    # --- the centre's own writes --------------------------------------------------------------

    def begin(self) -> int:
        """Begin a transaction of a client: its number is drawn now, and it commits later."""
        self.book.number += 1
        return self.book.number

    def client(self, key: Key, op: Op, new: Values, now: int, number: int) -> bool:
        """Write as any SQL client does: onto what is there. Tell whether anything was done."""
        row = self.book.rows.get(key, Row())
        if (row.values is None) == (op is not Op.INSERT):
            return False
        if new.get("code") is not None and self._taken(key, new["code"]):
            return False
        old = {c: (row.values or {}).get(c) for c in new}
        write = Write(op, "", row.version or None, new, old, Author(CENTRE, None, now, False))
        if op is Op.INSERT:
            done = Resolution(new, revive=True)
        else:
            done = resolve(TABLES[key[0]], row.values, row.last, [], write)
        self._number = number
        self._put(key, op, done, self._version_id(self._name("version"), fresh=False), write)
        self._number = None
        return True

    def api(self, key: Key, new: Values, old: Values, seen: str, now: int) -> None:
        """Write for a person who saw an earlier version."""
        row = self.book.rows.get(key, Row())
        known = self.book.versions.get(key, [])
        places = [k for k, each in enumerate(known) if each.version.id == seen]
        since = [each.version for each in known[places[-1] + 1 :]] if places else None
        write = Write(
            Op.UPDATE, self._name("api"), seen, new, old, Author(CENTRE, None, now, False)
        )
        done = resolve(TABLES[key[0]], row.values, row.last, since, write)
        change = Change(key, Op.UPDATE, new, old, now, seen, None, now)
        self._keep(change, key[1].split("/")[0], done, since)
        self._put(key, Op.UPDATE, done, write.tx_id, write)

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
                name = self._name("record")
                record = Record(name, key, "late column", "central", tuple(values.items()))
                self._tell_record(record, key[1].split("/")[0])
            else:
                write = Write(
                    Op.UPDATE, "", row.version, values, {}, Author(CENTRE, None, 0, False)
                )
                self._put(key, Op.UPDATE, Resolution(values), self._name("version"), write)
        book.aside.clear()

    def prune_feed(self, site: str) -> None:
        """Forget the entries of a site, as if they were older than they are kept."""
        feed = self.book.feeds[site]
        feed.entries.clear()
        feed.pruned = feed.pos

    def forget(self) -> None:
        """Forget the deletions, as if they were too old to be kept, and the feeds with them."""
        book = self.book
        if book.queue:
            return
        book.forgot = True
        for key, row in list(book.rows.items()):
            if row.values is None:
                del book.rows[key]
                book.versions.pop(key, None)
        for site in book.feeds:
            self.prune_feed(site)
