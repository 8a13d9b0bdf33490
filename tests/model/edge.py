"""A site in the model: a file that can be copied and restored, and an agent that can be killed."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.model.landing import Landing
from tests.model.rules import Rule
from tests.model.vocabulary import GENESIS, Hello, Key, hashed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.model.file import File, Touch
    from tests.model.vocabulary import Closed, Link, Trace


class Edge(Landing):
    """A site's store and its agent."""

    # --- the handshake ------------------------------------------------------------------------

    def hello(self) -> Hello:
        """Say where we stand; the clock is measured with it."""
        file = self.file
        file.offset = -self.skew
        lineage = tuple(file.lineage) if self.on(Rule.LINEAGE) else ()
        places = [(file.pos, file.pos_hash)]
        if self.on(Rule.FURTHEST):
            places.append(file.top)
        return Hello(
            self.session, file.epoch, lineage, file.last_n, dict(file.acked), tuple(places),
            dict(file.starts) if self.on(Rule.FURTHEST) else {}, dict(file.chain),
        )  # fmt: skip

    def begin_epoch(self, epoch: str, told: Closed) -> list[Touch]:
        """Go on in a new epoch with what the centre does not have of the old one.

        What the lost life of the store has sent of the log is dropped, and returned.
        """
        file = self.file
        dropped = self._drop_sent(told.sent) if self.on(Rule.DROP_SENT) else []
        moved = [u for u in file.outbox if u.epoch == file.epoch and u.n > told.fork]
        gone = {id(link) for link in moved}
        file.outbox = [u for u in file.outbox if id(u) not in gone]
        if self.on(Rule.DROP_SENT):
            moved = _without_sent(moved, told.sent)
        file.undecided = [u for u in file.undecided if u.epoch != file.epoch or u.n <= told.fork]
        for n in range(told.fork + 1, file.last_n + 1):
            file.chain.pop((file.epoch, n), None)
        file.lineage.append((file.epoch, told.fork, told.closed))
        file.acked[file.epoch] = min(told.fork, file.acked.get(file.epoch, 0))
        file.epoch, file.last_n, file.last_hash = epoch, 0, GENESIS
        for link in moved:
            tx_id = link.tx_id if self.on(Rule.KEEP_TX_IDS) else self._name("tx")
            self._append(tx_id, link.schema, link.offset, link.changes)
        self._is_decided(told.known)
        self.drain()
        self.meet(told.start, told.order, told.place)
        for head in told.heads:
            self.land(head, told.ack)
            includes = file.includes[head.key]
            for of, n in told.included[head.key].items():
                includes[of] = max(includes.get(of, 0), n)
        file.records |= {record.name: record for record in told.records}
        if self.on(Rule.FACTS_HOME):
            file.facts |= {k: v for k, v in told.facts.items() if k not in file.dropped}
        return dropped

    def _is_decided(self, known: frozenset[str]) -> None:
        """Show moved transactions no more over heads that hold them; they are sent all the same."""
        file = self.file
        for link in file.undecided:
            for change in link.changes if link.tx_id in known else ():
                file.includes.setdefault(change.key, {})[link.epoch] = link.n
        file.undecided = [link for link in file.undecided if link.tx_id not in known]

    def _drop_sent(self, sent: Mapping[Key, list[tuple[Trace, ...]]]) -> list[Touch]:
        """Drop the touches of the log that the lost life drained before any that we don't have."""
        log = self.file.log
        common = {
            key: _covered([touch.trace for touch in log if touch.key == key], some)
            for key, some in sent.items()
        }
        dropped: list[Touch] = []
        kept: list[Touch] = []
        for touch in log:
            is_sent = common.get(touch.key, 0) > 0
            common[touch.key] = common.get(touch.key, 0) - 1
            (dropped if is_sent else kept).append(touch)
        self.file.log = kept
        return dropped

    # --- the schema and the file --------------------------------------------------------------

    def migrate(self) -> None:
        """Learn the columns that were added."""
        file = self.file
        if file.schema == 2:
            return
        self.drain()
        file.schema = 2
        if not self.on(Rule.FROZEN):
            self._pack_anew()
        for key, values in file.aside.items():
            head = file.heads.get(key)
            if head is not None and head.values is not None:
                file.heads[key] = replace(head, values={**head.values, **values})
        file.aside.clear()

    def _pack_anew(self) -> None:
        """Pack what is owed as the new release would, which gives it other hashes."""
        file = self.file
        for k, link in enumerate(file.outbox):
            previous = file.chain.get((link.epoch, link.n - 1), GENESIS)
            own = hashed(previous, link.epoch, link.n, link.tx_id, link.changes, file.schema)
            anew = replace(link, previous=previous, hash=own, schema=file.schema)
            file.outbox[k] = anew
            file.undecided = [anew if u.tx_id == link.tx_id else u for u in file.undecided]
            file.chain[link.epoch, link.n] = own
            if (link.epoch, link.n) == (file.epoch, file.last_n):
                file.last_hash = own

    def copy(self) -> File:
        """Return a copy of the file, as a backup takes it."""
        return copy.deepcopy(self.file)


def _without_sent(moved: list[Link], sent: Mapping[Key, list[tuple[Trace, ...]]]) -> list[Link]:
    """Return transactions without what the lost life sent under another name.

    That drained the same log anew, into its first transaction, as this store did into its own.
    """
    if not moved:
        return []
    left = tuple(
        each
        for each in moved[0].changes
        if each.key not in sent or _covered(each.touches, sent[each.key]) < len(each.touches)
    )
    return [replace(moved[0], changes=left), *moved[1:]] if left else moved[1:]


def _covered(log: Sequence[Trace], sent: Sequence[tuple[Trace, ...]]) -> int:
    """Return how many touches at the beginning of a log were sent, by one lost life or several."""
    done = 0
    while step := max(_common(log[done:], each) for each in sent):
        done += step
    return done


def _common(some: Sequence[Trace], others: Sequence[Trace]) -> int:
    """Return how many of two rows of touches are the same at their beginning."""
    return next(
        (k for k, (one, other) in enumerate(zip(some, others, strict=False)) if one != other),
        min(len(some), len(others)),
    )
