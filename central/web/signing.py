"""Signing in and out: a key or token is shown once, and a cookie stands for it from then on.

The form is taken from our own page alone: browsers say where a form comes from.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request
from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from central.access import NotInScope, Scope, reached
from central.api.oidc import BadToken
from central.api.reach import PAGES
from central.api.sessions import Session, give, take_back
from central.web.leading import inner, onward, there_of
from central.web.rendering import page

if TYPE_CHECKING:
    from jinja2 import Environment

    from central.api.asking import Guard
    from central.api.reach import Reach

_FORM: Final = "application/x-www-form-urlencoded"
_FIELDS_MAX: Final = 60


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=[PAGES], include_in_schema=False)

    @routes.get("/sign-in")
    async def ask(request: Request) -> Response:
        wanted = inner(request.query_params.get("next", "/"))
        return page(env, request, "sign_in.html", _form(reach, wanted))

    @routes.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        form = await form_of(request)
        wanted = inner(form.get("next", "/"))
        try:
            who = await reach.guard.who(form.get("key", "").strip())
            reached(who, Scope.READ, frozenset())
        except (BadToken, NotInScope) as why:
            shown = _form(reach, wanted, str(why))
            return page(env, request, "sign_in.html", shown, status=401)
        request.state.who = who.name
        reach.guard.sessions.close(request.cookies)  # of whoever signed in here before
        cookie = reach.guard.sessions.open(form["key"].strip(), who.name, time.time_ns() / 1e9)
        answer = RedirectResponse(wanted, 303)
        give(answer, cookie, secure=is_over_tls(request))
        return answer

    @routes.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        session, _ = await signed_form(reach.guard, request)
        request.state.who = session.name
        reach.guard.sessions.close(request.cookies)
        flow = reach.guard.flow
        there = await flow.leaving(session) if flow else ""
        answer = onward(env, request, "left", there) if there else RedirectResponse("/sign-in", 303)
        take_back(answer)
        return answer

    return routes


def _form(reach: Reach, wanted: str, refused: str = "") -> dict[str, str]:
    """Return what the page to sign in shows."""
    return {"wanted": wanted, "refused": refused, "there": there_of(reach.guard.flow, wanted)}


def is_over_tls(request: Request) -> bool:
    """Tell whether the browser speaks TLS, also to a proxy that stands before us.

    Whoever lies about it has a cookie that their own browser does not send.
    """
    origin, forwarded = (request.headers.get(n, "") for n in ("origin", "x-forwarded-proto"))
    return request.url.scheme == "https" or origin.startswith("https://") or forwarded == "https"


#: The fields of a form by their names; of one that comes more than once, the last.
Form = ImmutableMultiDict[str, str]


async def form_of(request: Request) -> Form:
    """Return the fields of a form of our own pages; raise HTTPException 400 for any other."""
    if not _is_from_here(request):
        raise HTTPException(400, "the form comes from another page than ours")
    if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise HTTPException(400, f"a form comes as {_FORM}")
    try:
        text = (await request.body()).decode()
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError as error:  # UnicodeDecodeError, too
        raise HTTPException(400, "the form can't be read") from error
    return ImmutableMultiDict(found)


def _is_from_here(request: Request) -> bool:
    """Tell whether a browser says that a form comes from a page of this very host."""
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host", "")


async def signed_form(guard: Guard, request: Request) -> tuple[Session, Form]:
    """Return whose browser sends a form, and the form; raise HTTPException where it is not theirs.

    Three things have to agree: where the browser says that it comes from, its cookie, and the token
    that was put into the form when it was shown.
    """
    form = await form_of(request)
    session = guard.signed_in(request)
    if session is None:
        raise HTTPException(400, "you are not signed in any more: sign in, and do it again")
    if not secrets.compare_digest(form.get("form_token", ""), session.form_token):
        raise HTTPException(400, "the form is of another session: load the page again")
    return session, form


async def fresh_form(guard: Guard, request: Request) -> tuple[str, Form]:
    """Return the key or token of who sends a form, and the form.

    Raise as ``signed_form`` and ``Guard.fresh`` do.
    """
    session, form = await signed_form(guard, request)
    return await guard.fresh(session), form
