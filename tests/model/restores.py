"""The centre's part of a handshake: which end went back, and what comes home."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.changes import Op
from sync.decisions import Author, ColumnTimes, Moment, Resolution, Version, Write
from sync.resolve import resolve
from tests.model.book import Book, Chain, Known, Row, Start
from tests.model.decisions import made
from tests.model.parking import Parking
from tests.model.rules import Rule
from tests.model.vocabulary import TABLES, Closed, Fate, Head, Hello, Key, Place, Record

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from shared.changes import Value
    from tests.model.book import Feed
    from tests.model.edge import Edge
    from tests.model.vocabulary import Values

#: Who wrote what came home: nobody knows.
LOST = "lost"


class Restores(Parking):
    """Compares what a site says with the book."""

    def chain_of(self, site: str, epoch: str) -> Chain:
        """Return the chain of an epoch, which is new where it is not known."""
        return self.book.chains.setdefault((site, epoch), Chain())

    def hear(self, site: str, hello: Hello) -> None:
        """Take in the epochs of a site, which we may have lost."""
        for epoch, _, closed in hello.lineage:
            chain = self.chain_of(site, epoch)
            if chain.closed is None and self.on(Rule.CLOSE_FIRST):
                chain.closed = closed
        chain = self.chain_of(site, hello.epoch)
        chain.lineage |= {epoch: fork for epoch, fork, _ in hello.lineage}

    def ends(self) -> dict[str, int | None]:
        """Return of each start up to which order its history is ours; None where it goes on."""
        starts = self.book.starts
        upto = [*(start.order for start in starts[1:]), None]
        return {start.id: end for start, end in zip(starts, upto, strict=True)}

    # --- did we go back? ----------------------------------------------------------------------

    def lost(self, site: str, hello: Hello) -> bool:
        """Return whether a site knows more of us than we do: so we went back."""
        for epoch, n in hello.acked.items():
            chain = self.book.chains.get((site, epoch), Chain())
            if n > chain.last_n:
                return True
            mine, theirs = chain.hashes.get(n), hello.chain.get((epoch, n))
            if epoch == hello.epoch and mine and theirs and mine != theirs:
                return True
        ends = self.ends()
        for start, order in hello.starts.items():
            end = ends.get(start, 0)
            if end is not None and order > end:
                return True
        return any(self._is_strange(site, place) for place in hello.places)

    def _is_strange(self, site: str, place: Place) -> bool:
        feed = self.book.feeds[site]
        known = self._hash_at(feed, place[0])
        if known is None:  # too old to be known: it agreed when we heard it last, if we did
            return place[0] > feed.pos or site not in self.sessions
        return known != place[1]

    def _hash_at(self, feed: Feed, pos: int) -> str | None:
        if pos == feed.pos:
            return feed.hash
        for entry in feed.entries:
            if entry.pos == pos:
                return entry.hash
            if entry.pos == pos + 1:
                return entry.previous
        return None

    # --- did the site go back? ----------------------------------------------------------------

    def fork_of(self, site: str, hello: Hello) -> int | None:
        """Return up to where a site's chain is ours; None where it goes on from ours."""
        chain = self.chain_of(site, hello.epoch)
        n = max(chain.last_n, chain.home_n)
        other = n > 0 and hello.chain.get((hello.epoch, n)) != chain.hashes.get(n)
        other = other and self.on(Rule.HASH_CHAIN)
        if chain.closed is None and n <= hello.n and not other:
            return None
        common = [n for n, h in chain.hashes.items() if hello.chain.get((hello.epoch, n)) == h]
        return max(common, default=0)

    def close(self, edge: Edge, fork: int, epoch: str) -> Closed:
        """Close all that a store's lost life did, and say what it was."""
        site, old = edge.file.site, edge.file.epoch
        chain = self.chain_of(site, old)
        if self.on(Rule.CLOSE_FIRST):
            for (of, _), each in self.book.chains.items():
                if of == site and each.closed is None:
                    each.closed = max(each.last_n, each.home_n)
        lineage = {e: f for e, f, _ in edge.file.lineage} | {old: fork}
        self.chain_of(site, epoch).lineage = lineage
        own = {link.tx_id for link in edge.file.outbox}
        lives = {
            key: [s for s in sent if s.site == site and s.tx_id not in own
                  and s.n > lineage.get(s.epoch, 0)]
            for key, sent in self.book.sent.items()
        }  # fmt: skip
        told = {key: [s.touches for s in some] for key, some in lives.items() if some}
        self.sequence_all()
        moved = [u for u in edge.file.outbox if u.epoch == old and u.n > fork]
        known = {u.tx_id for u in moved} & self.book.applied
        keys = [
            c.key for u in moved if u.tx_id in known for c in u.changes if c.key[0] != "reports"
        ]
        heads = [
            # With what is kept aside: after the next restore nobody else would have it.
            replace(head, values={**head.values, **self.book.aside.get(key, {})})
            if head.values is not None else head
            for key in (*told, *keys)
            if (head := self._head_for(site, key))
        ]  # fmt: skip
        facts = {name: v for name, v in self.book.facts.items() if name.startswith(site)}
        waiting = [item.change for item in self.book.parked.values() if item.link.site == site]
        facts |= {c.key[1]: dict(c.new) for c in waiting if c.key[0] == "reports"}
        closed = chain.last_n if chain.closed is None else chain.closed
        place, start = self._place(site), self.book.starts[-1].id
        included = {head.key: dict(self.book.included.get(head.key, {})) for head in heads}
        return Closed(
            fork, closed, told, tuple(heads), facts, self.records_for(site), self._ack(site),
            place, start, self.book.order, frozenset(known), included,
        )  # fmt: skip

    def _place(self, site: str) -> Place:
        feed = self.book.feeds[site]
        return feed.pos, feed.hash

    # --- what comes home ----------------------------------------------------------------------

    def salvage(self, edge: Edge) -> None:
        """Take home what we had decided before we went back, as far as a site knows it."""
        book, file = self.book, edge.file
        self._bring_chains(edge)
        for record in file.records.values():
            if record.name not in book.records:
                self._tell_record(record)
            self.settled(record)
        for head in file.heads.values():
            if _is_ours_to_tell(head):
                aside = file.aside.get(head.key, {})
                met = head.met if head.stale else file.starts
                self._salvage_row(head, aside, self._forked_at(met))
                self._include(head.key, edge.decided(head.key))
        outbox = {c.key[1] for link in file.outbox for c in link.changes if c.key[0] == "reports"}
        owed = outbox | {touch.key[1] for touch in file.log}
        for name, values in file.facts.items():
            if name not in owed:
                book.facts.setdefault(name, values)

    def _include(self, key: Key, upto: Mapping[str, int]) -> None:
        if self.on(Rule.INCLUDED):
            known = self.book.included.setdefault(key, {})
            for epoch, n in upto.items():
                known[epoch] = max(known.get(epoch, 0), n)

    def _bring_chains(self, edge: Edge) -> None:
        """Learn what the site has sent and we had decided on: its effects come home with rows."""
        file, site = edge.file, edge.file.site
        for epoch, n in file.acked.items():
            chain = self.chain_of(site, epoch)
            chain.home_n = max(chain.home_n, n)
            for (of, k), own in file.chain.items():
                if of == epoch and chain.last_n < k <= n:
                    chain.hashes[k] = own
        for link in file.outbox:
            chain = self.chain_of(site, link.epoch)
            if chain.last_n < link.n <= chain.home_n:
                self.remember(link)

    def _forked_at(self, met: Mapping[str, int]) -> Start:
        """Return the start after which we have another history than the one that a site has met."""
        starts = self.book.starts
        common = [k for k, start in enumerate(starts) if start.id in met]
        return starts[min(max(common, default=-1) + 1, len(starts) - 1)]

    def _all_of(self, head: Head, aside: Values) -> Head:
        """Return a head with the columns that a site keeps aside, as far as we have them."""
        if head.values is None:
            return head
        values = self._known_columns(
            head.key, {**aside, **head.values}, self.book.aside.get(head.key, {})
        )
        return replace(head, values=values)

    def _salvage_row(self, head: Head, aside: Values, start: Start) -> None:
        book, key = self.book, head.key
        known = book.versions.get(key, [])
        if not head.version or any(each.version.id == head.version for each in known):
            return
        row = book.rows.get(key) or Row()
        before = start.rows.setdefault(key, replace(row, sent=set()))
        order, base = start.tips.get(key, (start.order, before.values))
        came_home = key in start.tips or any(each.lost for each in known)
        if head.order <= order:
            if came_home:  # of another history than this one
                self._tell_lost(key, head.values)
            return
        if came_home:
            self._tell_lost(key, row.values)
        self.reach["salvage"] += 1
        head = self._all_of(head, aside)
        start.tips[key] = (head.order, head.values)
        book.order = max(book.order, head.order)
        newer = [each for each in known if each.order > start.order and not each.lost]
        write = _as_write(head, base, start.at)
        lost = Known(0, made(key, head.version, write, Resolution({})), lost=True)
        was = Row(row.values, row.last)
        whole = Resolution(dict(head.values or {}), delete=head.values is None, revive=True)
        if not newer or self.on(Rule.MERGED_AFTER):
            self._put(key, whole, lost)
        if newer:
            self._merge(head, was, newer, write)

    def _tell_lost(self, key: Key, values: Values | None) -> None:
        """Keep what came home and does not stand, since two lost histories had the row."""
        if values:
            name = self._name("record")
            self._tell_record(Record(name, key, "lost head", "central", tuple(values.items())))

    def _merge(self, head: Head, was: Row, newer: list[Known], write: Write) -> None:
        """Put what was written since we went back onto a row that came home."""
        self.reach["salvage merged"] += 1
        key = head.key
        since = [each.version for each in newer]
        done = resolve(TABLES[key[0]], was.values, was.last, since, write)
        self._keep(key, done)
        stands = was.values
        if done.delete:
            stands = None
        elif done.revive:
            stands = dict(done.values)
        elif stands is not None:
            stands = {**stands, **done.values}
        whole = Resolution(dict(stands or {}), delete=stands is None, revive=True)
        op = Op.DELETE if stands is None else Op.UPDATE
        for last, columns in _shown(newer, head.values, stands):
            name = self._name("version") if self.on(Rule.MERGED_AFTER) else head.version
            version = Version(name, op, columns, last.version.author, times=_times(newer, columns))
            self._put(key, whole, Known(0, version, last.epoch, last.n))

    def restore(self, book: Book, effects: Counter[str], now: int) -> None:
        """Go on with an older book."""
        self.book, self.effects = book, effects
        self.start(now)

    def start(self, now: int) -> None:
        """Start PostgreSQL: it may be that of an older copy, so every site is asked."""
        self.book.starts.append(Start(self._name("start"), self.book.order, now))
        self.sessions.clear()


