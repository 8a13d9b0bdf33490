"""The feeds of the model's centre: numbered entries for each site, and snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.decisions import Decisions
from tests.model.rules import Rule
from tests.model.vocabulary import (
    ADDED,
    TABLES,
    Ack,
    Entry,
    Fate,
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
    from tests.model.book import Feed, Touched

    Names = Callable[[str], str]


class Feeds(Decisions):
    """Makes entries of what was committed."""

    def sequence(self) -> list[tuple[str, Entry]]:
        """Make the feeds' next entries of what was committed; return them by site."""
        book = self.book
        taken = book.queue
        if not self.on(Rule.COMMIT_ORDER):
            taken = [each for each in taken if each.number > book.passed]
            book.passed = max([book.passed, *(each.number for each in taken)])
        book.queue = []
        made = []
        for site, feed in book.feeds.items():
            heads = self._heads_for(site, taken)
            records = tuple(t.record for t in taken if t.record and t.record.to in (site, "all"))
            ack = self._ack(site)
            if heads or records or ack != feed.acked:
                made.append((site, self._append(feed, heads, records, ack)))
        return made

    def _heads_for(self, site: str, taken: list[Touched]) -> tuple[Head, ...]:
        """Return the heads of the rows that the site can't know from the ack alone."""
        known = site if self.on(Rule.HEADS_WITH_ACK) else None
        keys = [t.key for t in taken if t.key and known and t.known_to != known]
        heads = {key: self._head_for(site, key) for key in dict.fromkeys(keys)}
        refused = {t.key for t in taken if t.key and t.refused == site}
        told = [head for head in heads.values() if head is not None]
        told += [
            Head(key, None, "", self.book.order)
            for key in sorted(refused)
            if heads.get(key) is None
        ]
        return tuple(told)

    def _append(
        self, feed: Feed, heads: tuple[Head, ...], records: tuple[Record, ...], ack: Ack
    ) -> Entry:
        own = hashed(feed.hash, feed.pos + 1, [(h.key, h.version) for h in heads], ack)
        order = self.book.order
        start = self.book.starts[-1].id
        entry = Entry(feed.pos + 1, feed.hash, own, heads, records, ack, order, start)
        feed.entries.append(entry)
        feed.pos, feed.hash, feed.acked = entry.pos, own, ack
        return entry

    def _ack(self, site: str) -> Ack:
        return tuple(
            (epoch, chain.last_n, min(chain.last_n, self.safe.get((site, epoch), 0)))
            for (of, epoch), chain in self.book.chains.items()
            if of == site
        )

    def _head_for(self, site: str, key: Key) -> Head | None:
        row = self.book.rows.get(key)
        if row is None:  # parked, and never there
            there = self.shares(site, key, {})
            return Head(key, None, "", self.book.order) if there else None
        if row.values is None:
            reached = site in row.sent or self.shares(site, key, row.last or {})
            return Head(key, None, row.version, row.order) if reached else None
        if self.shares(site, key, row.values):
            row.sent.add(site)
            return Head(key, self._all_columns(key, row.values), row.version, row.order)
        if site in row.sent and self.on(Rule.SHARE_LEAVES):
            row.sent.discard(site)
            return Head(key, None, row.version, row.order, Fate.LEFT)
        return None

    def _all_columns(self, key: Key, values: Values) -> Values:
        """Return a row with every column that the centre knows."""
        names = [n for n in TABLES[key[0]].names if self.book.schema >= 2 or n not in ADDED]
        return {name: values.get(name) for name in names}

    def shares(self, site: str, key: Key, values: Mapping[str, Value]) -> bool:
        """Return whether a row goes to a site."""
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

    def records_for(self, site: str) -> tuple[Record, ...]:
        """Return the history as far as it goes to a site."""
        return tuple(r for r in self.book.records.values() if r.to in (site, "all"))

    def snapshot(self, site: str, *, anew: bool) -> Snapshot:
        """Return the site's share as it stands."""
        self.sequence_all()
        feed = self.book.feeds[site]
        heads = [
            head
            for key, row in self.book.rows.items()
            if row.values is not None
            and (head := self._head_for(site, key))
            and head.values is not None
        ]
        own = self.records_for(site)
        ack = self._ack(site)
        start = self.book.starts[-1].id
        order = self.book.order
        return Snapshot(tuple(heads), own, order, feed.pos, feed.hash, ack, start, anew)
