"""What the model's centre can't apply: it is parked, waits, and is tried again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from shared.changes import Op
from tests.model.book import Parked
from tests.model.feeds import Feeds
from tests.model.rules import Rule
from tests.model.vocabulary import POISON, Change, Key, Link, Record

if TYPE_CHECKING:
    from shared.changes import Value


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
        builds_on = self.book.parked.get(f"{change.after}/{change.key}")
        if builds_on is not None and builds_on.state == "parked":
            return True
        if change.op is Op.INSERT or change.key in self.book.rows:
            return False
        own = f"{link.tx_id}/{change.key}"
        before = itertools.takewhile(lambda ticket: ticket != own, self.book.parked)
        found = (self.book.parked[ticket] for ticket in before)
        return any(
            (each.change.key, each.link.site, each.state) == (change.key, link.site, "parked")
            for each in found
        )

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

    def _park(self, link: Link, change: Change, reason: str) -> None:
        ticket = f"{link.tx_id}/{change.key}"
        if ticket in self.book.parked:
            return
        self.reach["parked"] += 1
        self.reach[f"parked: {reason}"] += 1
        self.book.parked[ticket] = Parked(link, change, reason)
        self._tell_parked(ticket, reason)
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
                waits = item.reason in ("parent", "behind") and item.state == "parked"
                if waits and not self._reason(item.link, item.change):
                    again |= self.retry(ticket, now)

    def retry(self, ticket: str, now: int) -> bool:
        """Try a parked change again; tell whether it is applied now."""
        item = self.book.parked[ticket]
        change = item.change
        if item.state != "parked" or self._reason(item.link, change):
            return False
        item.state = "applied"
        self._tell_parked(ticket, item.reason)
        if change.key[0] == "reports":
            self._take_fact(item.link, change)
        else:
            self.reach["retried"] += 1
            self._decide(item.link, change, now, late=True)
        return True