def _is_ours_to_tell(head: Head) -> bool:
    """Return whether a site's head tells the centre what it lost.

    Of a row that several sites share, one that a snapshot did not hold may have left our share.
    """
    is_missing = head.fate is Fate.MISSING and head.key[0] == "orders"
    return is_missing or head.fate is Fate.DECIDED


def _shown(
    newer: list[Known], came_home: Values | None, stands: Values | None
) -> list[tuple[Known, frozenset[str]]]:
    """Return by author the last of some versions, and the columns in which he shows.

    One version of them all would be the own one of a site that has not seen what others wrote.
    """
    columns = frozenset().union(*(each.version.columns for each in newer))
    if stands is not None and came_home is not None:
        # Only those in which the newer writes show: of the others the site has the value.
        columns &= {c for c, v in stands.items() if v != came_home.get(c)}
    wrote = {c: each for each in newer for c in each.version.columns & columns}
    stood = [(each, each.version.columns - each.version.overruled) for each in newer]
    wrote |= {c: each for each, some in stood for c in some & columns}
    last = {each.version.author.site: each for each in newer}
    shown = [
        (each, frozenset(c for c, by in wrote.items() if by.version.author.site == site))
        for site, each in last.items()
    ]
    some = [(each, columns) for each, columns in shown if columns]
    return some or [(newer[-1], columns)]


def _times(newer: list[Known], columns: frozenset[str]) -> ColumnTimes:
    """Return when each column was written last by any of some versions."""
    times: dict[Moment, set[str]] = {}
    for column in sorted(columns):
        wrote = [each.version for each in newer if column in each.version.columns][-1]
        author = wrote.author_of([column])
        times.setdefault(Moment(author.at_ms, author.clamped), set()).add(column)
    return tuple((frozenset(some), moment) for moment, some in times.items())


def _as_write(head: Head, base: Mapping[str, Value] | None, at: int) -> Write:
    """Return what came home as a write onto what we have had of the row."""
    author = Author(LOST, None, at, clamped=False)
    if head.values is None:
        return Write(Op.DELETE, head.version, "", {}, {}, author)
    if base is None:
        return Write(Op.INSERT, head.version, None, head.values, {}, author)
    new: Values = {c: v for c, v in head.values.items() if v != base.get(c)}
    return Write(Op.UPDATE, head.version, "", new, {c: base.get(c) for c in new}, author)
