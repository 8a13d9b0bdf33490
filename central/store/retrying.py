"""Transactions of their own for parked rows, outside any run."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from central.store import retry
from central.store.due import due, note_try, wake
from central.store.faults import is_fault
from central.store.finish import finish_alone
from central.store.months import partitions_of
from shared.errors import Poison, Transient
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.session import Result, Session

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
    """
    if session.asks_hello and not await session.transaction(partial(_is_verified, site)):
        return 0

    applied = 0
    for ticket in await _alone(session, site, due):
        try:
            applied += await retry_ticket(session, ticket, is_asked=False)
        except Exception as why:
            if isinstance(why, Transient) or not (isinstance(why, Poison) or is_fault(why)):
                raise
            # It stays where it is, and those after it have their turn: now, and the next time.
            _log.exception("a parked row can't be tried", extra={"fields": {"ticket": ticket}})
            await session.transaction(partial(note_try, ticket))
    return applied


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
