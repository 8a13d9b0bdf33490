"""From messages to runs: what is applied together, opened and checked within bounds of memory.

A run is one transaction of PostgreSQL. What a site sends is not trusted to be small: sizes are
asked for before anything is opened, and what is too large goes to the spool part by part.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from central.store import Incoming
from shared.changes import Part, PartBody, SyncTransaction
from shared.errors import Poison
from sync import codec
from sync.pump import Message

if TYPE_CHECKING:
    from shared.catalog import Catalog

#: Parts of one transaction that follow one another, each with its message.
Group = Sequence[tuple[Part, Message]]

#: Rows and transactions after which a run, which is one transaction of PostgreSQL, is full.
RUN_ROWS_MAX = 10_000
RUN_TRANSACTIONS_MAX = 200
#: Of the first of several runs: PostgreSQL has nothing to do meanwhile.
FIRST_RUN_ROWS = 1_000
#: The same for uncompressed bytes; in memory the values take a few times as much, twice: while one
#: run is applied the next is prepared.
RUN_BYTES_MAX = 8 << 20
#: What is smaller, uncompressed, is opened where we are: to hand it to a thread costs more.
_AT_ONCE_BYTES = 128 << 10
#: Values of the same, keys included: a few bytes may stand for many that are alike.
RUN_VALUES_MAX = 2 * codec.VALUES_MAX
#: A transaction of more parts than this, or of more uncompressed bytes than such parts have, is not
#: held in memory.
PARTS_MAX = 8
TRANSACTION_BYTES_MAX = PARTS_MAX * codec.PART_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Run:
    """Transactions that are applied together, and parts that are kept after them."""

    incoming: list[Incoming]
    kept: Sequence[tuple[Part, Message]] = ()


class Runs:
    """Makes runs of groups of parts, each when it is asked for."""

    def __init__(self, groups: Sequence[Group], catalog: Catalog) -> None:
        self._groups = deque(groups)
        self._catalog = catalog

    async def next(self, rows_max: int = RUN_ROWS_MAX) -> Run | None:
        """Return the next run, opened and checked; None where there is nothing left."""
        if not self._groups:
            return None
        if sum(map(_size_of, self._groups)) < _AT_ONCE_BYTES:
            return self._make(rows_max)
        return await asyncio.to_thread(self._make, rows_max)

    def _make(self, rows_max: int) -> Run:
        run: list[Incoming] = []
        rows = size = values = 0
        while self._groups and rows < rows_max and not _is_full(len(run), size, values):
            group = self._groups.popleft()
            sent = _opened(group)
            if sent is None:
                return Run(run, group)
            run.append(each := Incoming(sent, self._catalog))
            size += _size_of(group)
            rows += each.rows
            values += sum(map(codec.count_values, sent.blocks))
            # What fails here fails again where it is applied, and is parked there.
            with contextlib.suppress(Exception):
                each.prepare()
        return Run(run)


def _is_full(transactions: int, size: int, values: int) -> bool:
    full = transactions >= RUN_TRANSACTIONS_MAX
    return full or size >= RUN_BYTES_MAX or values >= RUN_VALUES_MAX


def continued(beginning: Group, parts: Group) -> list[tuple[Part, Message]]:
    """Return the parts after the beginning, each once.

    After a reconnect the broker delivers again what nobody acked. It is taken in the place of what
    is held, since it is what an ack is given for now.
    """
    newest = {(part.hash, part.part): (part, message) for part, message in parts}
    held = [(part.hash, part.part) for part, _ in beginning]
    again = set(held)
    return [
        *(newest.get(key, each) for key, each in zip(held, beginning, strict=True)),
        *(each for each in parts if (each[0].hash, each[0].part) not in again),
    ]


def groups_of(parts: Group) -> list[list[tuple[Part, Message]]]:
    """Return the parts with those of the same transaction that follow one another together."""
    groups: list[list[tuple[Part, Message]]] = []
    for part, message in parts:
        before = groups[-1][-1][0] if groups else None
        if before is not None and before.hash == part.hash and before.part + 1 == part.part:
            groups[-1].append((part, message))
        else:
            groups.append([(part, message)])
    return groups


def _opened(group: Group) -> SyncTransaction | None:
    """Return the transaction that these are all parts of; None where one is missing or damaged.

    None, too, where it is too large to be held in memory.
    """
    parts = [part for part, _ in group]
    if parts[0].part != 0 or not len(parts) == parts[0].parts <= PARTS_MAX or not fits(group):
        return None
    bodies: list[PartBody] = []
    values = 0
    for part in parts:
        try:
            bodies.append(codec.open_body(part))
        except Poison:  # it is refused where it would be kept
            return None
        values += sum(map(codec.count_values, bodies[-1].blocks))
        if values > RUN_VALUES_MAX:
            return None
    return whole_transaction(parts, bodies, max(message.stored_at_ms for _, message in group))


def fits(group: Group) -> bool:
    """Return whether these may be held in memory; asked before any of them is opened."""
    return _size_of(group) <= TRANSACTION_BYTES_MAX


def _size_of(group: Group) -> int:
    """Return the uncompressed bytes of these; too many where one does not tell its size."""
    try:
        return sum(codec.body_size(part.body) for part, _ in group)
    except Poison:  # it is refused where it would be kept
        return TRANSACTION_BYTES_MAX + 1


def whole_transaction(
    parts: Sequence[Part], bodies: Sequence[PartBody], stored_at_ms: int
) -> SyncTransaction:
    """Return the transaction that these parts make."""
    first, body = parts[0], bodies[0]
    return SyncTransaction(
        site=first.site, epoch=first.epoch, n=first.n, tx_id=first.tx_id,
        previous=first.previous, hash=first.hash, schema=body.schema, hlc=body.hlc,
        offset_ms=body.offset_ms, stored_at_ms=stored_at_ms,
        blocks=tuple(block for each in bodies for block in each.blocks),
    )  # fmt: skip
