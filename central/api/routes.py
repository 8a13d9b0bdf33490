"""Routes below ``/v1``: who asks is found out before anything else, the body included.

``v1_router`` makes the router of a group of questions; ``include`` takes no other into an
application, so that no question goes unguarded because somebody forgot.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from central.api.asking import shown_now
from central.api.reach import V1

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from central.api.asking import Guard


class V1Route(APIRoute):
    """A route that answers nobody it does not know, and nobody more often than is theirs."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who asks, then answer."""
        await identify(scope)
        await super().handle(scope, receive, send)


async def identify(scope: Scope) -> None:
    """Note who asks in the request's state; raise NeedsToken, BadToken, ProviderAway, TooOften.

    It reads headers only: whoever shows no key is refused before their body is waited for.
    """
    guard: Guard = scope["app"].state.guard
    one = await guard.who(await shown_now(guard, HTTPConnection(scope), scope["method"]))
    state = scope.setdefault("state", {})
    state["who"], state["asker"] = one.name, one
    guard.rates.take(one.name, time.monotonic())


def v1_router(tag: str) -> APIRouter:
    """Return a router of questions below ``/v1``, which ``asks`` has to be a part of each of."""
    return APIRouter(prefix=V1, tags=[tag], route_class=V1Route)


def include(app: FastAPI, router: APIRouter) -> None:
    """Take a router into the application; raise TypeError where one of its routes is unguarded."""
    for route in router.routes:
        if not (isinstance(route, V1Route) and _asks(route.dependant)):
            raise TypeError(f"{route} is not guarded: use v1_router, and Depends(asks(…))")
    app.include_router(router)


def _asks(dependant: Any) -> bool:
    """Tell whether a question finds out which sites its answer may be of."""
    return any(
        getattr(each.call, "is_asking", False) or _asks(each) for each in dependant.dependencies
    )
