"""``/v1/events``: a stream that tells at which of your sites something is new."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
import psycopg_pool
from fastapi import Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from central.access import Scope
from central.api.asking import Asking, asked_again, asks
from central.api.routes import v1_router
from shared.errors import SyncError
from shared.observe import note

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi import APIRouter

    from central.api.reach import Reach

_log = logging.getLogger(__name__)

#: One event of the stream, as its fields are read.
EVENT: Final = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"const": "rev"},
        "data": {
            "type": "string",
            "description": "Numbers by site, as JSON.",
            "contentMediaType": "application/json",
            "contentSchema": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
    },
}


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("events")
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get(
        "/events", response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": EVENT}}}},
    )  # fmt: skip
    async def events(request: Request, asking: Asking = reads) -> Response:
        """Tell at which of your sites something was applied or written, within about two seconds.

        Server-sent events: `rev` has the sites that changed, each with a number that is another one
        than before. A comment every 15 s tells that the stream is alive; then it is asked anew who
        listens.
        """
        reach.live.check_room(asking.who.name)
        return StreamingResponse(
            reach.live.told(asking.who.name, partial(_reached, reach, request)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return routes


async def _reached(reach: Reach, request: Request) -> Collection[str] | None:
    """Return of which sites a listener may hear now; None where it is not known, or of none."""
    try:
        return (await asked_again(reach.guard, request, Scope.READ)).sites
    except (HTTPException, SyncError, psycopg.Error, psycopg_pool.PoolTimeout) as why:
        note(_log, "stream of events ended", why=str(why))
        return None
