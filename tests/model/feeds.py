"""The feeds of the model's centre: numbered entries for each site, and snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.decisions import Decisions
from tests.model.rules import Rule
from tests.model.vocabulary import (
    ADDED,
    TABLES,
    Entry,
    Head,
    Key,
    Record,
    Snapshot,
    Values,
    hashed,
    members,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.changes import Value
    from tests.model.book import Feed

    Names = Callable[[str], str]


class Feeds(Decisions):
    """Makes entries of what was committed."""

    def sequence(self) -> list[tuple[str, Entry]]:
        """Make the feeds' next entries of what was committed; return them by site."""
        book = self.book
        taken = book.queue
        if not self.on(Rule.COMMIT_ORDER):
            taken = [each for each in taken if each[0] > book.passed]
            book.passed = max([book.passed, *(each[0] for each in taken)])
        book.queue = []
        keys = list(dict.fromkeys(key for _, key, _, _ in taken if key is not None))
        made = []
        for site, feed in book.feeds.items():
            heads = tuple(head for key in keys if (head := self._head_for(site, key)))
            records = tuple(r for _, _, r, to in taken if r is not None and to == site)
            ack = self._ack(site)
            if heads or records or ack != feed.acked:
                made.append((site, self._append(feed, heads, records, ack)))
        return made

    def _append(
        self, feed: Feed, heads: tuple[Head, ...], records: tuple[Record, ...],
        ack: tuple[tuple[str, int, int], ...],
    ) -> Entry:  # fmt: skip
        own = hashed(feed.hash, feed.pos + 1, [(h.key, h.version) for h in heads], ack)
        entry = Entry(feed.pos + 1, feed.hash, own, heads, records, ack)
        feed.entries.append(entry)
        feed.pos, feed.hash, feed.acked = entry.pos, own, ack
        return entry

    def _ack(self, site: str) -> tuple[tuple[str, int, int], ...]:
        return tuple(
            (epoch, chain.last_n, min(chain.last_n, self.safe.get((site, epoch), 0)))
            for (of, epoch), chain in self.book.chains.items()
            if of == site
        )

    def _head_for(self, site: str, key: Key) -> Head | None:
        row = self.book.rows.get(key)
        if row is None:  # parked, and never there
            return Head(key, None, "", 0) if self.shares(site, key, {}) else None
        if row.values is None:
            reached = site in row.sent or self.shares(site, key, row.last or {})
            return Head(key, None, row.version, row.order) if reached else None
        if self.shares(site, key, row.values):
            row.sent.add(site)
            return Head(key, self._all_columns(key, row.values), row.version, row.order)
        if site in row.sent and self.on(Rule.SHARE_LEAVES):
            row.sent.discard(site)
            return Head(key, None, row.version, row.order, left=True)
        return None

    def _all_columns(self, key: Key, values: Values) -> Values:
        """Return a row with every column that the centre knows."""
        names = [n for n in TABLES[key[0]].names if self.book.schema >= 2 or n not in ADDED]
        return {name: values.get(name) for name in names}

    def shares(self, site: str, key: Key, values: Mapping[str, Value]) -> bool:
        if key[0] == "people":
            return site in members(values.get("sites"))
        return key[1].startswith(site)

    def fetch(self, site: str, after: int, previous: str) -> list[Entry] | None:
        """Return the entries after a position; None where they are gone, or another history."""
        feed = self.book.feeds[site]
        if after < feed.pruned or after > feed.pos:
            return None
        some = [entry for entry in feed.entries if entry.pos > after]
        if some and some[0].previous != previous:
            return None
        if not some and previous != feed.hash:
            return None
        return some

    def snapshot(self, site: str, *, anew: bool) -> Snapshot:
        """Return the site's share as it stands."""
        self.sequence_all()
        feed = self.book.feeds[site]
        heads = [
            head
            for key, row in self.book.rows.items()
            if row.values is not None and (head := self._head_for(site, key)) and not head.left
        ]
        own = tuple(record for record, to in self.book.records.values() if to == site)
        ack = self._ack(site)
        return Snapshot(tuple(heads), own, self.book.order, feed.pos, feed.hash, ack, anew)
