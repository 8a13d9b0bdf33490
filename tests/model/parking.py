"""What the model's centre can't apply: it is parked, waits, and is tried again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from shared.changes import Op
from sync.decisions import Author, Resolution, Version, Write
from sync.resolve import concurrent
from tests.model.book import Known, Parked
from tests.model.feeds import Feeds
from tests.model.rules import Rule
from tests.model.vocabulary import ADDED, POISON, TABLES, Change, Key, Link, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.changes import Value


#: What becomes of a parked change in the end.
SETTLED: Final = ("applied", "discarded")


class Parking(Feeds):
    """Parks, and tries again."""

    def _reason(self, link: Link, change: Change) -> str:
        """Return why a change can't be applied; empty where it can."""
        foreign = change.key[1].startswith("SITE") and not change.key[1].startswith(link.site)
        if foreign and self.on(Rule.SITE_BOUNDARY):
            return "foreign"
        if change.key[0] == "reports":
            return self._reason_of_fact(change)
        if change.new.get("due") == POISON and not self.mended:
            return "poison"
        if self.on(Rule.PARK_BEHIND) and self._is_behind(link, change):
            return "behind"
        row = self.book.rows.get(change.key)
        is_gone = row is not None and row.values is None and change.op is Op.UPDATE
        code = change.new.get("code", (row.last or {}).get("code") if row and is_gone else None)
        if self.is_taken(change.key, code):
            return "unique"
        return ""

    def _is_behind(self, link: Link, change: Change) -> bool:
        """Tell whether a change builds on a parked one; one of a row that never was, on all."""
        own = f"{link.tx_id}/{change.key}"
        tickets = itertools.takewhile(lambda ticket: ticket != own, self.book.parked)
        before = [
            each.link.tx_id
            for each in map(self.book.parked.__getitem__, tickets)
            if (each.change.key, each.link.site, each.state) == (change.key, link.site, "parked")
        ]
        if change.op is not Op.INSERT and change.key not in self.book.rows:
            return bool(before)
        return not {change.base, change.after}.isdisjoint(before)

    def _reason_of_fact(self, change: Change) -> str:
        new = dict(change.new)
        if ("orders", str(new.get("order"))) not in self.book.rows and self.on(
            Rule.WAIT_FOR_PARENT
        ):
            return "parent"
        is_other = self.book.facts.get(change.key[1], new) != new
        return "id taken" if is_other and self.on(Rule.OTHER_CONTENT) else ""

    def is_taken(self, key: Key, code: Value) -> bool:
        """Return whether another row of its site has a code."""
        site = key[1].split("/")[0]
        return code is not None and any(
            row.values is not None and row.values.get("code") == code
            for other, row in self.book.rows.items()
            if other != key and other[0] == "orders" and other[1].startswith(site)
        )

    def _take_fact(self, link: Link, change: Change) -> None:
        facts, values = self.book.facts, dict(change.new)
        if not self.on(Rule.ID_ALONE) and values in facts.values():
            return
        facts.setdefault(change.key[1], values)

    def _park(self, link: Link, change: Change, reason: str, *, is_news: bool = True) -> None:
        ticket = f"{link.tx_id}/{change.key}"
        if ticket in self.book.parked:
            return
        self.reach["parked"] += 1
        self.reach[f"parked: {reason}"] += 1
        self.book.parked[ticket] = Parked(link, change, reason)
        self._tell_parked(ticket, reason)
        if is_news:  # else its site has heard of it before we went back, and has built on it
            self._overrule(link, change)
        self._touch(change.key, refused=link.site)

    def _tell_parked(self, ticket: str, reason: str) -> None:
        """Tell the site how it stands with a parked change."""
        item = self.book.parked[ticket]
        values = (*item.change.new.items(), *item.change.old.items())
        record = Record(ticket, item.change.key, item.state, reason, values)
        self._tell_record(record, item.link.site)

    def wake(self, now: int) -> None:
        """Apply what waited for a row that has come, or for a change that was parked."""
        again = True
        while again:
            again = False
            for ticket, item in list(self.book.parked.items()):
                if item.reason in ("parent", "behind") and item.state == "parked":
                    again |= self._retry(ticket, now)

    def discard(self, ticket: str, now: int) -> bool:
        """Let go of a parked change for good; what waited behind it is tried without it.

        Not of one that waits behind another: what that hides, its site has not seen there either.
        """
        item = self.book.parked[ticket]
        if item.state != "parked" or self._is_behind(item.link, item.change):
            return False
        self.reach["discarded"] += 1
        item.state = "discarded"
        self._tell_parked(ticket, item.reason)
        self._touch(item.change.key, refused=item.link.site)
        self.wake(now)
        return True

    def _overrule(self, link: Link, change: Change) -> None:
        """Overrule a parked change where it was concurrent: what is built on it comes after that.

        Its site hears of it with the head, and shows its change no more.
        """
        row = self.book.rows.get(change.key)
        if row is None or row.values is None or not self.on(Rule.PARKED_IS_OVERRULED):
            return
        at, clamped = self._moment(link, change.at, link.stored_at)
        author = Author(link.site, None, at, clamped)
        write = Write(change.op, link.tx_id, change.base, change.new, change.old, author)
        table = TABLES[change.key[0]]
        unseen = concurrent(table, self._since(link, change), write) & self._known(change.new)
        if unseen:
            self.reach["parked and overruled"] += 1
            made = Version(
                self._name("version"), Op.UPDATE, unseen, author, overruled=unseen, counts=False
            )
            self._put(change.key, Resolution({}), Known(0, made, link.epoch, link.n))

    def _known(self, columns: Iterable[str]) -> frozenset[str]:
        """Return those of the columns that we have."""
        return frozenset(c for c in columns if self.book.schema >= 2 or c not in ADDED)

    def settled(self, record: Record) -> None:
        """Take from a record that came home what became of a change that our backup has parked.

        A fact that was applied has not come home with it, so it waits on, to be applied again.
        """
        item = self.book.parked.get(record.name)
        if item is None or (record.policy == "applied" and item.change.key[0] == "reports"):
            return
        if item.state == "parked" and record.policy in SETTLED:
            self.reach["settled home"] += 1
            item.state = record.policy
            self._tell_record(record)

    def retry(self, ticket: str, now: int) -> None:
        """Try a parked change again, and then what waited behind it."""
        if self._retry(ticket, now):
            self.wake(now)

    def _retry(self, ticket: str, now: int) -> bool:
        """Try a parked change again; tell whether it is applied now, or note what is in its way."""
        item = self.book.parked[ticket]
        change = item.change
        if item.state != "parked":
            return False
        if reason := self._reason(item.link, change):
            if reason != item.reason:
                item.reason = reason
                self._tell_parked(ticket, reason)
            return False
        item.state = "applied"
        self._tell_parked(ticket, item.reason)
        if change.key[0] == "reports":
            self._take_fact(item.link, change)
        else:
            self.reach["retried"] += 1
            self._decide(item.link, change, now, late=True)
        return True
