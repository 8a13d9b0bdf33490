"""How the model decides on a change, and the one place where a head is overwritten."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.catalog import Policy
from shared.changes import Op
from shared.errors import InvalidValue
from sync.decisions import Author, ColumnTimes, Moment, Resolution, Version, Write
from sync.resolve import resolve
from tests.model.book import AsideBy, Book, Feed, Known, Row, Touched
from tests.model.rules import Rule
from tests.model.vocabulary import ADDED, DRIFT_MAX, TABLES, Change, Key, Link, Record, Sent, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.changes import Value
    from sync.decisions import Conflict

    Names = Callable[[str], str]

#: What is made of two writes of theirs is the same whichever came first.
_JOINED = (Policy.SUM, Policy.ADD_REMOVE_SET, Policy.LATTICE)


class Decisions:
    """Decides; all of it in transactions of the book."""

    def __init__(self, sites: Iterable[str], off: frozenset[Rule], names: Names) -> None:
        self.book = Book(feeds={site: Feed() for site in sites})
        self.off = off
        self._name = names
        #: The last hello of each site that was answered since the start; no backup holds that.
        self.sessions: dict[str, str] = {}
        #: What is safe, by site and epoch: inside the oldest backup that may be restored.
        self.safe: dict[tuple[str, str], int] = {}
        self.mended = False
        #: The number of the client's transaction that is open.
        self._number: int | None = None
        self.sequence_all: Callable[[], None] = lambda: None
        self.note: Callable[[str], None] = lambda text: None
        self.on_conflict: Callable[[Conflict, Key], None] = lambda conflict, key: None
        self.on_decision: Callable[[Change, Row, Resolution], None] = lambda c, r, d: None
        self.reach: Counter[str] = Counter()
        #: Effects of each transaction that the book holds; for the checks alone.
        self.effects: Counter[str] = Counter()

    def on(self, rule: Rule) -> bool:
        """Return whether a rule is on."""
        return rule not in self.off

    def _decide(self, link: Link, change: Change, now: int, *, late: bool = False) -> None:
        row = self.book.rows.get(change.key, Row())
        if late:
            change = self._as_late(link, change, row)
            if change.op is Op.UPDATE and not change.new:
                self._touch(change.key)
                return
        clean = self._is_clean(row, change)
        since = self._since(link, change, late=late)
        if (clean and self.on(Rule.AFTER_IS_CLEAN)) or not self.on(Rule.BASE_CHECK):
            since = []
        write = self._write(link, change, now)
        try:
            if clean and change.op is Op.UPDATE and not self.on(Rule.LATTICE_WHEN_CLEAN):
                done = Resolution(write.new)
            else:
                done = resolve(TABLES[change.key[0]], row.values, row.last, since, write)
        except InvalidValue:
            self._park(link, change, "sum")
            return
        self.note(
            f"   {link.site} {change.op} {change.key} {dict(write.new)} base {change.base} after"
            f" {change.after} head {row.version} since {since and [v.id for v in since]} ->"
            f" {dict(done.values)} overruled {set(done.overruled)} conflicts"
            f" {[(c.group, str(c.outcome)) for c in done.conflicts]}"
        )
        self.on_decision(change, row, done)
        displaced = self._displaced(change.key, row, write, done)
        plain = clean and not (late or done.overruled or done.conflicts or displaced)
        version = self._version_id(link.tx_id, fresh=not plain and self.on(Rule.FRESH_ID))
        self._keep(change.key, done)
        known = Known(0, made(change.key, version, write, done), link.epoch, link.n)
        # A site does not wait for what we had decided before we went back.
        waits = link.n > self.book.chains[link.site, link.epoch].home_n
        self._put(change.key, done, known, known_to=link.site if plain and waits else "")

    def _displaced(self, key: Key, row: Row, write: Write, done: Resolution) -> bool:
        """Keep what a write displaces that its writer had not seen, though nothing contests it."""
        covered = {column for conflict in done.conflicts for column in conflict.columns}
        held = row.values or {}
        found = {
            column: held.get(column)
            for column, value in done.values.items()
            if column in write.old.keys() - covered
            and held.get(column) not in (value, write.old[column])
        }
        if not found or row.values is None or not self.on(Rule.DISPLACED_IS_KEPT):
            return False
        self.reach["displaced"] += 1
        name = f"{write.tx_id}/{key}/displaced"
        self._tell_record(Record(name, key, "displaced", "here", tuple(found.items())))
        return True

    def _park(self, link: Link, change: Change, reason: str) -> None:
        raise NotImplementedError

    def _version_id(self, tx_id: str, *, fresh: bool) -> str:
        if not self.on(Rule.BASE_IS_AN_ID):
            return f"v{self.book.order + 1}"
        return self._name("version") if fresh else tx_id

    # --- the write ----------------------------------------------------------------------------

    def _write(self, link: Link, change: Change, now: int) -> Write:
        new = self._known_columns(change.key, change.new, change.old)
        at, clamped = self._moment(link, change.at, now)
        if len(new) < len(change.new):
            late = [t for c, t in change.times.items() if c in ADDED]
            at = max(self._moment(link, t, now).at_ms for t in late)
            author = Author(link.site, None, at, False)
            self.book.aside_by[change.key] = AsideBy(author, link.epoch, link.n)
        times: ColumnTimes = ()
        if self.on(Rule.TIME_OF_COLUMN) and change.op is not Op.DELETE:
            # Also of columns that we do not have yet: an insert counts as a write of all of them.
            moments = {
                c: self._moment(link, change.times.get(c, change.at), now) for c in change.new
            }
            others = sorted({moment for moment in moments.values() if moment.at_ms != at})
            times = tuple(
                (frozenset(c for c, each in moments.items() if each == moment), moment)
                for moment in others
            )
        old = {c: change.old.get(c) for c in new} if change.op is Op.UPDATE else {}
        author = Author(link.site, None, at, clamped)
        return Write(change.op, link.tx_id, change.base, new, old, author, times=times)

    def _moment(self, link: Link, touched: int, now: int) -> Moment:
        if not self.on(Rule.TIMES_OF_TOUCH):
            return Moment(now, clamped=False)
        at = touched + link.offset
        if self.on(Rule.CLAMP) and at > link.stored_at + DRIFT_MAX:
            return Moment(link.stored_at, clamped=True)
        return Moment(at, clamped=False)

    def _is_clean(self, row: Row, change: Change) -> bool:
        return row.version == (change.after or change.base or "")

    def _known_columns(
        self, key: Key, values: Mapping[str, Value], seen: Mapping[str, Value]
    ) -> Values:
        """Return what of a row's values we have columns for; the others are kept aside."""
        if self.book.schema >= 2:
            return dict(values)
        unknown = {c: v for c, v in values.items() if c in ADDED}
        if unknown and self.on(Rule.UNKNOWN_ASIDE):
            row = self.book.rows.get(key)
            if row is None or row.values is None:  # what was kept of the row that is gone
                self.tell_late(key, self.book.aside.get(key, {}))
            aside = self.book.aside.setdefault(key, {})
            # Another life of the store may have sent one that this one has not seen.
            self.tell_late(
                key, {c: aside[c] for c in unknown if c in aside and aside[c] != seen.get(c)}
            )
            aside.update(unknown)
        return {c: v for c, v in values.items() if c not in ADDED}

    # --- what came since its base -------------------------------------------------------------

    def _since(self, link: Link, change: Change, *, late: bool = False) -> list[Version] | None:
        """Return the versions after the base; None where the base is not known.

        A retry is held against no later change of its site that does not count.
        """
        known = self.book.versions.get(change.key, [])
        start = 0
        if change.base is not None:
            places = [k for k, each in enumerate(known) if each.version.id == change.base]
            if not places:
                return None
            start = places[-1] + 1
        return [
            self._as_seen(each, link)
            for each in known[start:]
            if each.version.counts or not late or self.is_own(each.epoch, each.n, link)
        ]

    def _as_seen(self, each: Known, link: Link) -> Version:
        """Return a version as concurrent or own to a transaction: own is what its store made."""
        version = each.version
        if version.author.site != link.site:
            return version
        own = self.is_own(each.epoch, each.n, link) or not self.on(Rule.OWN_BY_LINEAGE)
        if not own or not self.on(Rule.OWN_IS_SEEN):
            return replace(version, author=replace(version.author, site=f"{link.site}'"))
        if not self.on(Rule.OVERRULED_IS_UNSEEN):
            return replace(version, overruled=frozenset(), contested=frozenset())
        return version

    def is_own(self, epoch: str, n: int, link: Link) -> bool:
        """Return whether a transaction was made by the same store, before another one."""
        if epoch == link.epoch:
            return n < link.n
        chain = self.book.chains.get((link.site, link.epoch))
        return chain is not None and n <= chain.lineage.get(epoch, 0)

    def _as_late(self, link: Link, change: Change, row: Row) -> Change:
        """Leave out of a retry what the same site has written since."""
        if not self.on(Rule.RETRY_IS_LATE):
            return change
        later = {
            column
            for each in self.book.versions.get(change.key, [])
            if each.version.author.site == link.site and each.version.counts
            if not self.is_own(each.epoch, each.n, link)
            for column in each.version.columns
            if TABLES[change.key[0]].group_of(column).policy not in _JOINED
        }
        if not later or change.op is Op.DELETE:
            return change
        lost = {c: v for c, v in change.new.items() if c in later}
        values = (*lost.items(), *((c, change.old.get(c)) for c in lost))
        record = Record(f"{link.tx_id}/{change.key}/late", change.key, "late", "central", values)
        self._tell_record(record)
        op = change.op if row.values is None else Op.UPDATE
        return replace(change, op=op, new={c: v for c, v in change.new.items() if c not in later})

    # --- what is kept, and put ----------------------------------------------------------------

    def _keep(self, key: Key, done: Resolution) -> None:
        """Write the history of the conflicts."""
        for k, conflict in enumerate(done.conflicts):
            self.on_conflict(conflict, key)
            self.reach[f"policy: {conflict.policy}"] += 1
            self.reach[f"outcome: {conflict.outcome}"] += 1
            if not self.on(Rule.HISTORY):
                continue
            sides = (conflict.base or {}, conflict.here, conflict.central)
            values = tuple(pair for side in sides for pair in side.items())
            name = self._name("record") + f"/{k}"
            self._tell_record(
                Record(name, key, str(conflict.policy), str(conflict.outcome), values)
            )

    def _put(self, key: Key, done: Resolution, known: Known, known_to: str = "") -> None:
        """The one place where a head is overwritten."""
        book = self.book
        row = book.rows.setdefault(key, Row())
        for start in book.starts:
            if key not in start.rows:
                start.rows[key] = replace(row, sent=set())
        book.order += 1
        if done.delete:
            book.replaced.setdefault(key, []).append(row.values or {})
            row.last, row.values = row.values or row.last, None
        elif done.revive:
            row.values = dict(done.values)
        elif row.values is not None:
            row.values = {**row.values, **done.values}
        row.version, row.order = known.version.id, book.order
        book.versions.setdefault(key, []).append(replace(known, order=book.order))
        self._touch(key, known_to=known_to)

    def _touch(self, key: Key, *, known_to: str = "", refused: str = "") -> None:
        if key[0] != "reports":
            number = self.begin() if self._number is None else self._number
            item = Touched(number, key, known_to=known_to, refused=refused)
            self.book.queue.append(item)

    def _tell_record(self, record: Record, to: str = "") -> None:
        record = replace(record, to=record.to or to or record.key[1].split("/")[0])
        self.book.records[record.name] = record
        self.book.queue.append(Touched(self.begin(), record=record))

    def tell_late(self, key: Key, values: Values) -> None:
        """Keep the values of new columns that came for a row that is gone."""
        if values:
            name = self._name("record")
            self._tell_record(Record(name, key, "late column", "central", tuple(values.items())))

    def remember(self, link: Link) -> None:
        """Remember what a site sent of which row, whatever becomes of it."""
        for change in link.changes:
            if change.key[0] != "reports":
                sent = Sent(link.site, link.epoch, link.n, link.tx_id, change.touches)
                self.book.sent.setdefault(change.key, []).append(sent)

    def begin(self) -> int:
        """Begin a transaction of a client: its number is drawn now, and it commits later."""
        self.book.number += 1
        return self.book.number


def made(key: Key, version: str, write: Write, done: Resolution) -> Version:
    """Return the version that a write makes."""
    columns = write.new if write.op is Op.UPDATE else TABLES[key[0]].names
    return Version(
        version, write.op, frozenset(columns), write.author, done.overruled, done.contested,
        write.times,
    )  # fmt: skip
