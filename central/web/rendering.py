"""Pages out of templates: what is missing in one is an error, and what is put in is text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from central.documents import to_json
from central.status import age
from shared.look import size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from central.api.asking import Guard

#: Pages in the order of their menu.
MENU: Final = (
    ("/", "Fleet"),
    ("/output", "Output"),
    ("/oee", "OEE"),
    ("/machines", "Machines"),
    ("/downtime", "Downtime"),
    ("/scrap", "Scrap"),
    ("/spc", "SPC"),
    ("/genealogy", "Genealogy"),
    ("/orders", "Orders"),
    ("/utilisation", "Utilisation"),
    ("/benchmark", "Benchmark"),
    ("/conflicts", "Conflicts"),
    ("/exports", "Exports"),
)
NOTHING: Final = "\N{EN DASH}"


def templates() -> Environment:
    """Return what renders the pages."""
    env = Environment(
        loader=PackageLoader("central.web", "templates"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    env.filters |= {
        "instant": instant, "machine_time": machine_time, "figure": figure, "ago": ago,
        "compact": to_json, "query": query, "per_cent": per_cent, "plural": plural,
        "measured": measured, "volume": size,
    }  # fmt: skip
    env.globals |= {"menu": MENU, "nothing": NOTHING, "static": static}
    return env


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page, as its frame shows it."""

    name: str
    form_token: str


def viewer(guard: Guard, request: Request) -> Viewer:
    """Return who looks: by a browser's session, or by a key that a program sends."""
    session = guard.signed_in(request)
    name = getattr(request.state, "who", "")
    return Viewer(name, session.form_token if session else "")


def page(
    env: Environment, request: Request, template: str, shown: Mapping[str, Any],
    viewer: Viewer | None = None, *, status: int = 200,
) -> HTMLResponse:  # fmt: skip
    """Return a page."""
    frame = {"path": request.url.path, "viewer": viewer, "query_string": request.url.query}
    return HTMLResponse(env.get_template(template).render(frame | dict(shown)), status)


@cache
def static(name: str) -> str:
    """Return the address of a file of ours, another one whenever it changes."""
    content = (files("central.web") / "static" / name).read_bytes()
    return f"/static/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


# --- how values are shown -------------------------------------------------------------------------


def instant(at: datetime | None) -> str:
    """Return an instant as people read it, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else NOTHING


def machine_time(at: datetime) -> str:
    """Return an instant for the attribute of a ``time`` element."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was."""
    return age(now - at) if at else NOTHING


def figure(value: Any, unit: str = "") -> str:
    """Return a number as people read it: parted by thousands, shares in per cent."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        return instant(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if unit == "ratio":
        return per_cent(value)
    text = f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return text.replace(",", "\u202f")


def measured(value: float | None) -> str:
    """Return a measured value, or what is made of such, by its six first digits that count."""
    return NOTHING if value is None else f"{value:.6g}"


def per_cent(value: float | None) -> str:
    """Return a share in per cent."""
    return NOTHING if value is None else f"{100 * value:.1f}\u202f%"


def plural(count: int, one: str, many: str) -> str:
    """Return a number with what is counted."""
    return f"{figure(count)} {one if count == 1 else many}"


def query(given: Mapping[str, Any], **more: Any) -> str:
    """Return parameters as the query of an address; None leaves one out."""
    merged = {name: value for name, value in {**given, **more}.items() if value not in (None, "")}
    return urlencode(merged, doseq=True)
