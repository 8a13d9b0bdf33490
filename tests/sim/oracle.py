"""What must stand at the centre, told from what was sent and in which order it was taken.

The oracle hears of each transaction when a site drains it, of each statement of the centre's
programs when they commit, and looks after everything that may have committed: how far each chain
is, which rows were parked, and which versions there are. From the order alone and the policies of
``tests.sim.verdicts`` it tells rows, versions, history and facts; nothing of the apply is asked
but the names that it gave to versions, and what it parked. Whether something had to be parked, or
could be, the oracle judges by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from shared.changes import GENESIS
from shared.clock import DRIFT_MAX_MS
from tests.sim import verdicts
from tests.sim.aside import Aside, Waiting
from tests.sim.blind import Blind
from tests.sim.parked import Parking
from tests.sim.releases import Releases
from tests.sim.sent import Change, Key, Row, Sent, Ticket, Violation, changes_of, fail
from tests.sim.verdicts import By, CannotHold, Note, Past, Verdict, Wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.catalog import Catalog, Table
    from shared.changes import SyncTransaction
    from tests.sim.centre import Database

__all__ = ["Change", "Key", "Oracle", "Row", "Sent", "Violation", "fail"]

_ORDER: Final = {"D": 0, "U": 1, "I": 2}


class Oracle(Parking, Releases, Aside, Blind):
    """Knows what must be."""

    def __init__(self, database: Database, reach: Counter[str]) -> None:
        self.database, self.reach = database, reach
        self.catalog: Catalog = database.catalog
        self.rows: dict[Key, Row] = {}
        self.facts: dict[Key, tuple[str, str, dict[str, Any]]] = {}
        self.sent: dict[str, Sent] = {}
        #: What a site's chain holds, by epoch and number.
        self.chains: dict[tuple[str, str], dict[int, Sent]] = defaultdict(dict)
        #: The links of all chains by hash: a number may be used again after a restore.
        self._links: dict[tuple[str, bytes], Sent] = {}
        self._last: dict[tuple[str, str], bytes] = {}
        #: Transactions that had their effect, in whatever epoch.
        self.applied: set[str] = set()
        #: Forks of the epochs that are closed.
        self._closed: dict[str, int] = {}
        self.last_n: Counter[tuple[str, str]] = Counter()
        self.tickets: dict[str, Ticket] = {}
        self.aside: dict[tuple[Key, str], Waiting] = {}
        self.notes: list[tuple[Change, Sent, Note]] = []
        self.spent: set[str] = set()
        #: When the broker stored each, as it came when it was applied.
        self.stored_at: dict[str, int] = {}
        self.trace: list[str] = []
        #: Order of each version at the centre, by row and name.
        self.orders: dict[tuple[str, str, str], int] = {}
        self._numbers = {no: name for name, no in database.numbers.items()}
        self._last_order = 0
        self.late: set[str] = set()
        #: Rows that programs of the centre have written.
        self.by_clients: set[Key] = set()
        self.deleted_by_clients: set[Key] = set()
        self.is_blind = False  # the centre went back: rows are not foretold any more
        self._own = [t for t in self.catalog.tables if not t.name.startswith("sync_")]

    # --- what it hears of --------------------------------------------------------------------

    def drained(self, sent: SyncTransaction, parts: int) -> Sent:
        """Hear of a transaction that a site has put into its outbox."""
        table = self.catalog.table
        changes = [each for block in sent.blocks for each in changes_of(block, table(block.table))]
        made = Sent(
            sent.site, sent.epoch, sent.n, sent.tx_id, sent.previous, sent.hash, sent.hlc,
            sent.offset_ms, sent.schema, parts, changes,
        )  # fmt: skip
        known = self.sent.get(sent.tx_id)
        if known and known.epoch == made.epoch and known.hash != made.hash:
            fail(f"{sent.site} n {sent.n}: a transaction was drained twice")
        self.chains[sent.site, sent.epoch][sent.n] = made
        self._links[sent.epoch, sent.hash] = made
        if sent.tx_id not in self.applied:  # else it has moved to another epoch and has no effect
            self.sent[sent.tx_id] = made
        return made

    def taking(self, tx_id: str, stored_at_ms: int) -> None:
        """Hear of an attempt at a transaction, and when the broker had stored it."""
        if tx_id not in self.applied:
            self.stored_at[tx_id] = stored_at_ms

    def client(self, key: Key, op: str, row: Row | None, new: dict[str, Any], at_ms: int) -> None:
        """Hear of a statement that a program of the centre has committed."""
        self.by_clients.add(key)
        self.deleted_by_clients |= {key} if op == "D" else set()
        if self.is_blind:
            return
        if row is not None:
            self.rows.setdefault(key, row)
        row = self.rows[key]
        table = self.catalog.table(key[0])
        by = By(verdicts.CENTRE, at_ms, writer="planner")
        columns = frozenset(table.names)
        before = row.values
        if op == "U":
            assert before is not None
            columns = frozenset(c for c, v in new.items() if before[c] != v)
            if not columns:
                return
            row.values = {**before, **new}
        elif op == "I":
            row.values = dict(new)
        else:
            row.last, row.values = before, None
        row.past.append(Past("", op, columns, by))

    # --- what it looks after --------------------------------------------------------------------

    async def look(self) -> None:
        """Follow what the centre has committed, if anything, and check what can be checked."""
        if self.is_blind:
            await self.follow()
            return
        accepted = await self._accepted()
        known = dict(self.tickets)
        await self._read_tickets()
        # Of a run all is applied together: a child finds the parent that came after it, or what
        # became known by it of one whose insert was discarded.
        parked = {(each.sent.tx_id, each.change.key) for each in self.tickets.values()}
        brought = {
            change.key
            for sent in accepted
            for change in sent.changes
            if change.op in ("I", "U") and (sent.tx_id, change.key) not in parked
        }
        for sent in accepted:
            self._apply(sent, brought)
        self._follow_tickets(known)
        self._keys_are_unique()
        await self._name_versions()

    async def _accepted(self) -> list[Sent]:
        rows = await self.database.rows(
            "SELECT site, epoch::text, last_n, last_hash, closed_at_n, fork_n FROM sync.epoch"
            " ORDER BY opened_at"
        )
        accepted: list[Sent] = []
        for site, epoch, last_n, last_hash, closed_n, fork_n in rows:
            if last_n < self.last_n[site, epoch]:
                fail(f"the watermark of {site} went back to {last_n}")
            path = self._path((site, epoch), bytes(last_hash))
            if [sent.n for sent in path] != [*range(self.last_n[site, epoch] + 1, last_n + 1)]:
                fail(f"{site}: from n {self.last_n[site, epoch]} to {last_n} leads {path}")
            for sent in path:
                if sent.tx_id in self.applied:
                    self.reach["moved, and known already"] += 1
                    parked = {t.change.key for t in self.tickets.values() if t.sent is sent}
                    sent.is_own_again(self.rows, parked)
                else:
                    self.applied.add(sent.tx_id)
                    self.sent[sent.tx_id] = sent
                    accepted.append(sent)
            self.last_n[site, epoch], self._last[site, epoch] = last_n, bytes(last_hash)
            if closed_n is not None and fork_n < self._closed.get(epoch, 1 << 62):
                self._close((site, epoch), fork_n)
        return accepted

    def _path(self, chain: tuple[str, str], end: bytes) -> list[Sent]:
        """Return the links of a chain between where it was and where it is."""
        path: list[Sent] = []
        while end != self._last.get(chain, GENESIS):
            sent = self._links.get((chain[1], end))
            if sent is None:
                fail(f"the centre took of {chain[0]} what that site never drained")
                raise AssertionError
            path.insert(0, sent)
            end = sent.previous
        return path

    def _close(self, chain: tuple[str, str], fork_n: int) -> None:
        """A site went back: what it drained beyond the fork is its own no more."""
        site, epoch = chain
        self.reach["new epoch"] += epoch not in self._closed
        self._closed[epoch] = fork_n
        beyond = [
            sent.hlc
            for sent in self.sent.values()
            if sent.epoch == epoch and sent.n > fork_n and sent.tx_id in self.applied
        ]
        for row in self.rows.values() if beyond else ():
            for past in row.past:
                past.is_lost |= past.site == site and past.hlc >= min(beyond)

    async def _read_tickets(self) -> None:
        rows = await self.database.rows(
            "SELECT p.id::text, p.tx_id::text, p.table_name, p.row_id::text, p.reason, p.state,"
            " p.message, w.quiet FROM mes.sync_parked AS p"
            " LEFT JOIN sync.waiting AS w ON w.ticket = p.id"
        )
        for ticket, tx_id, table, row_id, reason, state, message, quiet in rows:
            sent = self.sent.get(tx_id)
            changes = sent.changes if sent else ()
            change = next((c for c in changes if c.key == (table, row_id)), None)
            if sent is None or change is None:
                fail(f"{table} {row_id} of {tx_id} is parked, and nobody sent it")
                raise AssertionError
            if ticket not in self.tickets:
                self.reach[f"parked: {reason}"] += 1
            was_quiet = ticket not in self.tickets or self.tickets[ticket].is_quiet
            is_quiet = was_quiet if quiet is None else quiet  # none: it waits no more
            self.tickets[ticket] = Ticket(sent, change, reason, state, message, is_quiet)

    # --- applying --------------------------------------------------------------------------------

    def _apply(self, sent: Sent, brought: set[Key]) -> None:
        self.reach["transaction"] += 1
        if sent.parts > 1:
            self.reach["chunked transaction"] += 1
        parked = {each.change.key: each for each in self.tickets.values() if each.sent is sent}
        what = [(c.op, c.table, c.id[:13], c.new) for c in sent.changes]
        refused = [(row_id[:13], each.reason) for (_, row_id), each in parked.items()]
        self.trace.append(f"the centre takes {sent.site} n {sent.n} {what}, parks {refused}")
        for change in sorted(sent.changes, key=self._turn):
            if self._was_let_go(change):
                self.reach["let go of, and came again"] += 1
            elif change.key not in parked:
                self._must_not_be_parked_for(sent, change, brought)
                self._apply_row(sent, change, again=False)
        for ticket in parked.values():
            self._may_be_parked(ticket, parked)
            if not ticket.is_quiet:
                self._overrule(ticket)

    def _turn(self, change: Change) -> int:
        """Return when a row has its turn: signed releases come before what they allow."""
        is_release = any(table.relax_by == change.table for table in self.catalog.tables)
        return -1 if is_release else _ORDER[change.op]

    def _apply_row(self, sent: Sent, change: Change, *, again: bool) -> None:
        table = self.catalog.table(change.table)
        if table.fact:
            self._apply_fact(sent, change)
            return
        row = self.rows.setdefault(change.key, Row(change.site, change.created))
        wish = self._wish(table, sent, change, row)
        since = row.since(change.base)
        try:
            verdict, is_clean = self._decide(
                table, row, since, (change, wish), again=again, hlc=sent.hlc
            )
        except CannotHold:
            fail(f"{change.table} {change.id}: made what its column can't hold, and was applied")
            raise AssertionError from None
        for note in verdict.notes:
            self.notes.append((change, sent, note))
            self.reach[f"policy {note.policy}"] += 1
            self.reach[f"verdict {note.verdict}"] += 1
        if change.op != "U" and not (verdict.changed or verdict.notes or verdict.overruled):
            self.reach["nothing to do"] += 1
            self._set_aside(sent, change, wish.by)
            return
        self.reach["clean" if is_clean else "decided"] += 1
        self._spend(table, row, verdict, wish)
        if row.values is not None and verdict.row is None:
            row.last = row.values
        if row.values is None and verdict.row is not None and change.op == "I":
            row.created = change.created
        row.values = verdict.row
        columns = frozenset(table.names) if change.op != "U" else frozenset(wish.new)
        row.past.append(
            Past(
                sent.tx_id if is_clean else "", change.op, columns, wish.by, verdict.overruled,
                verdict.contested, sent.hlc, wish.times,
            )
        )  # fmt: skip
        self._set_aside(sent, change, wish.by)

    def _decide(
        self, table: Table, row: Row, since: Sequence[Past] | None, asked: tuple[Change, Wish],
        *, again: bool, hlc: int,
    ) -> tuple[Verdict, bool]:  # fmt: skip
        change, wish = asked
        left, notes = wish, list[Note]()
        if again:
            since = since and [v for v in since if v.counts or v.hlc <= hlc]
            later = [v for v in since or () if v.site == wish.site and v.hlc > hlc]
            some, notes = verdicts.give_way(table, row.values, later, wish)
            self.reach["retry gave way"] += bool(notes)
            dropped = frozenset(wish.new) - frozenset(some.new if some else ())
            if some is None:
                verdict = Verdict(row.values, notes=notes, overruled=dropped)
                return verdict, False
            left = some
        verdict = verdicts.settle(table, row.values, row.last, since, left)
        verdict.notes = [*notes, *verdict.notes]
        verdict.overruled |= frozenset(wish.new) - frozenset(left.new)
        expected = change.after or change.base
        fits = (not row.past and change.op == "I") or (
            bool(row.past) and row.values is not None and row.head == expected
        )
        is_clean = fits and not (verdict.notes or verdict.overruled)
        if row.values is not None and verdict.row is not None:
            more = verdicts.displaced(table, row.values, since, wish, verdict)
            verdict.notes += more
            is_clean &= not more
        return verdict, is_clean

    def _wish(self, table: Table, sent: Sent, change: Change, row: Row) -> Wish:
        at_ms, clamped = self._moment(sent, change.at)
        new = {c: v for c, v in change.new.items() if c in table.names}
        if change.op == "I":
            new = {c.name: new.get(c.name, c.default) for c in table.columns}
            new = {
                c: v for c, v in new.items()
                if c in change.new or table.column(c).default is not None
            }  # fmt: skip
        writer = table.writer_column
        by = By(sent.site, at_ms, clamped, new.get(writer.name) if writer else None)
        times = {c: self._moment(sent, at) for c, at in change.times.items() if c in table.names}
        old = {c: v for c, v in change.old.items() if c in table.names}
        wish = Wish(change.op, sent.tx_id, by, new, old, times=times)
        return replace(wish, relaxed=self._relaxed(table, change, row))

    def _moment(self, sent: Sent, at: int) -> tuple[int, bool]:
        latest = self.stored_at[sent.tx_id] + DRIFT_MAX_MS
        corrected = at + sent.offset_ms
        if corrected <= latest:
            return corrected, False
        self.reach["clock held to the bound"] += 1
        return latest, True

    # --- facts -----------------------------------------------------------------------------------

    def _apply_fact(self, sent: Sent, change: Change) -> None:
        known = self.facts.get(change.key)
        if known is not None and known[2] != change.new:
            fail(f"{change.table} {change.id} was applied with another content")
        self.facts[change.key] = (sent.site, change.created, dict(change.new))
        self.reach["fact"] += 1

    # --- versions --------------------------------------------------------------------------------

    async def _name_versions(self) -> None:
        """Learn what the centre calls the versions that it made, and check what it says of each."""
        rows = await self.database.rows(
            "SELECT table_no, id::text, ord, version::text, op::text, mask, overruled, contested,"
            " origin, at_ms, clamped FROM sync.version WHERE ord > %s OR id = ANY(%s::uuid[])"
            " ORDER BY ord",
            self._last_order, sorted(self.late),
        )  # fmt: skip
        fresh: dict[Key, list[Any]] = defaultdict(list)
        for no, row_id, order, name, *rest in rows:
            table = self._numbers[no]
            self._last_order = max(self._last_order, order)
            if not table.startswith("sync_") and (table, row_id, name) not in self.orders:
                self.orders[table, row_id, name] = order
                fresh[table, row_id].append((name, *rest))
        for key, some in fresh.items():
            self._name(key, some)
        self.late.clear()
        for key, row in self.rows.items():
            if row.named < len(row.past):
                fail(f"{key}: a version is missing at the centre")

    def _name(self, key: Key, some: list[Any]) -> None:
        table, row = self.catalog.table(key[0]), self.rows.get(key)
        unnamed = row.past[row.named :] if row else []
        if row is None or len(unnamed) != len(some):
            fail(f"{key}: the centre made versions {some}, {unnamed} are foretold")
            raise AssertionError
        row.named = len(row.past)
        for past, (name, op, mask, overruled, contested, origin, at_ms, clamped) in zip(
            unnamed, some, strict=True
        ):
            if past.name and past.name != name:
                fail(f"{key}: version {name} is not that of its transaction, {past.name}")
            past.name = name
            wanted = (
                past.op, past.columns if op == "U" else None, past.overruled, past.contested,
                past.site, past.by.at_ms, past.by.clamped,
            )  # fmt: skip
            found = (
                op, frozenset(table.names_of(mask)) if op == "U" else None,
                frozenset(table.names_of(overruled)), frozenset(table.names_of(contested)),
                origin, at_ms, clamped,
            )  # fmt: skip
            if wanted != found:
                fail(f"{key}: version {name} is {found}, {wanted} is foretold")
