"""What goes wrong, as problem details (RFC 9457): what, why, and what to do.

Nothing of the database's own words is told, but for what a person can mend.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
import psycopg_pool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from central.access import BadSiteName, NotInScope, NotYourSite
from central.api.code_flow import ProviderUnfit, SignInInvalid, SignInRefused
from central.api.live import TooManyStreams
from central.api.oidc import BadToken, ProviderAway
from central.api.once import KeyReused, UnderWay
from central.api.rates import TooOften
from central.api.turns import AGAIN_S as BUSY_S
from central.api.turns import Busy
from central.archive_contents import ArchiveAway, ArchiveDamaged
from central.archive_reading import ArchiveMoves, ArchiveSlow
from central.documents import to_json
from central.exports import AGAIN_S, NoExports, NotWritten, TooManyExports, UnknownExport
from central.reports.genealogy import UnknownLot
from central.reports.question import BadQuestion
from central.reports.spc import UnfitChart
from central.reports.spc_values import TooManyValues, UnknownCharacteristic
from central.reports.whole import TooManyWhole
from central.row_reading import UnknownRow
from central.row_values import BadRow, OnlyAdded, UnknownPlan
from central.row_writing import KeyTaken, NeedsVersion, RowMoved, StillReferredTo
from central.scrapes import NeedsMetricsToken, NotFromHere
from central.sites import UnknownSite
from shared import reviews
from shared.conflicts import UnknownConflict
from shared.errors import NotAuthorised, SchemaMismatch, SyncError, UnknownTable

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: the end of its type's address, its status, and what it is."""

    name: str
    status: int
    title: str
    #: The error's own words tell what to do; else only the title is told.
    in_words: bool = True


