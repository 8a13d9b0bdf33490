"""The queue never stops: a transaction that this program fails on is parked whole."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

import psycopg

from central.store.applying import ROWS_AT_FAULT
from central.store.changeset import Origin, Reason, Refusal, Source
from central.store.gate import judged
from central.store.parking import park
from central.store.transaction import in_one_transaction
from shared.errors import SyncError
from shared.observe import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from central.store.applying import Applying
    from central.store.gate import Gate, Judged
    from central.store.leases import Lease
    from central.store.outcome import RunOutcome
    from central.store.session import Session
    from shared.changes import ChangeBlock, Part, SyncTransaction

    #: Gives the blocks of a transaction, part by part, each time it is called.
    Parts = Callable[[], Iterable[Sequence[ChangeBlock]]]

_log = logging.getLogger(__name__)


def is_fault(why: Exception) -> bool:
    """Return whether it is the rows that a program stumbled on, not what it stands on."""
    if isinstance(why, psycopg.Error):
        return isinstance(why, ROWS_AT_FAULT)
    return not isinstance(why, SyncError | OSError)


async def park_whole(
    session: Session, link: SyncTransaction | Part, origin: Origin, parts: Parts, lease: Lease
) -> RunOutcome:
    """Park all rows of a transaction that failed, for the reason that is being handled."""
    why = traceback.format_exc()
    note(
        _log, "fault: transaction parked", level=logging.ERROR, site=origin.site, n=origin.n,
        tx_id=origin.tx_id, error=why,
    )  # fmt: skip
    message = why.strip().splitlines()[-1]

    async def work(applying: Applying, gate: Gate) -> Judged:
        todo = judged([link], gate)
        for blocks in parts() if todo.accepted else ():
            sources = [Source(b, row, origin) for b in blocks for row in range(len(b))]
            await park(applying, [Refusal(each, Reason.FAULT, message) for each in sources])
        return todo

    return await in_one_transaction(session, lease, [link], work, is_bold=False)
