"""What a site's users write, what they see, and how it gets into the outbox and out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.changes import Op
from tests.model import fold as folding
from tests.model.file import File, Touch
from tests.model.fold import fold, in_parts
from tests.model.rules import Rule
from tests.model.vocabulary import Change, Fate, Key, Link, Values, hashed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from shared.changes import Value

    Names = Callable[[str], str]


class Drains:
    """A site's store and its agent, as far as it writes and sends."""

    def __init__(self, file: File, place: str, off: frozenset[Rule], names: Names) -> None:
        self.file = file
        self.place = place
        self.off = off
        self._name = names
        #: The clock minus the true time.
        self.skew = 0
        #: Last n sent, by epoch: the agent's memory.
        self.sent: dict[str, int] = {}
        #: The hello that was answered since the agent started; empty before.
        self.session = ""
        #: Up to which order the history goes that began with a start of the centre.
        self.ends: dict[str, int | None] = {}

    def on(self, rule: Rule) -> bool:
        """Return whether a rule is on."""
        return rule not in self.off

    @property
    def may_work(self) -> bool:
        """Return whether the agent may drain and send."""
        return bool(self.session) or not self.on(Rule.HELLO_FIRST)

    # --- users --------------------------------------------------------------------------------

    def view(self, key: Key) -> Values | None:
        """Return the row as a reader sees it; none where it is set aside."""
        return None if self.is_aside(key) else self.laid(key)

    def is_aside(self, key: Key) -> bool:
        """Return whether an own row that is not decided gives way to another one of its code."""
        code = (self.laid(key) or {}).get("code") if key[0] == "orders" else None
        if code is None:
            return False
        rank = self._rank(key, code)
        return rank[0] < 2 and any(
            self._rank(other, code) > rank and (self.laid(other) or {}).get("code") == code
            for other in self.rows()
        )

    def _rank(self, key: Key, code: Value) -> tuple[int, Key]:
        """Return what is before other rows of a code: what has it at the centre, or had it."""
        head = self.file.heads.get(key)
        if head is not None and (head.values or {}).get("code") == code:
            return 2, key
        return int(self.file.last.get(key, {}).get("code") == code), key

    def codes(self) -> list[Value]:
        """Return every code that a row has, had, or is to have."""
        file = self.file
        told = {(k, (h.values or {}).get("code")) for k, h in file.heads.items()}
        told |= {(k, values.get("code")) for k, values in file.last.items()}
        told |= {(c.key, c.new.get("code")) for u in file.undecided for c in u.changes}
        told |= {(touch.key, touch.new.get("code")) for touch in file.log}
        return [code for _, code in told if code is not None]

    def laid(self, key: Key) -> Values | None:
        """Return a row's head under what is not decided yet."""
        if key[0] == "reports":
            return self.file.facts.get(key[1])
        head = self.file.heads.get(key)
        if head is not None and head.fate is Fate.LEFT:
            return None  # whatever was written on it is owed, and not shown
        row = None if head is None or head.values is None else dict(head.values)
        for k, (op, new, old) in enumerate(self._undecided(key)):
            if k == 0 and row is None and op is Op.UPDATE:
                row = dict(self.file.last.get(key, {}))  # stays in sight until it is decided
            row = folding.laid(key, row, op, new, old)
        return row

    def _undecided(self, key: Key) -> Iterator[tuple[Op, Mapping[str, Value], Mapping[str, Value]]]:
        covered_n, covered_commit = self.file.covered.get(key, (0, 0))
        for link in self.file.undecided:
            for change in link.changes:
                if change.key == key and not self.includes(key, link) and link.n > covered_n:
                    yield change.op, change.new, change.old
        for touch in self.file.log:
            if touch.key == key and touch.commit > covered_commit:
                yield touch.op, touch.new, touch.old

    def includes(self, key: Key, link: Link) -> bool:
        """Return whether a row's head is one that was decided after an own transaction."""
        return link.n <= self.file.includes.get(key, {}).get(link.epoch, 0)

    def rows(self) -> list[Key]:
        """Return the keys of all two-way rows that are or were here."""
        keys = set(self.file.heads)
        keys.update(change.key for link in self.file.undecided for change in link.changes)
        keys.update(touch.key for touch in self.file.log)
        return sorted(key for key in keys if key[0] != "reports")

    def commit(self, number: int, wishes: list[tuple[Key, Op, Values]], now: int) -> list[Touch]:
        """Commit what a user wants, in one transaction; return what it did."""
        self.file.commits = number
        self.file.held.add(number)
        done = []
        for key, op, new in wishes:
            seen = self.view(key)
            old = dict(seen or {}) if op is Op.DELETE else {c: (seen or {}).get(c) for c in new}
            touch = Touch(number, key, op, new, old, now + self.skew, self.skew)
            self.file.log.append(touch)
            if key[0] == "reports":
                self.file.facts[key[1]] = dict(new)
            done.append(touch)
        return done

    # --- drain and send -----------------------------------------------------------------------

    def drain(self, cut: int | None = None) -> None:
        """Move what was committed into the outbox, as one transaction."""
        file = self.file
        whole = self.on(Rule.WHOLE_TRANSACTIONS) or cut is None
        taken, file.log = (file.log, []) if whole else (file.log[:cut], file.log[cut:])
        changes = tuple(self._changes(taken))
        if changes:
            self._append(self._name("tx"), file.schema, file.offset, changes)

    def _changes(self, touches: list[Touch]) -> Iterator[Change]:
        by_key: dict[Key, list[Touch]] = {}
        for touch in touches:
            by_key.setdefault(touch.key, []).append(touch)
        for key, some in by_key.items():
            head = self.file.heads.get(key)
            own = self._own_undecided(key)
            base = (head.version or None) if head else None
            if own and not self.on(Rule.BASE_IS_DECIDED):
                base = own[-1]
            known = base is not None or bool(own)
            done = fold(some, first_old=self.on(Rule.FOLD_FIRST_OLD), known=known)
            if done is not None:
                when = tuple(touch.trace for touch in some)
                at, after = some[-1].at, own[-1] if own else None
                yield Change(key, done.op, done.new, done.old, at, base, after, done.times, when)

    def _own_undecided(self, key: Key) -> list[str]:
        return [
            link.tx_id
            for link in self.file.undecided
            if not self.includes(key, link) and any(c.key == key for c in link.changes)
        ]

    def _append(self, tx_id: str, schema: int, offset: int, changes: tuple[Change, ...]) -> None:
        file = self.file
        n = file.last_n + 1
        own = hashed(file.last_hash, file.epoch, n, tx_id, changes)
        link = Link(file.site, file.epoch, n, tx_id, file.last_hash, own, schema, offset, changes)
        file.last_n, file.last_hash = n, own
        file.chain[file.epoch, n] = own
        file.outbox.append(link)
        file.undecided.append(link)

    def to_send(self) -> list[Link]:
        """Return what goes out next, in parts where it is large."""
        links = [link for link in self.file.outbox if link.n > self.sent.get(link.epoch, 0)]
        sent = []
        for link in links[:4]:
            sent += in_parts(link)
            self.sent[link.epoch] = link.n
            if not self.on(Rule.KEEP_UNTIL_DECIDED):
                self.file.outbox.remove(link)
        return sent

    def forge(self, key: Key, mark: str, now: int) -> None:
        """Send a row of another site, as a hostile or broken program might."""
        change = Change(key, Op.INSERT, {"note": mark}, {}, now)
        self._append(self._name("tx"), 2, self.file.offset, (change,))

    def undecided_touches(self) -> list[tuple[Key, Op, Mapping[str, Value]]]:
        """Return what was written here and is not decided, in order."""
        sent = [
            (c.key, c.op, c.new)
            for link in self.file.undecided
            for c in link.changes
            if not self.includes(c.key, link)
        ]
        return [*sent, *((t.key, t.op, t.new) for t in self.file.log)]

    def restart(self) -> None:
        """Kill the agent and start it again: it remembers nothing."""
        self.sent = {}
        self.session = ""

    def decided(self, key: Key) -> dict[str, int]:
        """Return by epoch up to where own transactions are decided in a row's head."""
        upto = dict(self.file.acked)
        for epoch, n in self.file.includes.get(key, {}).items():
            upto[epoch] = max(upto.get(epoch, 0), n)
        return upto

    def not_owed(self) -> list[str]:
        """Return the facts that are safe."""
        owed = {change.key[1] for link in self.file.outbox for change in link.changes}
        owed |= {touch.key[1] for touch in self.file.log}
        return sorted(set(self.file.facts) - owed)

    def drop_facts(self, names: Iterable[str]) -> None:
        """Let go of facts that are older than they are kept."""
        for name in names:
            if self.file.facts.pop(name, None) is not None:
                self.file.dropped.add(name)
