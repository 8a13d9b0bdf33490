"""Signing in at the identity provider, as a browser goes there and comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from central.access import NotInScope, Scope, reached
from central.api.audit import UNTOLD
from central.api.code_flow import BACK, LEFT, THERE, SignInInvalid, SignInRefused
from central.api.reach import PAGES
from central.api.sessions import COOKIES, give
from central.api.sign_ins import lend, take_in
from central.web.leading import inner, onward

if TYPE_CHECKING:
    from jinja2 import Environment

    from central.access import Who
    from central.api.reach import Reach
    from central.api.signing_in import CodeFlow


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get(THERE, tags=[PAGES])
    async def there(request: Request) -> Response:
        flow = flow_of(reach)
        wanted = inner(request.query_params.get("next", "/"))
        if not _is_meant(request):
            return RedirectResponse(f"{LEFT}?{urlencode({'next': wanted})}", 303)
        had = request.cookies
        earlier: dict[str, str] = {name: had[name] for name in COOKIES if name in had}
        address, begun = await flow.begin(wanted, earlier, time.time_ns() / 1e9)
        answer = RedirectResponse(address, 303)
        lend(answer, begun, secure=flow.client.is_over_tls)
        return answer

    @routes.get(BACK, tags=[PAGES, UNTOLD])
    async def back(request: Request) -> Response:
        flow, now_s = flow_of(reach), time.time_ns() / 1e9
        given = request.query_params.multi_items()
        if len(dict(given)) < len(given):
            raise SignInInvalid("the answer says something twice: sign in again")
        found = await flow.finish(dict(given), request.cookies, now_s)
        request.state.who = found.who.name
        _check_grants(found.who)
        sessions = reach.guard.sessions
        sessions.close(found.pending.earlier)
        cookie = sessions.open(found.shown, found.who.name, now_s, found.granted)
        answer = onward(env, request, "back", found.pending.wanted)
        give(answer, cookie, secure=flow.client.is_over_tls)
        take_in(answer, found.pending.state, secure=flow.client.is_over_tls)
        return answer

    return routes


def flow_of(reach: Reach) -> CodeFlow:
    """Return the way to the provider; raise HTTPException 404 where there is none."""
    if reach.guard.flow is None:
        raise HTTPException(404, "nobody signs in at an identity provider here")
    return reach.guard.flow


def _check_grants(who: Who) -> None:
    try:
        reached(who, Scope.READ, frozenset())
    except NotInScope as error:
        raise SignInRefused(
            "the identity provider signed you in, and gives you no grant to read here (mes:…): ask"
            " whoever runs it for one"
        ) from error


def _is_meant(request: Request) -> bool:
    """Tell whether somebody follows a link of ours, or an address of their own, in a tab.

    No other page begins sign-ins in a browser, and fills it with their cookies.
    """
    by, into = (request.headers.get(f"sec-fetch-{name}", "") for name in ("site", "dest"))
    return by in ("", "none", "same-origin") and into in ("", "document")
