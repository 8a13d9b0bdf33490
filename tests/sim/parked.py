"""Whether something had to be parked, or could be: judged by the oracle, not asked of the apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.sim import verdicts
from tests.sim.cases import by_others
from tests.sim.sent import fail
from tests.sim.verdicts import CannotHold, Past

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    from shared.catalog import Catalog, Table
    from tests.sim.sent import Change, Key, Row, Sent, Ticket
    from tests.sim.verdicts import Wish

#: Reasons that no transaction of the campaign gives any cause for.
_NEVER: Final = (
    "malformed", "foreign_site", "not_writable", "append_only", "database", "fault", "id_taken",
)  # fmt: skip
#: What becomes of a ticket in the end.
_SETTLED: Final = ("applied", "discarded")


class Parking:
    """Judges what was parked."""

    catalog: Catalog
    rows: dict[Key, Row]
    tickets: dict[str, Ticket]
    _own: list[Table]
    reach: Counter[str]
    _wish: Callable[[Table, Sent, Change, Row], Wish]
    _apply_row: Callable[..., None]

    def _parent_is_missing(self, change: Change, brought: Iterable[Key] = ()) -> bool:
        table = self.catalog.table(change.table)
        for column in table.columns:
            parent = change.new.get(column.name)
            if column.enforced and column.references and parent is not None:
                key = (column.references, str(parent))
                known = key in self.rows and self.rows[key].past
                if not known and key not in brought:
                    return True
        return False

    def _was_let_go(self, change: Change) -> bool:
        """Return whether a person let go of just this fact: then it has no effect any more."""
        return self.catalog.table(change.table).fact and any(
            each.state == "discarded"
            and (each.change.op, each.change.key, each.change.new)
            == (change.op, change.key, change.new)
            for each in self.tickets.values()
        )

    def _parent_came_with(self, ticket: Ticket) -> bool:
        """Return whether what is known of a parent may be of the very transaction, and no row."""
        table, sent = self.catalog.table(ticket.change.table), ticket.sent
        parents = {
            (column.references, str(ticket.change.new.get(column.name)))
            for column in table.columns if column.enforced and column.references
        }  # fmt: skip
        return any(
            each.key in parents and each.op == "U" and self.rows[each.key].values is None
            for each in sent.changes if each.key in self.rows
        )  # fmt: skip

    def _is_invalid(self, change: Change) -> bool:
        table = self.catalog.table(change.table)
        for column in table.columns:
            value, limits = change.new.get(column.name), column.type
            if isinstance(value, int) and (
                (limits.low is not None and value < limits.low)
                or (limits.high is not None and value > limits.high)
            ):
                return True
        return False

    def _cannot_hold(self, ticket: Ticket) -> bool:
        table, change = self.catalog.table(ticket.change.table), ticket.change
        row = self.rows.get(change.key)
        if row is None or table.fact:
            return False
        wish = self._wish(table, ticket.sent, change, row)
        try:
            verdicts.settle(table, row.values, row.last, row.since(change.base), wish)
        except CannotHold:
            return True
        return False

    def _follow_tickets(self, known: dict[str, Ticket]) -> None:
        """Follow what became of tickets that were known before, and of those tried at once."""
        listed = sorted(self.tickets.items(), key=lambda each: (each[1].sent.hlc, each[1].sent.n))
        quiet = {ticket for ticket, before in known.items() if before.is_quiet}
        settled = {ticket for ticket, before in known.items() if before.state in _SETTLED}
        for ticket, each in listed:
            if each.state == "discarded" and ticket in quiet - settled:
                self._overrule(each, is_shown=True)
        for ticket, each in listed:
            if each.state == "applied" and ticket not in settled:
                self.reach["parked row applied"] += 1
                self._apply_row(each.sent, each.change, again=True)
            elif ticket in quiet and not each.is_quiet:
                self._overrule(each, is_shown=True)

    def _overrule(self, ticket: Ticket, *, is_shown: bool = False) -> None:
        """Foretell the version of a change that will not count: overruled in what it had not seen.

        It is there from when its site is told; what had been built on it comes after it. Of what
        its site has taken for applied there is one in any case, or it would not take the head.
        """
        change, sent = ticket.change, ticket.sent
        table, row = self.catalog.table(change.table), self.rows.get(change.key)
        if row is None or not row.past or table.fact:
            return
        wish, unseen = self._wish(table, sent, change, row), frozenset[str]()
        if row.values is not None and change.op != "D":
            unseen = frozenset(by_others(table, row.since(change.base), wish) & wish.new.keys())
        if unseen or is_shown:
            self.reach["parked and overruled"] += 1
            row.past.append(
                Past(
                    "",
                    "U",
                    unseen,
                    wish.by,
                    overruled=unseen,
                    hlc=sent.hlc,
                    times=wish.times,
                    counts=False,
                )
            )

    def _must_not_be_parked_for(self, sent: Sent, change: Change, brought: Iterable[Key]) -> None:
        what = f"{change.table} {change.id} of {sent.site} n {sent.n}"
        if self._parent_is_missing(change, brought):
            fail(f"{what} was applied without its parent")
        if self._is_invalid(change):
            fail(f"{what} was applied though it breaks a rule")
        before = [
            each for each in self.tickets.values()
            if each.change.key == change.key and each.state in ("parked", "waiting")
            and each.sent is not sent and each.sent.tx_id in (change.base, change.after)
        ]  # fmt: skip
        if before:
            fail(f"{what} was applied before the change that it is built on")

    def _may_be_parked(self, ticket: Ticket, parked: dict[Key, Ticket]) -> None:
        change, reason = ticket.change, ticket.reason
        what = f"{change.table} {change.id} of {ticket.sent.site} n {ticket.sent.n}"
        because = f"{what} is parked as {reason} ({ticket.message})"
        if reason in _NEVER:
            fail(f"{because}, and there is no such reason")
        if ticket.state in ("applied", "discarded"):
            return  # it waited for what came with it: what it waited for is here by now
        if not self._is_so(ticket, parked):
            fail(f"{because}, which is not so")

    def _is_so(self, ticket: Ticket, parked: dict[Key, Ticket]) -> bool:
        """Return whether the reason that was given is one."""
        change, row = ticket.change, self.rows.get(ticket.change.key)
        match ticket.reason:
            case "parent_missing":
                return self._parent_is_missing(change) or self._parent_came_with(ticket)
            case "invalid_value":
                return self._is_invalid(change) or self._cannot_hold(ticket)
            case "key_taken":
                return self._key_is_taken(ticket)
            case "behind":
                return any(
                    each.change.key == change.key and each.state in ("parked", "waiting")
                    for each in self.tickets.values()
                    if each is not ticket and _turn(each) <= _turn(ticket)
                )
            case "tied":
                return len(parked) > 1
        moved = row is not None and row.values is not None and row.created != change.created
        return ticket.reason == "newer_schema" or moved

    def _key_is_taken(self, ticket: Ticket) -> bool:
        """Return whether somebody has the key, or had it when the transaction came."""
        change = ticket.change
        table = self.catalog.table(change.table)
        row = self.rows.get(change.key)
        mine = {**((row and row.values) or (row and row.last) or {}), **change.new}
        wanted = set(self._keys(table, mine))
        held = {
            key
            for (name, other), each in self.rows.items()
            if name == change.table and other != change.id and each.site == change.site
            for values in (each.values, each.last) if values
            for key in self._keys(table, values)
        }  # fmt: skip
        # In one transaction a key may go from one row to another: which of them is first, the
        # centre alone can tell.
        names = {name for key in table.natural_keys for name in key}
        is_handed_over = any(
            each.table == change.table and each.id != change.id and names & set(each.new)
            for each in ticket.sent.changes
        )
        return is_handed_over or bool(wanted & held)

    @staticmethod
    def _keys(table: Table, values: dict[str, Any]) -> Iterable[tuple[int, tuple[Any, ...]]]:
        for number, names in enumerate(table.natural_keys):
            key = tuple(values.get(name) for name in names)
            if None not in key:
                yield number, key

    def _keys_are_unique(self) -> None:
        for table in self._own:
            if not table.natural_keys:
                continue
            held: dict[Any, str] = {}
            for (name, row_id), row in self.rows.items():
                if name == table.name and row.values is not None:
                    for key in self._keys(table, row.values):
                        other = held.setdefault((row.site, key), row_id)
                        if other != row_id:
                            fail(f"{name}: {other} and {row_id} have the same key {key}")


def _turn(ticket: Ticket) -> tuple[int, int]:
    """Return when a change was made, among those of its site."""
    return ticket.sent.hlc, ticket.sent.n
