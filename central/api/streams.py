"""A whole answer as the body of a response: read in a thread, as fast as it is taken.

Who takes it too slowly, or not at all, is cut off: PostgreSQL minds no timeout of a statement while
it waits for its reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import psycopg
from anyio import to_thread
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from central.api.forms import TYPES, about
from central.reports import whole as wholes
from central.reports.answer import is_provisional
from central.reports.whole import Form, TooManyWhole, Whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from central.reports.paging import Statement
    from central.reports.question import Question

_log = logging.getLogger(__name__)

#: Whole answers that are read at once, each over a connection and in a thread of its own; and of
#: them those of one key or person, so that some are left for others.
AT_ONCE_MAX: Final = 4
OF_ONE_MAX: Final = 2
#: In the state of a request: what drops its connection, with all that waits to be sent. Closing it
#: in good order would wait for a reader who may never come.
ABORT: Final = "abort"


@dataclass(slots=True)
class Streams:
    """Whole answers that are being read."""

    url: str
    #: How many of whom.
    open: Counter[str] = field(default_factory=Counter)

    async def answered(
        self, request: Request, question: Question, made: Callable[[Question], Statement],
        form: Form,
    ) -> StreamingResponse:  # fmt: skip
        """Return an answer that is read as it is sent; raise TooManyWhole."""
        who: str = request.state.who
        self._take(who)
        try:
            whole = await to_thread.run_sync(Whole.begun, self.url, question, made)
        except BaseException:
            self.give_back(who)
            raise
        fresh = whole.fresh
        told = about(
            fresh.as_of, provisional=is_provisional(question, fresh),
            archived_not_counted=whole.archived_not_counted,
        )  # fmt: skip
        name = request.url.path.rsplit("/", 1)[1]
        told["content-disposition"] = f'attachment; filename="{name}.{form}"'
        return _Stream(whole, form, told, partial(self.give_back, who))

    def _take(self, who: str) -> None:
        if self.open[who] >= OF_ONE_MAX:
            raise TooManyWhole(f"{OF_ONE_MAX} whole answers of yours are being read; let one end")
        if self.open.total() >= AT_ONCE_MAX:
            raise TooManyWhole(str(TooManyWhole.__doc__))
        self.open[who] += 1

    def give_back(self, who: str) -> None:
        """Make room for another one."""
        self.open[who] -= 1
        self.open += Counter()  # drops whoever has none


class _Stream(StreamingResponse):
    """Makes room when it ends, also where the reader went before the first block."""

    def __init__(
        self, whole: Whole, form: Form, told: dict[str, str], ended: Callable[[], None]
    ) -> None:
        self._whole, self._blocks, self._ended = whole, whole.blocks(form), ended
        sent = iterate_in_threadpool(self._blocks)
        super().__init__(sent, media_type=TYPES[form], headers=told)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, for as long as one may take; then it is cut off, and ends as one that broke."""
        late = asyncio.create_task(self._cut_off(scope, sending := anyio.CancelScope()))
        try:
            with sending:
                await super().__call__(scope, receive, send)
        finally:
            late.cancel()
            self._ended()
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._blocks.close)
                await to_thread.run_sync(self._whole.connection.close)

    async def _cut_off(self, scope: Scope, sending: anyio.CancelScope) -> None:
        """Wait as long as it may take; then end whoever sends it, and whoever reads it for that."""
        await asyncio.sleep(wholes.WHOLE_MAX_S)
        _log.warning("%s: not taken in %s s, cut off", scope["path"], wholes.WHOLE_MAX_S)
        sending.cancel()
        if (abort := scope.get("state", {}).get(ABORT)) is not None:
            abort()
        with suppress(psycopg.Error):  # where a thread waits for its next rows
            await to_thread.run_sync(partial(self._whole.connection.cancel_safe, timeout=5))
