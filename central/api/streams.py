"""A whole answer as the body of a response: read in a thread, as fast as it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

from central.api.forms import TYPES, about
from central.reports.answer import is_provisional
from central.reports.whole import Form, TooManyWhole, Whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from central.reports.paging import Statement
    from central.reports.question import Question

#: Whole answers that are read at once, each over a connection and in a thread of its own.
AT_ONCE_MAX: Final = 4


@dataclass(slots=True)
class Streams:
    """Whole answers that are being read."""

    url: str
    open: int = 0

    async def answered(
        self, question: Question, made: Callable[[Question], Statement], form: Form, name: str
    ) -> StreamingResponse:
        """Return an answer that is read as it is sent; raise TooManyWhole."""
        if self.open >= AT_ONCE_MAX:
            raise TooManyWhole(str(TooManyWhole.__doc__))
        self.open += 1
        try:
            whole = await to_thread.run_sync(Whole.begun, self.url, question, made)
        except BaseException:
            self.open -= 1
            raise
        as_of, known = whole.fresh
        told = about(
            as_of, provisional=is_provisional(question, as_of, known),
            archived_not_counted=whole.archived_not_counted,
        )  # fmt: skip
        told["content-disposition"] = f'attachment; filename="{name}.{form}"'
        return _Stream(self, whole, form, told)


class _Stream(StreamingResponse):
    """Makes room when it ends, also where the reader went before the first block."""

    def __init__(self, streams: Streams, whole: Whole, form: Form, told: dict[str, str]) -> None:
        self._streams, self._whole, self._blocks = streams, whole, whole.blocks(form)
        sent = iterate_in_threadpool(self._blocks)
        super().__init__(sent, media_type=TYPES[form], headers=told)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._blocks.close)
                await to_thread.run_sync(self._whole.connection.close)
