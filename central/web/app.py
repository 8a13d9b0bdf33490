"""The API with the pages on top of it: one application, one port, one set of access rules."""

from __future__ import annotations

import json
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from central.api.app import build as build_api
from central.api.code_flow import BACK
from central.api.reach import V1
from central.api.sessions import take_back
from central.web import boards, conflicts, exports, fleet, lots, provider, quality, signing
from central.web.rendering import page, templates

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from central.api.reach import Reach

STATIC: Final = "/static"
#: Nothing is fetched from elsewhere, and no script or style stands in a page: what a plant writes
#: into its rows is text, whatever it looks like.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


def build(reach: Reach) -> FastAPI:
    """Return the application."""
    app = build_api(reach)
    env = templates()
    for part in (fleet, boards, quality, lots, conflicts, exports, signing, provider):
        app.include_router(part.router(reach, env))
    app.mount(STATIC, StaticFiles(directory=str(files("central.web") / "static")), name="static")
    _tell_people(app)
    app.add_middleware(Headed)
    return app


def _tell_people(app: FastAPI) -> None:
    """Have a browser shown in words what a program is told as a problem."""
    env = templates()

    def in_words(told: Callable[[Request, Any], Any]) -> Callable[[Request, Any], Any]:
        async def shown(request: Request, error: Exception) -> Response:
            problem = told(request, error)
            answer: Response = problem if isinstance(problem, Response) else await problem
            if not _is_for_people(request):
                return answer
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                return _to_sign_in(request)
            found = json.loads(bytes(answer.body))
            # A filter swaps one part of its page: the problem takes its place, beside the filters.
            is_part = request.headers.get("hx-target") == "results"
            shown = page(env, request, "problem.html", {"problem": found, "is_part": is_part})
            shown.status_code = answer.status_code
            shown.headers.update(
                _headers(request.url.path)
            )  # what breaks is answered outside of what gives them
            return shown

        return shown

    for raised, told in list(app.exception_handlers.items()):
        app.add_exception_handler(raised, in_words(told))


def _is_for_people(request: Request) -> bool:
    is_page = not request.url.path.startswith((f"{V1}/", "/problems/", "/metrics", "/healthz"))
    # What htmx asks for a page it accepts in any form, and puts into the page.
    is_swap = "hx-request" in request.headers
    return is_page and (is_swap or "text/html" in request.headers.get("accept", ""))


def _to_sign_in(request: Request) -> Response:
    """Lead somebody to where they sign in, and from there back."""
    is_swap = "hx-request" in request.headers
    here = urlsplit(request.headers.get("hx-current-url", "")) if is_swap else request.url
    wanted = f"{here.path}?{here.query}" if here.query else here.path
    target = f"/sign-in?next={quote(wanted)}"
    # A swapped part of a page can't be another page: htmx is told to leave it.
    answer: Response = (
        Response(headers={"HX-Redirect": target}) if is_swap else RedirectResponse(target, 303)
    )
    take_back(answer)
    return answer


def _headers(path: str) -> dict[str, str]:
    """Return what binds browsers; an address with a code of the provider is told to nobody."""
    return _HEADERS | ({"referrer-policy": "no-referrer"} if path == BACK else {})


class Headed:
    """Gives each answer the headers that bind browsers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _headers(scope["path"]).items():
                    headers.setdefault(name, value)
                if scope["path"].startswith(f"{STATIC}/"):
                    headers["cache-control"] = "public, max-age=86400"
                else:
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)
