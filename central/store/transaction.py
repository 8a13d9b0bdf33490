"""One PostgreSQL transaction: gate, effects, watermark; all of them or none."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from central.store.applying import TooBold
from central.store.finish import finish
from central.store.gate import Gate, Judged, open_gate
from central.store.outcome import RunOutcome
from shared.errors import Unverified

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying, Tally
    from central.store.leases import Lease
    from central.store.session import Session

    Work = Callable[[Applying, Gate], Awaitable[Judged]]


@dataclass(frozen=True, slots=True)
class _Done:
    tally: Tally
    judged: Judged
    is_stopped: bool


async def in_one_transaction(
    session: Session, lease: Lease, links: Sequence[Any], work: Work, *, is_bold: bool = True
) -> RunOutcome:
    """Do the work on links of one chain, with what it says was accepted as the new position.

    ``is_bold`` as in ``Applying``. Raises ``LeaseLost`` where another worker has the site.
    """
    started = time.perf_counter()
    site, epoch = lease.site, links[0].epoch

    async def transaction(connection: AsyncConnection[Any], *, is_bold: bool) -> _Done:
        gate = await open_gate(connection, site, links, lease)
        if session.asks_hello and not gate.is_verified:
            raise Unverified(f"{site} has not said hello since the server was started")
        applying = await session.applying(connection, site, now=gate.now, waiting=gate.is_waiting)
        applying.is_bold, applying.has_extras = is_bold, gate.has_extras
        applying.has_let_go = gate.has_let_go
        done = await work(applying, gate)
        if done.accepted:
            await finish(applying, epoch, done)
        else:
            await connection.rollback()  # of an epoch that nothing came of, too
        return _Done(applying.tally, done, bool(gate.stopped_because))

    try:
        done = await session.transaction(partial(transaction, is_bold=is_bold), is_short=is_bold)
    except TooBold:
        done = await session.transaction(partial(transaction, is_bold=False))
    session.learn(site, done.tally)
    return RunOutcome(
        position=done.judged.position,
        verdict=done.judged.verdict,
        rows=done.tally.rows,
        conflicts=dict(done.tally.conflicts),
        parked=done.tally.parked,
        skipped=done.judged.skipped,
        fenced=done.judged.fenced,
        is_stopped=done.is_stopped,
        apply_ms=(time.perf_counter() - started) * 1000,
    )
