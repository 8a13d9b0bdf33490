"""How much a request may bring, and how long it may take to: nobody fills or holds the process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX: Final = 64 << 10
BODY_MAX_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Bounded:
    """Refuses a body that is too large, or too slow."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; 413 and 408 as the application answers any exception."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size, is_whole = 0, False
        until = asyncio.get_running_loop().time() + BODY_MAX_S

        async def received() -> Message:
            nonlocal size, is_whole
            if is_whole:
                return await receive()  # waits for the client to go, for as long as it likes
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not come within {BODY_MAX_S:g} s") from None
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if size > BODY_BYTES_MAX:
                raise HTTPException(413, f"a body has {BODY_BYTES_MAX:,} bytes at most")
            return message

        await self.app(scope, received, send)
