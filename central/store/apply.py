"""Runs of transactions, and large transactions in parts, as the sites send them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from central.store import spool
from central.store.apart import tell_apart
from central.store.batch import sorted_batch
from central.store.changeset import Source
from central.store.epochs import make_own
from central.store.faults import apply_around, is_fault
from central.store.gate import Gate, Judged, judged
from central.store.outcome import RunOutcome, added
from central.store.parking import send_heads
from central.store.run import apply_parts, apply_transactions
from central.store.transaction import in_one_transaction
from sync.protocol import Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.batch import Incoming
    from central.store.changeset import Origin
    from central.store.leases import Lease
    from central.store.session import Session
    from central.store.spool import Whole
    from shared.changes import ChangeBlock, Part, SyncTransaction


async def apply_run(session: Session, run: Sequence[Incoming], lease: Lease) -> RunOutcome:
    """Apply the transactions that are in order, those of one epoch together or not at all."""
    if not run:
        raise ValueError("a run has at least one transaction")
    try:
        return await _apply_run(session, run, lease)
    except Exception as why:
        if not is_fault(why):
            raise
    # Only the transaction that the fault came from pays for it.
    outcome: RunOutcome | None = None
    for each in run:
        outcome = added(outcome, await _apply_or_park(session, each, lease))
        if outcome.verdict is not Verdict.APPLY:
            break
    assert outcome is not None
    return outcome


async def _apply_or_park(session: Session, each: Incoming, lease: Lease) -> RunOutcome:
    try:
        return await _apply_run(session, [each], lease)
    except Exception as why:
        if not is_fault(why):
            raise
        parts = partial(_blocks_of, each.sent)
        return await apply_around(session, each.sent, each.origin, parts, lease)


async def _apply_run(session: Session, run: Sequence[Incoming], lease: Lease) -> RunOutcome:
    outcome: RunOutcome | None = None
    for _, some in groupby(run, key=lambda each: each.sent.epoch):
        incoming = list(some)
        links = [each.sent for each in incoming]
        by_hash = {each.sent.hash: each for each in incoming}
        for each in incoming:
            await session.make_partitions(each.partitions)
        work = partial(_apply_fresh, links, by_hash)
        outcome = added(outcome, await in_one_transaction(session, lease, links, work))
        if outcome.verdict is not Verdict.APPLY:
            break
    assert outcome is not None
    return outcome


async def _apply_fresh(
    links: Sequence[SyncTransaction], by_hash: Mapping[bytes, Incoming],
    applying: Applying, gate: Gate,
) -> Judged:  # fmt: skip
    """Apply those links that go on with the chain and had no effect yet."""
    todo = judged(links, gate)
    # The first of each: one may come twice in a run, under two numbers.
    first = {sent.tx_id: sent.hash for sent in reversed(todo.accepted)}
    fresh = [
        by_hash[sent.hash]
        for sent in todo.accepted
        if sent.tx_id not in gate.applied and first[sent.tx_id] == sent.hash
    ]
    again = [
        by_hash[sent.hash]
        for sent in todo.accepted
        if sent.tx_id in gate.applied or sent.tx_id in gate.included
    ]
    included = [each.batch.two_way for each in again if each.sent.tx_id in gate.included]
    await tell_apart(applying, chain.from_iterable(included))
    await _came_again(applying, [(each.sent.blocks, each.origin) for each in again], gate)
    await apply_transactions(applying, fresh, gate.included)
    return replace(todo, skipped=todo.skipped + len(todo.accepted) - len(fresh))


async def _apply_whole(applying: Applying, gate: Gate, whole: Whole, todo: Judged) -> Judged:
    tx_id = whole.part.tx_id
    is_known, is_included = tx_id in gate.applied, tx_id in gate.included
    if not is_known:
        await apply_parts(applying, whole, is_included=is_included)
    if is_known or is_included:
        async for blocks in whole.each(applying.connection):
            if is_included:
                some = sorted_batch(blocks, whole.origin, applying.catalog)
                await tell_apart(applying, some.two_way)
            await _came_again(applying, [(blocks, whole.origin)], gate)
    return replace(todo, skipped=1) if is_known else todo


async def _came_again(
    applying: Applying, known: Iterable[tuple[Sequence[ChangeBlock], Origin]], gate: Gate
) -> None:
    """Send the heads of the rows of transactions that had their effect before, or came home.

    Their store may have been put back to a copy and can't know what became of them: an ack without
    heads would say that all was taken as it was written. And of what a site holds for decided, an
    ack says nothing. What had its effect in an epoch that ended is that store's own again.
    """
    sources = [
        Source(block, row, origin)
        for blocks, origin in known
        for block in blocks
        for row in range(len(block))
    ]
    if not sources:
        return
    await send_heads(applying, sources)
    await make_own(applying, [each for each in sources if each.origin.tx_id in gate.applied])


async def apply_spooled(session: Session, part: Part, lease: Lease) -> RunOutcome:
    """Apply the transaction that a part is of; GAP where another part has not come yet."""
    whole = await session.transaction(lambda connection: spool.whole(connection, part))
    if whole is not None:
        reading = partial(whole.partitions, catalog=session.catalog)
        await session.make_partitions(await session.transaction(reading))

    async def work(applying: Applying, gate: Gate) -> Judged:
        todo = judged([part], gate)
        if not todo.accepted:
            return todo
        if whole is None:
            return Judged([], Verdict.GAP, gate.position, 0)
        return await _apply_whole(applying, gate, whole, todo)

    try:
        # Not bold: so much is not done again for one row.
        return await in_one_transaction(session, lease, [part], work, is_bold=False)
    except Exception as why:
        if whole is None or not is_fault(why):
            raise
        return await apply_around(session, part, whole.origin, whole.each, lease)


async def _blocks_of(
    sent: SyncTransaction, _: AsyncConnection[Any]
) -> AsyncIterator[Sequence[ChangeBlock]]:
    yield sent.blocks
