"""How the model decides on a change, and the one place where a head is overwritten."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.changes import Op
from shared.errors import InvalidValue
from sync.decisions import Author, Resolution, Version, Write
from sync.resolve import resolve
from tests.model.book import Book, Feed, Known, Row
from tests.model.rules import Rule
from tests.model.vocabulary import (
    ADDED,
    DRIFT_MAX,
    TABLES,
    Change,
    Key,
    Link,
    Record,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.changes import Value
    from sync.decisions import Conflict

    Names = Callable[[str], str]


class Decisions:
    """Decides; all of it in transactions of the book."""

    def __init__(self, sites: Iterable[str], off: frozenset[Rule], names: Names) -> None:
        self.book = Book(feeds={site: Feed() for site in sites})
        self.off = off
        self._name = names
        #: Sites whose hello was heard since the start; no backup holds that.
        self.verified: set[str] = set()
        #: What is safe, by site and epoch: inside the oldest backup that may be restored.
        self.safe: dict[tuple[str, str], int] = {}
        self.mended = False
        #: By epoch the earlier ones of the same store, and up to where they are part of it.
        self.lineages: dict[str, dict[str, int]] = {}
        #: The number of the client's transaction that is open.
        self._number: int | None = None
        self.sequence_all: Callable[[], None] = lambda: None
        self.note: Callable[[str], None] = lambda text: None
        self.on_conflict: Callable[[Conflict, Key], None] = lambda conflict, key: None
        self.reach: Counter[str] = Counter()
        #: Effects of each transaction that the book holds; for the checks alone.
        self.effects: Counter[str] = Counter()

    def on(self, rule: Rule) -> bool:
        """Return whether a rule is on."""
        return rule not in self.off

    def _decide(self, link: Link, change: Change, now: int, *, late: bool = False) -> None:
        at, clamped = self._time_of(link, change, now)
        row = self.book.rows.get(change.key, Row())
        since = self._since(link, change)
        if late:
            change = self._as_late(link, change, row)
            if change.op is Op.UPDATE and not change.new:
                return
        new = self._known_columns(change.key, change.new)
        write = Write(
            change.op, link.tx_id, change.base, new,
            {c: change.old.get(c) for c in new} if change.op is Op.UPDATE else {},
            Author(link.site, None, at, clamped),
        )  # fmt: skip
        clean = self._is_clean(row, change)
        if clean or not self.on(Rule.BASE_CHECK):
            since = []
        table = TABLES[change.key[0]]
        try:
            done = resolve(table, row.values, row.last, since, write)
        except InvalidValue:
            self._park(link, change, "sum")
            return
        self.note(
            f"   {link.site} {change.op} {change.key} {dict(new)} base {change.base} after"
            f" {change.after} head {row.version} since {since and [v.id for v in since]} ->"
            f" {dict(done.values)} overruled {set(done.overruled)} conflicts"
            f" {[(c.group, str(c.outcome)) for c in done.conflicts]}"
        )
        fresh = not clean and self.on(Rule.FRESH_ID)
        version = self._version_id(link.tx_id, fresh=fresh)
        self._keep(change, link.site, done, since)
        self._put(change.key, change.op, done, version, write, (link.epoch, link.n))

    def _version_id(self, tx_id: str, *, fresh: bool) -> str:
        if not self.on(Rule.BASE_IS_AN_ID):
            return f"v{self.book.order + 1}"
        return self._name("version") if fresh else tx_id

    def _time_of(self, link: Link, change: Change, now: int) -> tuple[int, bool]:
        if not self.on(Rule.TIMES_OF_TOUCH):
            return now, False
        at = change.at + link.offset
        if self.on(Rule.CLAMP) and at > link.stored_at + DRIFT_MAX:
            return link.stored_at, True
        return at, False

    def _is_clean(self, row: Row, change: Change) -> bool:
        expected = change.after or change.base
        return row.version == (expected or "")

    def _known_columns(self, key: Key, values: Mapping[str, Value]) -> Values:
        if self.book.schema >= 2:
            return dict(values)
        unknown = {c: v for c, v in values.items() if c in ADDED}
        if unknown and self.on(Rule.UNKNOWN_ASIDE):
            self.book.aside.setdefault(key, {}).update(unknown)
        return {c: v for c, v in values.items() if c not in ADDED}

    def _since(self, link: Link, change: Change) -> list[Version] | None:
        """Return the versions after the base; None where the base is not known."""
        known = self.book.versions.get(change.key, [])
        start = 0
        if change.base is not None:
            places = [k for k, each in enumerate(known) if each.version.id == change.base]
            if not places:
                return None
            start = places[-1] + 1
        return [self._as_seen(each, link) for each in known[start:]]

    def _as_seen(self, each: Known, link: Link) -> Version:
        """Return a version as concurrent or own to a transaction: own is what its store made."""
        version = each.version
        if version.author.site != link.site:
            return version
        own = each.epoch == link.epoch and each.n < link.n
        if not own and self.on(Rule.OWN_BY_LINEAGE):
            mine = self.lineages.get(link.epoch, {}).get(each.epoch)
            own = mine is not None and each.n <= mine
        if (not own and self.on(Rule.OWN_BY_LINEAGE)) or not self.on(Rule.OWN_IS_SEEN):
            return replace(version, author=replace(version.author, site=f"{link.site}'"))
        if not self.on(Rule.OVERRULED_IS_UNSEEN):
            return replace(version, overruled=frozenset(), contested=frozenset())
        return version

    def _as_late(self, link: Link, change: Change, row: Row) -> Change:
        """Leave out of a retry what the same site has written since."""
        later = {
            column
            for each in self.book.versions.get(change.key, [])
            if each.version.author.site == link.site
            and (each.epoch != link.epoch or each.n > link.n)
            for column in each.version.columns
        }
        if not later or change.op is Op.DELETE:
            return change
        lost = {c: v for c, v in change.new.items() if c in later}
        values = (*lost.items(), *((c, change.old.get(c)) for c in lost))
        record = Record(f"{link.tx_id}/{change.key}/late", change.key, "late", "central", values)
        self._tell_record(record, link.site)
        op = change.op if row.values is None else Op.UPDATE
        kept = {c: v for c, v in change.new.items() if c not in later}
        return replace(change, op=op, new=kept)

    def _keep(
        self, change: Change, site: str, done: Resolution, since: list[Version] | None
    ) -> None:
        """Write the history of the conflicts."""
        for k, conflict in enumerate(done.conflicts):
            self.on_conflict(conflict, change.key)
            self.reach[f"policy: {conflict.policy}"] += 1
            self.reach[f"outcome: {conflict.outcome}"] += 1
            if not self.on(Rule.HISTORY):
                continue
            sides = (conflict.base or {}, conflict.here, conflict.central)
            values = tuple(pair for side in sides for pair in side.items())
            there = conflict.central_author.at_ms if conflict.central_author else 0
            name = self._name("record") + f"/{k}"
            record = Record(
                name, change.key, str(conflict.policy), str(conflict.outcome), values,
                (conflict.here_author.at_ms, there),
            )  # fmt: skip
            self._tell_record(record, site)

    def _put(
        self, key: Key, op: Op, done: Resolution, version: str, write: Write,
        link: tuple[str, int] = ("", 0),
    ) -> None:  # fmt: skip
        """The one place where a head is overwritten."""
        book = self.book
        row = book.rows.setdefault(key, Row())
        if key not in book.fork_rows and row.order <= book.fork_order:
            book.fork_rows[key] = replace(row, sent=set())
        columns = frozenset(write.new) if op is Op.UPDATE else frozenset(TABLES[key[0]].names)
        book.order += 1
        if done.delete:
            row.last, row.values = row.values, None
        elif done.revive:
            row.values = dict(done.values)
        elif row.values is not None:
            row.values = {**row.values, **done.values}
        row.version, row.order = version, book.order
        made = Version(version, op, columns, write.author, done.overruled, done.contested)
        book.versions.setdefault(key, []).append(Known(book.order, made, *link))
        self._touch(key)

    def _touch(self, key: Key) -> None:
        if key[0] != "reports":
            number = self.begin() if self._number is None else self._number
            self.book.queue.append((number, key, None, ""))

    def _tell_record(self, record: Record, site: str) -> None:
        self.book.records[record.name] = (record, site)
        self.book.queue.append((self.begin(), None, record, site))
