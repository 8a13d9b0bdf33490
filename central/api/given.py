"""What requests for reports give, held to its rules: broken ones are told by field and rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, Field

from central.access import NotYourSite
from central.api.forms import accepted
from central.reports.spc_values import Window

if TYPE_CHECKING:
    from starlette.requests import Request

    from central.api.asking import Asking

#: Text that a column may hold: no control characters.
Word = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]
Instant = AwareDatetime
Format = Literal["json", "csv"]
WINDOW_DAYS: Final = 30
WINDOW_DAYS_MAX: Final = 400
#: Instants that may be asked about: well within what Python and PostgreSQL can reckon with.
FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def wants_csv(given: Format | None, request: Request) -> bool:
    """Tell whether a table is wanted: what is asked for by ``format`` goes before the header.

    Raise HTTPException 406 where neither a table nor JSON is.
    """
    return (given or accepted(request.headers.get("accept", ""), ("json", "csv"))) == "csv"


def broken(field: str, rule: str) -> RequestValidationError:
    """Return what is raised where a parameter of the query breaks a rule."""
    return RequestValidationError([{"loc": ("query", field), "msg": rule, "type": "value_error"}])


def broken_body(field: str, rule: str) -> RequestValidationError:
    """Return what is raised where a field of the body breaks a rule."""
    loc = ("body", *field.split("."))
    return RequestValidationError([{"loc": loc, "msg": rule, "type": "value_error"}])


def window(begin: datetime | None, end: datetime | None, now: datetime, prefix: str = "") -> Window:
    """Return a window: the last days where nothing is given. Raise RequestValidationError."""
    till = end or now
    if not FIRST <= till < LAST:
        raise broken(f"{prefix}to", "must be between 1970 and 2200")
    since = begin or till - timedelta(days=WINDOW_DAYS)
    if begin and not FIRST <= begin < LAST:
        raise broken(f"{prefix}from", "must be between 1970 and 2200")
    if since >= till:
        raise broken(f"{prefix}from", f"must be before {prefix}to")
    if till - since > timedelta(days=WINDOW_DAYS_MAX):
        raise broken(f"{prefix}from", f"a window has {WINDOW_DAYS_MAX} days at most")
    return Window(since, till)


def one_site(owner: str, given: str | None, asking: Asking, shared: str) -> str:
    """Return the one site whose rows a chart is of; raise NotYourSite, RequestValidationError."""
    if given is not None and given not in asking.sites:
        raise NotYourSite(f"no site {given[:40]} here that this key or token reaches")
    if owner != shared:
        if given not in (None, owner):
            raise broken("site", "the characteristic belongs to another site")
        return owner
    if given is None and len(asking.sites) > 1:
        raise broken("site", "the characteristic is of all sites: name one, a chart is of one")
    return given or asking.sites[0]
