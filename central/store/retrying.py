"""Transactions of their own for parked rows, outside any run."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from central.store import retry
from central.store.due import due, note_try, wake
from central.store.faults import is_fault
from central.store.finish import finish_alone
from central.store.months import partitions_of
from shared.errors import Poison, StoreBusy, Transient
from shared.observe import note
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.session import Result, Session

#: Rows that others hold which one pass waits for: each for some seconds, with its store lent.
HELD_MAX: Final = 5

_log = logging.getLogger(__name__)


async def retry_ticket(session: Session, ticket: str, *, is_asked: bool = True) -> bool:
    """Try a parked row again, with what waits for it; ``is_asked`` as for ``retry.retry``."""
    site = await _site_of(session, ticket)
    if site is None:
        return False

    async def work(applying: Applying) -> bool:
        done = await retry.retry(applying, ticket, is_asked=is_asked)
        await wake(applying)
        return done

    return await _alone(session, site, work)


async def discard_ticket(session: Session, ticket: str, by: str) -> bool:
    """Let go of a parked row, also of one of which only the record came home after a restore."""
    site = await _site_of(session, ticket) or await session.transaction(
        partial(retry.listed_of, ticket)
    )
    if site is None:
        return False
    return await _alone(session, site, lambda applying: retry.discard(applying, ticket, by))


async def retry_due(session: Session, site: str) -> int:
    """Try the rows whose turn has come; return how many were applied.

    None before the site has said hello, where that is asked for: what it knows of us comes first.
    What can't be tried stays where it is, and those after it have their turn: now, unless too many
    are held by others, and before it the next time.
    """
    if session.asks_hello and not await session.transaction(partial(_is_verified, site)):
        return 0
    applied = held = 0
    for ticket in await _alone(session, site, due):
        try:
            applied += await retry_ticket(session, ticket, is_asked=False)
        except Exception as why:
            if not (isinstance(why, StoreBusy) or _is_its_own(why)):
                raise
            _note_failure(site, ticket, why)
            # Where PostgreSQL itself is away, this says so.
            await session.transaction(partial(note_try, ticket), is_short=True)
            held += isinstance(why, StoreBusy)
            if held >= HELD_MAX:
                break
    return applied


def _is_its_own(why: Exception) -> bool:
    """Return whether a row failed for itself, and not for what all rows depend on."""
    return not isinstance(why, Transient) and (isinstance(why, Poison) or is_fault(why))


def _note_failure(site: str, ticket: str, why: Exception) -> None:
    if isinstance(why, StoreBusy):
        told = {"site": site, "ticket": ticket, "error": str(why)}
        note(_log, "a parked row is held by others", level=logging.WARNING, **told)
    else:
        _log.error(
            "a parked row can't be tried", exc_info=why, extra={"fields": {"ticket": ticket}}
        )


async def _is_verified(site: str, connection: AsyncConnection[Any]) -> bool:
    cursor = await connection.execute(b"SELECT sync.is_verified(%s)", [site])
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _site_of(session: Session, ticket: str) -> str | None:
    """Return the site of a ticket, once its partition is there."""

    async def read(connection: AsyncConnection[Any]) -> tuple[str, bytes, int] | None:
        cursor = await connection.execute(
            b"SELECT site_id, block, stored_at_ms FROM sync.waiting WHERE ticket = %s", [ticket]
        )
        return await cursor.fetchone()

    found = await session.transaction(read)
    if found is None:
        return None
    site, block, stored_at_ms = found
    blocks = codec.decode_body(bytes(block)).blocks
    await session.make_partitions(partitions_of(session.catalog, site, blocks, stored_at_ms))
    return site


async def _alone(
    session: Session, site: str, work: Callable[[Applying], Awaitable[Result]]
) -> Result:
    """Do work on a site's rows while no run of the site is applied."""

    async def transaction(connection: AsyncConnection[Any]) -> tuple[Applying, Result]:
        await connection.execute(b"SELECT FROM sync.epoch WHERE site = %s FOR UPDATE", [site])
        cursor = await connection.execute(
            b"""SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                       set_config('lock_timeout', '500ms', true)"""
        )
        row = await cursor.fetchone()
        assert row is not None
        applying = await session.applying(connection, site, now=row[0], waiting=True)
        result = await work(applying)
        await finish_alone(applying)
        return applying, result

    applying, result = await session.transaction(transaction)
    session.learn(site, applying.tally)
    return result
