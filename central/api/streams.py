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
    from collections.abc import AsyncIterator

    from central.reports.paging import Statement
    from central.reports.question import Question

#: Whole answers that are read at once, each over a connection and in a thread of its own.
AT_ONCE_MAX: Final = 4


@dataclass(slots=True)
class Streams:
    """Whole answers that are being read."""

    url: str
    _open: int = 0

    async def answered(
        self, question: Question, statement: Statement, form: Form, name: str
    ) -> StreamingResponse:
        """Return an answer that is read as it is sent; raise TooManyWhole."""
        if self._open >= AT_ONCE_MAX:
            raise TooManyWhole(str(TooManyWhole.__doc__))
        self._open += 1
        try:
            whole = await to_thread.run_sync(Whole.begun, self.url, question, statement)
        except BaseException:
            self._open -= 1
            raise
        as_of, known = whole.fresh
        told = about(as_of, provisional=is_provisional(question, as_of, known))
        told["content-disposition"] = f'attachment; filename="{name}.{form}"'
        return StreamingResponse(self._sent(whole, form), media_type=TYPES[form], headers=told)

    async def _sent(self, whole: Whole, form: Form) -> AsyncIterator[bytes]:
        blocks = whole.blocks(form)
        try:
            async for block in iterate_in_threadpool(blocks):
                yield block
        finally:  # also where the reader went away
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(blocks.close)
                await to_thread.run_sync(whole.connection.close)
            self._open -= 1
