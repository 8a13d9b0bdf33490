"""One run, one PostgreSQL transaction: gate, effects, watermark."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from central.store import spool
from central.store.applying import TooBold
from central.store.finish import finish, stop
from central.store.gate import Gate, Judged, judged, open_gate
from central.store.months import partitions_of
from central.store.outcome import RunOutcome, added
from central.store.run import apply_parts, apply_transactions
from sync.protocol import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying, Tally
    from central.store.leases import Lease
    from central.store.session import Session
    from shared.changes import Part, Position, SyncTransaction

    Work = Callable[[Applying, Gate], Awaitable[Judged]]


async def apply_run(
    session: Session, site: str, run: Sequence[SyncTransaction], lease: Lease
) -> RunOutcome:
    """Apply the transactions that are in order, those of one epoch together or not at all."""
    outcome: RunOutcome | None = None
    for _, some in groupby(run, key=lambda sent: sent.epoch):
        links = list(some)
        blocks = (block for sent in links for block in sent.blocks)
        await session.make_partitions(partitions_of(session.catalog, site, blocks))

        async def work(applying: Applying, gate: Gate, links: list[Any] = links) -> Judged:
            todo = judged(links, gate)
            fresh = [sent for sent in todo.accepted if sent.tx_id not in gate.applied]
            await apply_transactions(applying, fresh)
            return replace(todo, skipped=todo.skipped + len(todo.accepted) - len(fresh))

        outcome = added(outcome, await _apply(session, lease, links, work))
        if outcome.verdict is not Verdict.APPLY:
            break
    if outcome is None:
        raise ValueError("a run has at least one transaction")
    return outcome


async def apply_spooled(session: Session, part: Part, lease: Lease) -> RunOutcome:
    """Apply the transaction that a part is of; GAP where another part has not come yet."""
    connection = await session.ready()
    whole = await spool.whole(connection, part)
    await connection.rollback()
    if whole is not None:
        blocks = (block for _, blocks in whole.blocks() for block in blocks)
        await session.make_partitions(partitions_of(session.catalog, part.site, blocks))

    async def work(applying: Applying, gate: Gate) -> Judged:
        todo = judged([part], gate)
        if not todo.accepted:
            return todo
        if whole is None:
            return Judged([], Verdict.GAP, gate.position, 0)
        if part.tx_id in gate.applied:
            todo = replace(todo, skipped=1)
        else:
            await apply_parts(applying, whole.origin(), whole.blocks)
        await spool.forget(applying.connection, part)
        return todo

    # Not bold: so much is not done again for one row.
    return await _apply(session, lease, [part], work, is_bold=False)


@dataclass(frozen=True, slots=True)
class _Done:
    tally: Tally
    judged: Judged
    stopped_because: str | None


async def _apply(
    session: Session, lease: Lease, links: Sequence[Any], work: Work, *, is_bold: bool = True
) -> RunOutcome:
    started = time.perf_counter()
    site, epoch = lease.site, links[0].epoch

    async def transaction(connection: AsyncConnection[Any], *, is_bold: bool) -> _Done:
        gate = await open_gate(connection, site, links, lease)
        applying = await session.applying(
            connection, site, now=gate.now, is_waiting=gate.is_waiting
        )
        applying.is_bold = is_bold
        done = await work(applying, gate)
        if done.accepted:
            await finish(applying, epoch, done)
        else:
            await connection.rollback()  # of an epoch that nothing came of, too
        return _Done(applying.tally, done, gate.stopped_because)

    try:
        done = await session.transaction(partial(transaction, is_bold=is_bold))
    except TooBold:
        done = await session.transaction(partial(transaction, is_bold=False))
    session.learn(site, done.tally)
    if done.judged.verdict is Verdict.FORK:
        why = done.stopped_because or fork_at(links, done.judged.position)
        await session.transaction(lambda connection: stop(connection, site, why))
    return RunOutcome(
        position=done.judged.position,
        verdict=done.judged.verdict,
        rows=done.tally.rows,
        conflicts=dict(done.tally.conflicts),
        parked=done.tally.parked,
        skipped=done.judged.skipped,
        apply_ms=(time.perf_counter() - started) * 1000,
    )


def fork_at(links: Sequence[Any], position: Position) -> str:
    """Return what a person reads of a chain that is not the one we know."""
    known = f"{position.n} with hash {position.hash.hex()[:12]}"
    sent = ", ".join(str(link.n) for link in links[:3])
    return f"fork: the centre knows n {known}, the site sent n {sent} of another history"
