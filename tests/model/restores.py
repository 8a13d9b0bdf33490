"""The handshake of the model: what went back, at which end, and what comes home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.changes import Op
from sync.decisions import Author, Version, Write
from sync.resolve import resolve
from tests.model.book import Book, Chain, Feed, Known, Row
from tests.model.feeds import Feeds
from tests.model.rules import Rule
from tests.model.vocabulary import (
    TABLES,
    Change,
    Head,
    Record,
    Values,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping

    from tests.model.vocabulary import Hello

    Names = Callable[[str], str]


class Restores(Feeds):
    """Compares what a site says with the book."""

    def lost(self, site: str, hello: Hello) -> bool:
        """Return whether a site knows more of us than we do: so we went back."""
        chain = self.book.chains.get((site, hello.epoch), Chain())
        feed = self.book.feeds[site]
        if hello.acked_n > chain.last_n or hello.pos > feed.pos:
            return True
        known = feed.hash if hello.pos == feed.pos else self._hash_at(feed, hello.pos)
        if known is not None and known != hello.pos_hash:
            return True
        at = chain.hashes.get(hello.acked_n)
        return at is not None and at != hello.chain.get((hello.epoch, hello.acked_n), at)

    def _hash_at(self, feed: Feed, pos: int) -> str | None:
        for entry in feed.entries:
            if entry.pos == pos:
                return entry.hash
            if entry.pos == pos + 1:
                return entry.previous
        return None

    def fork_of(self, site: str, hello: Hello) -> int | None:
        """Return up to where a site's chain is ours; None where it goes on from ours."""
        chain = self.book.chains.get((site, hello.epoch), Chain())
        common = [n for n, own in chain.hashes.items() if hello.chain.get((hello.epoch, n)) == own]
        ahead = chain.last_n > hello.n
        other = chain.last_n and hello.chain.get((hello.epoch, chain.last_n)) != chain.hash
        if not ahead and not (other and self.on(Rule.HASH_CHAIN)):
            return None
        pruned = [n for n in chain.hashes if (hello.epoch, n) not in hello.chain and n <= hello.n]
        return max([*common, *pruned], default=0)

    def salvage(
        self, site: str, heads: Iterable[Head], records: Iterable[Record],
        included: Mapping[str, int], now: int,
    ) -> None:  # fmt: skip
        """Take home what we had decided before we went back."""
        book = self.book
        for epoch, n in included.items():
            chain = book.chains.setdefault((site, epoch), Chain())
            if n > chain.last_n:
                chain.included = max(chain.included, n)
        for record in records:
            if record.name not in book.records:
                self._tell_record(record, site)
        for head in heads:
            self._salvage_row(head, now)

    def _salvage_row(self, head: Head, now: int) -> None:
        book, key = self.book, head.key
        ids = {each.version.id for each in book.versions.get(key, [])}
        order, base = book.tips.get(key, (0, None))
        if head.version in ids or not head.version or head.order <= order:
            return
        self.reach["salvage"] += 1
        if key not in book.tips:
            before = book.fork_rows.get(key) or book.rows.get(key) or Row()
            base = before.values
        known = book.versions.get(key, [])
        since = [each.version for each in known if each.order > book.fork_order]
        book.tips[key] = (head.order, head.values)
        row = book.rows.setdefault(key, Row())
        if not [v for v in since if v.author.site != "lost"]:
            row.last = row.values if head.values is None else row.last
            row.values = None if head.values is None else dict(head.values)
            done_order = max(book.order + 1, head.order)
        else:
            self._merge_lost(head, base, since, now)
            done_order = max(book.order + 1, head.order)
        book.order = done_order
        row.version, row.order = head.version, done_order
        author = Author("lost", None, book.fork_at, False)
        made = Version(head.version, Op.UPDATE, frozenset(TABLES[key[0]].names), author)
        book.versions.setdefault(key, []).append(Known(done_order, made))
        self._touch(key)

    def _merge_lost(self, head: Head, base: Values | None, since: list[Version], now: int) -> None:
        self.reach["salvage merged"] += 1
        row = self.book.rows[head.key]
        author = Author("lost", None, self.book.fork_at, False)
        if head.values is None:
            write = Write(Op.DELETE, head.version, "", {}, {}, author)
        elif base is None:
            write = Write(Op.INSERT, head.version, None, head.values, {}, author)
        else:
            new = {c: v for c, v in head.values.items() if v != base.get(c)}
            write = Write(Op.UPDATE, head.version, "", new, {c: base.get(c) for c in new}, author)
        done = resolve(TABLES[head.key[0]], row.values, row.last, since, write)
        change = Change(head.key, write.op, write.new, write.old, now, None, None, now)
        self._keep(change, head.key[1].split("/")[0], done, since)
        if done.delete:
            row.last, row.values = row.values, None
        elif done.revive:
            row.values = dict(done.values)
        elif row.values is not None:
            row.values = {**row.values, **done.values}

    def chain_of(self, site: str, epoch: str) -> Chain:
        """Return the chain of an epoch, which is new where it is not known."""
        return self.book.chains.setdefault((site, epoch), Chain())

    def restore(self, book: Book, effects: Counter[str], now: int) -> None:
        """Go on with an older book; the start after it is where another history may begin."""
        self.book, self.effects = book, effects
        book.fork_order, book.fork_at = book.order, now
        book.fork_rows, book.tips = {}, {}
        self.verified.clear()
