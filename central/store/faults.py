"""The queue never stops: what this program itself fails on is parked, and the rest goes on."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.store.applying import ROWS_AT_FAULT
from central.store.changeset import Origin, Reason, Refusal, Source
from central.store.gate import judged
from central.store.parking import park, quarantine, tell
from central.store.releases import relaxing_tables
from central.store.run import apply_blocks
from central.store.transaction import in_one_transaction
from shared.changes import PartBody
from shared.errors import SyncError
from shared.observe import note
from sync import codec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.gate import Gate, Judged
    from central.store.leases import Lease
    from central.store.outcome import RunOutcome
    from central.store.session import Session
    from shared.catalog import Catalog
    from shared.changes import ChangeBlock, Part, SyncTransaction

    #: Gives the blocks of a transaction, part by part, each time it is called.
    Parts = Callable[[AsyncConnection[Any]], AsyncIterator[Sequence[ChangeBlock]]]

#: Attempts at the pieces of one transaction. What is not found by then is parked with the rest: a
#: mistake that every row brings to light must not hold up the queue.
TRIES_MAX: Final = 200

_log = logging.getLogger(__name__)


def is_fault(why: Exception) -> bool:
    """Return whether it is the rows that a program stumbled on, not what it stands on."""
    if isinstance(why, psycopg.Error):
        return isinstance(why, ROWS_AT_FAULT)
    return not isinstance(why, SyncError | OSError)


async def apply_around(
    session: Session, link: SyncTransaction | Part, origin: Origin, parts: Parts, lease: Lease
) -> RunOutcome:
    """Apply a transaction that failed but for what this program fails on, which is parked.

    To be called while the reason is being handled. Facts are halved until the row to blame is
    alone; the two-way rows of a part, which may be tied to one another, stay together. Rows that
    waited for what is applied here are left to ``due.due``: they may be what it fails on.
    """
    why = traceback.format_exc()
    note(
        _log, "fault: transaction applied in pieces", level=logging.ERROR, site=origin.site,
        n=origin.n, tx_id=origin.tx_id, error=why,
    )  # fmt: skip
    last = why.strip().splitlines()[-1]

    async def work(applying: Applying, gate: Gate) -> Judged:
        todo = judged([link], gate)
        applying.tally.hlc, applying.tally.offset_ms = origin.hlc, origin.offset_ms
        search = _Search(applying, origin, last)
        if todo.accepted:
            async for blocks in parts(applying.connection):
                for whole in _wholes(applying.catalog, blocks):
                    await search.apply(whole)
        return todo

    try:
        return await in_one_transaction(session, lease, [link], work, is_bold=False)
    except Exception as again:
        if not is_fault(again):
            raise
        return await _set_aside(session, link, origin, parts, lease)


async def _set_aside(
    session: Session, link: SyncTransaction | Part, origin: Origin, parts: Parts, lease: Lease
) -> RunOutcome:
    """Keep a transaction of which not even the parts can be parked, in quarantine, and go on.

    To be called while the reason is being handled. Its site gets the heads of its rows.
    """
    why = traceback.format_exc()
    note(
        _log, "fault: transaction set aside whole", level=logging.CRITICAL, site=origin.site,
        n=origin.n, tx_id=origin.tx_id, error=why,
    )  # fmt: skip
    last = why.strip().splitlines()[-1]

    async def work(applying: Applying, gate: Gate) -> Judged:
        todo = judged([link], gate)
        if not todo.accepted:
            return todo
        applying.tally.hlc, applying.tally.offset_ms = origin.hlc, origin.offset_ms
        number = 0
        async for blocks in parts(applying.connection):
            body = PartBody(origin.schema, origin.hlc, origin.offset_ms, tuple(blocks))
            told = f"n {origin.n}, transaction {origin.tx_id}, part {number}: {last}"
            packed = codec.compress(codec.encode_body(body))
            await quarantine(
                applying.connection, origin.site, packed,
                reason=Reason.FAULT, message=told, stored_at_ms=origin.stored_at_ms,
            )  # fmt: skip
            await _tell_if_possible(applying, _refusals(blocks, origin, last))
            number += 1
        return todo

    return await in_one_transaction(session, lease, [link], work, is_bold=False)


async def _tell_if_possible(applying: Applying, refused: Sequence[Refusal]) -> None:
    try:
        async with applying.savepoint():
            await tell(applying, refused)
    except Exception as why:
        if not is_fault(why):
            raise
        # It may be the very thing that failed before; what is kept does not depend on it.
        _log.exception("the site could not be told")


def _refusals(blocks: Iterable[ChangeBlock], origin: Origin, message: str) -> list[Refusal]:
    sources = (Source(block, row, origin) for block in blocks for row in range(len(block)))
    return [Refusal(each, Reason.FAULT, message) for each in sources]


def _wholes(catalog: Catalog, blocks: Sequence[ChangeBlock]) -> Iterable[list[ChangeBlock]]:
    """Return the blocks as far as they may not be parted; a release goes with what it releases."""
    tied = [block for block in blocks if not _is_alone(catalog, block)]
    facts = [[block] for block in blocks if _is_alone(catalog, block)]
    return [tied, *facts] if tied else facts


def _is_alone(catalog: Catalog, block: ChangeBlock) -> bool:
    """Return whether each row of a block stands for itself: a fact that releases nothing."""
    if block.table not in catalog or block.table in relaxing_tables(catalog):
        return False
    return catalog.table(block.table).fact


@dataclass(slots=True)
class _Search:
    """The search for what this program fails on, within one transaction."""

    applying: Applying
    origin: Origin
    #: What was said of the fault last.
    message: str
    tries: int = 0

    async def apply(self, whole: list[ChangeBlock]) -> None:
        """Apply blocks, or the halves of a single one, and park what fails."""
        if self.tries < TRIES_MAX:
            self.tries += 1
            try:
                async with self.applying.savepoint():
                    await apply_blocks(self.applying, self.origin, whole)
            except Exception as why:
                if not is_fault(why):
                    raise
                self.message = traceback.format_exception_only(why)[-1].strip()
            else:
                return
            if len(whole) == 1 and len(whole[0]) > 1 and _is_alone(self.applying.catalog, whole[0]):
                half = len(whole[0]) // 2
                await self.apply([whole[0].part(slice(0, half))])
                await self.apply([whole[0].part(slice(half, None))])
                return
        await park(self.applying, _refusals(whole, self.origin, self.message))
