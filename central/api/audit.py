"""Who read what: noted at once, written in bulk.

What is changed is noted in the transaction that changes it. To read would be far slower if each
answer waited for a row of its own; so like questions of about a second are one row that counts
them, and a process that is killed loses what it answered in its last second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg
import psycopg_pool
from prometheus_client import Gauge

from central.audit import Asked, note

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
#: Different questions that wait at most; beyond it they are counted by who asked and the action.
WAITING_MAX: Final = 10_000
_TARGET_CHARS: Final = 500
#: In place of a path and a query, where too many different ones were asked.
MANY: Final = "(many)"
NOBODY: Final = "nobody"

WAITING: Final = Gauge("mes_central_audit_waiting", "Questions that are not in the audit log yet")


@dataclass(slots=True)
class AuditLog:
    """What was asked and is not written yet."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    _waiting: Counter[Asked] = field(default_factory=Counter)

    def note(self, asked: Asked) -> None:
        """Have a question written soon."""
        if len(self._waiting) >= WAITING_MAX and asked not in self._waiting:
            asked = Asked(asked.who, asked.address, asked.action, MANY, (), asked.status)
        self._waiting[asked] += 1

    async def write(self) -> None:
        """Write what waits, all or nothing; what could not be written goes on waiting."""
        taken, self._waiting = self._waiting, Counter()
        try:
            async with self.pool.connection() as connection:
                await note(connection, taken)
        except BaseException:
            for asked, times in taken.items():
                self._waiting[asked] += times
            raise

    async def keep_writing(self) -> None:
        """Write about every second until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                await self._try_to_write()
        finally:
            await self._try_to_write()

    async def _try_to_write(self) -> None:
        if self._waiting:
            try:
                await self.write()
            except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
                _log.warning("the audit log waits for the database: %s", error)
        WAITING.set(len(self._waiting))


def asked_in(scope: Scope, status: int) -> Asked:
    """Return a request as the log tells it, with whom and which sites were found to ask."""
    state = scope.get("state", {})
    route = scope.get("route")
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    client = scope.get("client")
    return Asked(
        who=state.get("who", NOBODY), address=client[0] if client else "",
        action=f"{scope['method']} {getattr(route, 'path', '(no route)')}",
        target=target[:_TARGET_CHARS], sites=state.get("sites", ()), status=status,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Audited:
    """Notes each question below a path, when its answer begins."""

    app: ASGIApp
    log: AuditLog
    below: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and note it; where no answer began, note that it broke."""
        if scope["type"] != "http" or not scope["path"].startswith(self.below):
            await self.app(scope, receive, send)
            return
        status = 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            if not scope.get("state", {}).get("is_noted"):
                self.log.note(asked_in(scope, status))