NO_TOKEN: Final = Kind("no-token", 401, "A key or token is needed.")
INVALID: Final = Kind("invalid", 422, "The request breaks a rule.")
_AWAY: Final = Kind("unavailable", 503, "The database does not answer; try again.", in_words=False)
_ARCHIVE_AWAY: Final = Kind(
    "archive-away", 503, "Files of the archive can't be read; it is logged.", in_words=False
)
#: Rules that the catalogue does not know: triggers and constraints of the database's owner.
_REFUSED_THERE: Final = Kind("refused", 409, "A rule of the database refuses the write.")
_BROKEN: Final = Kind("internal", 500, "Something went wrong here; it is logged.", in_words=False)
_KINDS: Final[tuple[tuple[type[Exception], Kind], ...]] = (
    (BadToken, Kind("bad-token", 401, "The key or token is not accepted.")),
    (SignInInvalid, Kind("sign-in-invalid", 400, "No such sign-in is under way.")),
    (SignInRefused, Kind("sign-in-refused", 403, "Nobody is signed in.")),
    (ProviderUnfit, Kind("provider-unfit", 502, "The identity provider's answer is of no use.")),
    (NeedsMetricsToken, NO_TOKEN),
    (NotFromHere, Kind("not-from-here", 403, "Metrics are given to this machine alone.")),
    (TooManyWhole, Kind("too-many-whole", 503, "Too many whole answers are being read.")),
    (TooManyExports, Kind("too-many-exports", 429, "Too many exports wait or are kept.")),
    (UnknownExport, Kind("unknown-export", 404, "There is no such export.")),
    (NotWritten, Kind("not-written", 409, "The export has no file (yet).")),
    (NoExports, Kind("no-exports", 501, "Exports are not set up here.")),
    (TooOften, Kind("too-often", 429, "The key or token asks too often.")),
    (NotInScope, Kind("not-in-scope", 403, "The key or token does not allow this.")),
    (NotYourSite, Kind("not-your-site", 403, "The key or token reaches no such site.")),
    (BadSiteName, INVALID),
    (BadQuestion, INVALID),
    (KeyReused, Kind("key-reused", 422, "The Idempotency-Key stands for another request.")),
    (UnderWay, Kind("under-way", 409, "The same request is being carried out.")),
    (UnknownSite, Kind("unknown-site", 404, "There is no such site.")),
    (UnknownConflict, Kind("unknown-conflict", 404, "There is no such conflict.")),
    (UnknownCharacteristic, Kind(
        "unknown-characteristic", 404, "There is no such characteristic.")),
    (UnknownLot, Kind("unknown-lot", 404, "There is no such lot.")),
    (UnfitChart, Kind("unfit-chart", 422, "The chart does not fit what was measured.")),
    (TooManyValues, Kind("too-many-values", 422, "The answer would hold too much.")),
    (UnknownTable, Kind("unknown-table", 404, "There is no such table of facts.")),
    (UnknownPlan, Kind("unknown-plan", 404, "There is no such table that planners write.")),
    (UnknownRow, Kind("unknown-row", 404, "There is no such row.")),
    (BadRow, Kind("bad-row", 422, "The row breaks rules of its table.")),
    (OnlyAdded, Kind("only-added", 409, "Rows of the table are only ever added.")),
    (KeyTaken, Kind("key-taken", 409, "Another row has the key already.")),
    (StillReferredTo, Kind("still-referred-to", 409, "Other rows refer to the row.")),
    (RowMoved, Kind("row-moved", 412, "The row was written since it was seen.")),
    (NeedsVersion, Kind("needs-version", 428, "The version that was seen is to be named.")),
    (ArchiveMoves, Kind("archive-moves", 503, "The archive is being changed; try again.")),
    (ArchiveSlow, Kind("archive-slow", 503, "The files took too long; ask for a shorter time.")),
    (ArchiveAway, _ARCHIVE_AWAY),
    (ArchiveDamaged, _ARCHIVE_AWAY),
    (reviews.DecidedAlready, Kind("decided-already", 409, "The conflict is decided.")),
    (reviews.WrittenSince, Kind("written-since", 409, "The row was written since it was seen.")),
    (reviews.NothingToDecide, Kind("nothing-to-decide", 409, "No person has to decide this.")),
    (reviews.BadDecision, Kind("bad-decision", 422, "The decision can't be written.")),
    (NotAuthorised, Kind(
        "not-authorised", 503, "The database refuses the API; it is logged.", in_words=False)),
    (SchemaMismatch, Kind(
        "wrong-release", 503, "The database is of another release.", in_words=False)),
    (ProviderAway, Kind(
        "provider-away", 503, "The identity provider does not answer; try again.",
        in_words=False)),
    (TooManyStreams, Kind("too-many-streams", 503, "Too many pages are told of changes at once.")),
    (Busy, Kind("busy", 503, "Too much is asked at once; try again.")),
    (psycopg_pool.PoolTimeout, _AWAY),
    (psycopg.errors.QueryCanceled, Kind(
        "too-long", 503, "The answer took too long; ask for less.", in_words=False)),
    (psycopg.OperationalError, _AWAY),
    (psycopg.errors.RaiseException, _REFUSED_THERE),
    (psycopg.IntegrityError, _REFUSED_THERE),
    (SyncError, _BROKEN),
    (Exception, _BROKEN),
)  # fmt: skip

#: Where a request breaks the rule that an error tells of.
_FIELDS: Final[dict[type[Exception], str]] = {
    BadSiteName: "header.x-site-id", KeyReused: "header.idempotency-key",
    reviews.BadDecision: "body",
}  # fmt: skip

#: What the framework refuses itself, by its status; in words that no release of Python changes.
_REFUSED: Final = {
    kind.status: kind
    for kind in (
        Kind("bad-request", 400, "The request can't be read."),
        Kind("not-found", 404, "There is nothing here."),
        Kind("method-not-allowed", 405, "That can't be done here."),
        Kind("no-such-form", 406, "The answer does not come in a form that is accepted."),
        Kind("too-slow", 408, "The request did not come in time."),
        Kind("too-large", 413, "The request is too large."),
    )
}

#: By their names, as ``/problems/NAME`` tells them.
KINDS: Final = {
    kind.name: kind for kind in (NO_TOKEN, *(kind for _, kind in _KINDS), *_REFUSED.values())
}


