"""Where a browser is led: within our pages, to the identity provider, and on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from central.api.code_flow import THERE
from central.web.rendering import page

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.responses import Response

    from central.api.signing_in import CodeFlow

#: Title of a page that leads on, and the words of its link.
_ONWARD: Final = {
    "back": ("Signed in", "Go on"),
    "left": ("Signed out here", "Go on to sign out at the identity provider"),
}


def inner(address: str) -> str:
    """Return where to go on: a path of ours, whatever a link says."""
    parts = urlsplit(address)
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    if not is_ours or parts.netloc or any(ord(each) < 33 for each in address):
        return "/"
    return address


def there_of(flow: CodeFlow | None, wanted: str) -> str:
    """Return where a browser goes to sign in at the provider; empty where there is none.

    It is the address that it comes back to: the cookie of the sign-in would else be of another.
    """
    return f"{flow.client.public_url}{THERE}?{urlencode({'next': wanted})}" if flow else ""


def onward(env: Environment, request: Request, kind: str, address: str) -> Response:
    """Return a page that leads on by itself.

    Not a redirect: on the way back from the provider a browser would follow one as if the provider
    had sent it, without the cookie of the session (``SameSite=Strict``); and it does not follow one
    out of a form to another site, since ``form-action`` forbids forms to lead there.
    """
    title, says = _ONWARD[kind]
    shown = {"title": title, "says": says, "address": address}
    return page(env, request, "onward.html", shown)
