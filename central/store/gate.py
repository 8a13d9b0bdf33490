"""What stands between a message and its effect: the lease, the chain, and what is known already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.store.fixed import fixed
from central.store.literals import array
from shared.catalog import Kind
from shared.changes import START, Position
from shared.errors import LeaseLost, WrongSite
from sync.protocol import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from central.store.leases import Lease
    from shared.changes import Part, SyncTransaction

    Link = SyncTransaction | Part


@dataclass(frozen=True, slots=True)
class Gate:
    """What the centre knows of a site and one of its chains; the chain is held until the commit."""

    position: Position
    #: Later transactions of this epoch have no effect.
    closed_at_n: int | None
    #: Of these only the facts have: their rows came home with a salvage.
    included: frozenset[str]
    stopped_because: str | None
    #: The epoch is known, or is the site's first.
    is_known: bool
    #: The site has said hello since the server was started.
    is_verified: bool
    #: Those of the run that had their effect already, in whatever epoch.
    applied: frozenset[str]
    #: As in ``Applying``.
    is_waiting: bool
    has_extras: bool
    has_let_go: bool
    #: When the transaction began, in canonical form.
    now: str
    #: Closed: up to here its site has the transactions, and they come again in its next epoch.
    fork_n: int = 0


async def open_gate(
    connection: AsyncConnection[Any], site: str, run: Sequence[Link], lease: Lease
) -> Gate:
    """Hold the chain of the run's epoch, and return what is known; one round trip, nearly always.

    Raises ``LeaseLost`` where another worker has the site by now.
    """
    epoch = run[0].epoch
    given: dict[str, Any] = {
        "site": site,
        "epoch": epoch,
        "tx_ids": array(Kind.UUID, [each.tx_id for each in run]),
    }
    async with connection.pipeline():
        # The chain first: what is read after it is as it stands under its lock.
        chain = await connection.execute(fixed("lock_epoch"), given)
        about = await connection.execute(fixed("read_site"), given)
        applied = await connection.execute(fixed("read_applied"), given)
        held = await chain.fetchone()
        known = await about.fetchone()
        tx_ids = frozenset(row[0] for row in await applied.fetchall())
    if known is None:
        raise WrongSite(f"site {site} is not registered; run `mes-central sites add {site}`")
    holder, token, stopped, epochs, *others = known
    is_waiting, has_extras, has_let_go, now, is_verified, has_included, _ = others
    if (holder, token) != (lease.holder, lease.token):
        raise LeaseLost(f"{holder or 'nobody'} has {site} by now")
    if held is None:
        if not epochs:
            await connection.execute(fixed("open_epoch"), given)
        # Where there are some by now, another worker may just have opened this one.
        held = await (await connection.execute(fixed("lock_epoch"), given)).fetchone()
    n, own, closed, fork_n = held or (START.n, START.hash, None, None)
    included = await _included(connection, given) if has_included else frozenset()
    return Gate(
        Position(n, bytes(own)), closed, included, stopped, held is not None, is_verified,
        tx_ids, is_waiting, has_extras, has_let_go, now, fork_n or 0,
    )  # fmt: skip


async def _included(connection: AsyncConnection[Any], given: dict[str, Any]) -> frozenset[str]:
    cursor = await connection.execute(
        b"""SELECT tx_id::text FROM sync.included
            WHERE site = %(site)s AND tx_id = ANY(%(tx_ids)s::uuid[])""",
        given,
    )
    return frozenset(row[0] for row in await cursor.fetchall())


@dataclass(frozen=True, slots=True)
class Judged:
    """What of a run is to be done."""

    #: Links that the chain goes on by.
    accepted: list[Any]
    #: On the first that is not taken; APPLY where all are settled.
    verdict: Verdict
    position: Position
    skipped: int
    #: Ids of transactions that came after their epoch was closed, had no effect before, and will
    #: not come again.
    fenced: tuple[str, ...] = ()


def judged(run: Sequence[Link], gate: Gate) -> Judged:
    """Decide on the links of a run, one after the other."""
    if gate.stopped_because or not gate.is_known:
        return Judged([], Verdict.FORK, gate.position, 0)
    accepted: list[Link] = []
    fenced: list[str] = []
    position, skipped = gate.position, 0
    for link in run:
        verdict = judge(position, link.n, link.previous, link.hash)
        if verdict is not Verdict.SKIP and _is_fenced(link, gate):
            verdict = Verdict.SKIP
            if link.tx_id not in gate.applied and not _comes_again(link, gate):
                fenced.append(link.tx_id)
        if verdict is Verdict.SKIP:
            skipped += 1
        elif verdict is Verdict.APPLY:
            accepted.append(link)
            position = Position(link.n, link.hash)
        else:
            return Judged(accepted, verdict, position, skipped, tuple(fenced))
    return Judged(accepted, Verdict.APPLY, position, skipped, tuple(fenced))


def _is_fenced(link: Link, gate: Gate) -> bool:
    return gate.closed_at_n is not None and link.n > gate.closed_at_n


def _comes_again(link: Link, gate: Gate) -> bool:
    """Return whether a transaction came home as rows, and its site takes it to its next epoch."""
    return link.tx_id in gate.included and link.n <= gate.fork_n