class Problem(Response):
    """An answer that tells of a problem."""

    media_type = "application/problem+json"

    def __init__(
        self, kind: Kind, detail: str, request: Request, *,
        more: dict[str, Any] | None = None, headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        said = {
            "type": f"/problems/{kind.name}", "title": kind.title, "status": kind.status,
            "detail": detail, "instance": request.url.path,
        }  # fmt: skip
        super().__init__(to_json(said | (more or {})), kind.status, headers)


class NeedsToken(HTTPException):
    """A key or token is needed."""

    def __init__(self) -> None:
        super().__init__(401)


def answer_problems(app: FastAPI) -> None:
    """Have an application answer whatever is raised as a problem."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(NeedsToken, _no_token)
    app.add_exception_handler(HTTPException, _refused)
    for raised, kind in _KINDS:
        app.add_exception_handler(
            raised, lambda request, error, kind=kind: _told(request, error, kind)
        )


def _told(request: Request, error: Exception, kind: Kind) -> Problem:
    if kind is _REFUSED_THERE:
        return _refused_there(request, error)
    detail = str(error).strip() if kind.in_words else kind.title
    if not kind.in_words:
        _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    more: dict[str, Any] = {}
    if field := _FIELDS.get(type(error)):
        more = {"errors": [{"field": field, "rule": detail}]}
    if isinstance(error, BadQuestion):
        more = {"errors": [{"field": f"query.{error.field}", "rule": error.rule}]}
    if isinstance(error, BadRow):
        more = {"errors": [_of_column(each.column, each.rule) for each in error.broken]}
    if isinstance(error, KeyTaken):
        more = {"errors": [_of_column(each, detail) for each in error.columns]}
    if isinstance(error, reviews.WrittenSince):
        more = {"shown": error.shown, "stands": error.stands, "version": error.version}
    return Problem(kind, detail, request, more=more, headers=_headers(error, kind))


def _refused_there(request: Request, error: Exception) -> Problem:
    """Tell what a rule of the database says where it speaks for itself, by RAISE, and no more.

    What PostgreSQL says of a constraint is for its owner. What only reads meets no such rule, and
    one of our own bookkeeping is broken by nobody but us.
    """
    assert isinstance(error, psycopg.Error)
    if request.method in _READING or error.diag.schema_name == _BOOKKEEPING:
        return _told(request, error, _BROKEN)
    _log.warning("%s %s: %s", request.method, request.url.path, error)
    is_raised = error.diag.source_function == _BY_RAISE
    said = (error.diag.message_primary or "") if is_raised else ""
    return Problem(_REFUSED_THERE, said or _REFUSED_THERE.title, request)


_READING: Final = ("GET", "HEAD")
_BOOKKEEPING: Final = "sync"
#: The function of PostgreSQL that carries a RAISE of PL/pgSQL out.
_BY_RAISE: Final = "exec_stmt_raise"


def _of_column(column: str, rule: str) -> dict[str, str]:
    return {"field": f"body.values.{column}", "rule": rule}


def _headers(error: Exception, kind: Kind) -> dict[str, str] | None:
    if isinstance(error, TooOften):
        return {"Retry-After": str(math.ceil(error.after_s))}
    if isinstance(error, TooManyExports):
        return {"Retry-After": str(AGAIN_S)}
    if isinstance(error, Busy):
        return {"Retry-After": str(BUSY_S)}
    if kind is NO_TOKEN:
        return {"WWW-Authenticate": "Bearer"}
    return {"WWW-Authenticate": 'Bearer error="invalid_token"'} if kind.status == 401 else None


def _no_token(request: Request, _: Exception) -> Problem:
    detail = "send it as `Authorization: Bearer …`; `mes-central api-keys add` makes a key"
    return Problem(NO_TOKEN, detail, request, headers={"WWW-Authenticate": "Bearer"})


def _refused(request: Request, error: Exception) -> Problem:
    """Tell of what the framework refuses itself: no such path, no such method."""
    assert isinstance(error, HTTPException)
    kind = _REFUSED.get(error.status_code, _REFUSED[400])
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods_there(request)):
        headers["Allow"] = ", ".join(methods)
    return Problem(kind, str(error.detail), request, headers=headers)


def _methods_there(request: Request) -> list[str]:
    """Return all methods of a described address: the framework tells those of one route alone."""
    path = getattr(request.scope.get("route"), "path", "")
    return [each.upper() for each in request.app.openapi()["paths"].get(path, ())]


def _invalid(request: Request, error: Exception) -> Problem:
    """Name each field with the rule that it breaks, and not the value that was sent."""
    assert isinstance(error, RequestValidationError)
    broken = [
        {"field": ".".join(map(str, each["loc"])), "rule": each["msg"]} for each in error.errors()
    ]
    detail = "; ".join(f"{each['field']}: {each['rule']}" for each in broken[:3])
    return Problem(INVALID, detail, request, more={"errors": broken})
