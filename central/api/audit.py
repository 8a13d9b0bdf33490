"""Who read what: noted at once, written in bulk.

What is changed is noted in the transaction that changes it. To read would be far slower if each
answer waited for a row of its own; so like questions of about a second are one row that counts
them, and a process that is killed loses what it answered in its last second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import Gauge

from central.audit import Asked, Counted, cleaned, note

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
#: Different questions that wait at most; beyond it they are only counted, by how they ended.
WAITING_MAX: Final = 10_000
_TARGET_CHARS: Final = 500
_WHO_CHARS: Final = 200
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
#: In place of who asked what, where too many different things were asked.
MANY: Final = "(many)"
NOBODY: Final = "nobody"
#: Tag of routes whose query is noted nowhere: it has what a provider gives for a token.
UNTOLD: Final = "untold"

WAITING: Final = Gauge("mes_central_audit_waiting", "Questions that are not in the audit log yet")


@dataclass(slots=True)
class AuditLog:
    """What was asked and is not written yet."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    _waiting: dict[Asked, Counted] = field(default_factory=dict)

    def note(self, asked: Asked) -> None:
        """Have a question written soon."""
        if (known := self._waiting.get(asked)) is not None:
            self._waiting[asked] = Counted(known.times + 1, known.first_at)
            return
        if len(self._waiting) >= WAITING_MAX:
            asked = Asked(MANY, "", MANY, MANY, (), asked.status)
        self._add(asked, Counted(1, datetime.fromtimestamp(time.time_ns() / 1e9, UTC)))

    def _add(self, asked: Asked, more: Counted) -> None:
        known = self._waiting.get(asked, Counted(0, more.first_at))
        first_at = min(known.first_at, more.first_at)
        self._waiting[asked] = Counted(known.times + more.times, first_at)

    async def write(self) -> None:
        """Write what waits, all or nothing; what could not be written goes on waiting."""
        taken, self._waiting = self._waiting, {}
        try:
            async with self.pool.connection() as connection:
                await note(connection, taken)
        except BaseException:
            for asked, counted in taken.items():
                self._add(asked, counted)
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
            except Exception as error:  # noqa: BLE001 - the API goes on, and the lines wait
                _log.warning("the audit log waits for the database: %s", error)
        WAITING.set(len(self._waiting))


def asked_in(scope: Scope, status: int) -> Asked:
    """Return a request as the log tells it, with whom and which sites were found to ask."""
    state = scope.get("state", {})
    route = scope.get("route")
    is_secret = UNTOLD in getattr(route, "tags", ())
    query = "" if is_secret else scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    client = scope.get("client")
    method = scope["method"] if scope["method"] in _METHODS else "(no method)"
    return Asked(
        who=cleaned(state.get("who", NOBODY), _WHO_CHARS), address=client[0] if client else "",
        action=f"{method} {getattr(route, 'path', '(no route)')}",
        target=cleaned(target, _TARGET_CHARS), sites=state.get("sites", ()), status=status,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Audited:
    """Notes each question below a path, or to a route of some tag, when its answer begins."""

    app: ASGIApp
    log: AuditLog
    below: str
    #: Of routes that are noted wherever they are.
    tag: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and note it; where no answer began, note that it broke."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = False

        async def sent(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                self._note(scope, message["status"])
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            if not began:
                self._note(scope, 500)

    def _note(self, scope: Scope, status: int) -> None:
        is_tagged = self.tag and self.tag in getattr(scope.get("route"), "tags", ())
        is_ours = scope["path"].startswith(self.below) or is_tagged
        if is_ours and not scope.get("state", {}).get("is_noted"):
            self.log.note(asked_in(scope, status))
