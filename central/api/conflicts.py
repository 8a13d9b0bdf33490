"""``/v1/conflicts``: what two sides wrote at once, and a person's decision."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
)
from starlette.responses import Response

from central.access import NotYourSite, Scope
from central.api import once
from central.api.answers import ConflictsTold, OneConflict, Resolution
from central.api.asking import Asking, asking_now, asks, reading
from central.api.audit import asked_in
from central.api.examples import CONFLICT, CONFLICTS, RESOLUTION, shown
from central.api.given import broken
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.audit import note_change
from central.conflicts import (
    LISTED_MAX,
    STATES,
    Place,
    Wanted,
    document,
    find_conflict,
    read_conflicts,
    read_standing,
)
from central.reviews import Choice, resolve
from central.reviews import document as resolution
from shared import reviews
from shared.changes import SHARED

if TYPE_CHECKING:
    from fastapi import APIRouter

    from central.access import Who
    from central.audit import Asked
    from central.conflicts import Conflict


#: What PostgreSQL stores and a terminal shows: lines, and no other control characters.
LINE: Final = r"^[^\x00-\x1f\x7f]*$"
PROSE: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
Line = Annotated[str, Field(pattern=LINE)]
Prose = Annotated[str, Field(pattern=PROSE)]


#: A conflict, as people name it.
Name = Annotated[Line, Path(description="Its id, that of its review, or the end of either.")]

_PROSE: Final = TypeAdapter(Prose)


def storable(value: Any) -> Any:
    """Return a value of JSON; raise ValidationError where a text in it can't be stored."""
    if isinstance(value, str):
        return _PROSE.validate_python(value)
    for each in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        storable(each)
    return value


#: How it is described: pydantic tells of rules on names, and not of those on what is below them.
STORABLE: Final = WithJsonSchema({
    "type": "object", "propertyNames": {"pattern": LINE},
    "additionalProperties": {"$ref": "#/components/schemas/Storable"},
})  # fmt: skip
SCHEMAS: Final = {
    "Storable": {
        "description": "A value of a column; texts hold no control characters but line ends.",
        "anyOf": [
            {"type": "string", "pattern": PROSE},
            {"type": ["number", "boolean", "null"]},
            {"type": "array", "items": {"$ref": "#/components/schemas/Storable"}},
            {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Storable"}},
        ],
    }
}


def _instant(value: Any) -> Any:
    """Return an instant as it was written; a bare number could be seconds or milliseconds."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ].+", str(value)):
        raise ValueError("an instant is written as 2026-11-26T05:00:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]


class Decision(BaseModel):
    """What a person decides."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{
            "take": "here", "reason": "measured again", "by": "q.chief",
            "seen": "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c01",
        }]},
    )  # fmt: skip

    take: reviews.Take
    value: Annotated[dict[Line, Any], AfterValidator(storable), STORABLE] | None = None
    reason: Prose = Field(min_length=1, max_length=reviews.REASON_MAX)
    by: Line | None = Field(
        None, min_length=1, max_length=32,
        description="Whom a program decides for; a person's own token names them already.",
    )  # fmt: skip
    seen: Line = Field(
        min_length=1, description="Version of the row that the person saw: `standing.version`."
    )


class Listed(BaseModel):
    """Which conflicts to list."""

    model_config = ConfigDict(extra="forbid")

    site: Line | None = None
    table: Line | None = None
    policy: Line | None = None
    state: Literal[STATES] | None = None  # type: ignore[valid-type]
    since: Instant | None = None
    limit: int = Field(100, ge=1, le=LISTED_MAX)
    cursor: str | None = Field(None, max_length=200, description="`next` of the page before.")


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("conflicts")
    _add_reading(routes, reach)
    _add_deciding(routes, reach)
    return routes


def _add_reading(routes: APIRouter, reach: Reach) -> None:
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/conflicts", response_model=ConflictsTold, responses=shown(CONFLICTS))
    async def conflicts(wanted: Annotated[Listed, Query()], asking: Asking = reads) -> Json:
        """List conflicts, those that wait for a person first."""
        if wanted.site is not None and wanted.site not in asking.sites:
            raise NotYourSite(f"no site {wanted.site[:40]} here that this key or token reaches")
        given = wanted.model_dump(exclude={"cursor", "limit"})
        after = _place(wanted.cursor) if wanted.cursor is not None else None
        more = Wanted(**given, after=after, limit=wanted.limit + 1)
        async with reading(reach.reading, asking.sites) as connection:
            found = await read_conflicts(connection, more)
        page = found[: wanted.limit]
        return Json({
            "schema": "mes-central.conflicts/v1", "conflicts": [document(each) for each in page],
            "next": _cursor(page[-1]) if len(found) > len(page) else None,
        })  # fmt: skip

    @routes.get("/conflicts/{name}", response_model=OneConflict, responses=shown(CONFLICT))
    async def conflict(name: Name, asking: Asking = reads) -> Json:
        """Give a conflict in full, with what stands now and its version."""
        async with reading(reach.reading, asking.sites) as connection:
            found = await find_conflict(connection, name)
            standing = await read_standing(connection, reach.catalog, found)
        return Json({
            "schema": "mes-central.conflict/v1", **document(found),
            "standing": {"version": standing.version, "values": standing.values},
        })  # fmt: skip


_PLACE: Final = TypeAdapter(tuple[bool, AwareDatetime, UUID])


def _cursor(last: Conflict) -> str:
    is_open, at, conflict = Place.of(last)
    text = json.dumps([is_open, at.isoformat(), str(conflict)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> Place:
    """Return where a page begins; raise RequestValidationError for none of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        is_open, at, conflict = _PLACE.validate_json(text)
        return Place(is_open, at.astimezone(UTC), conflict)
    except (ValueError, OverflowError) as error:
        raise broken("cursor", "is none that a page ended with") from error


def _add_deciding(routes: APIRouter, reach: Reach) -> None:
    decides: Any = Depends(asks(reach.guard, Scope.REVIEW))

    @routes.post(
        "/conflicts/{name}/resolve", response_model=Resolution,
        responses=shown(RESOLUTION) | {409: {"description": "Nothing was written; look again."}},
    )  # fmt: skip
    async def decide(
        name: Name, decision: Decision, request: Request,
        key: once.IdempotencyKey = None, asking: Asking = decides,
    ) -> Response:  # fmt: skip
        """Write a person's decision; 409 with both values where the row was written since."""
        async with reading(reach.reading, asking.sites) as connection:
            found = await find_conflict(connection, name)  # of other sites there is none
        request.state.sites = (found.site,)
        choice = Choice(
            **decision.model_dump(exclude={"by"}), by=person_of(asking.who, decision.by)
        )
        named = await once.named(request, asking.who.name, key)
        deciding = Deciding(found.id, choice, asked_in(request.scope, 200), named)
        answer, request.state.is_noted = await write_decision(reach, deciding)
        return answer


@dataclass(frozen=True, slots=True)
class Deciding:
    """A decision as it was asked for."""

    conflict_id: str
    choice: Choice
    asked: Asked
    #: None where the request did not name itself.
    named: once.Named | None = None


async def write_decision(reach: Reach, deciding: Deciding) -> tuple[Response, bool]:
    """Write a decision, a line of the audit log and the answer, all or none.

    Return the answer, and whether anything was written. Raise NotYourSite for a row of all sites,
    where whoever is being answered does not review for every site.
    """
    async with reach.pool.connection() as connection, connection.transaction():
        if before := await once.begin(connection, deciding.named):
            return Response(before.text, before.status, media_type=Json.media_type), False
        done = await resolve(connection, reach.catalog, deciding.conflict_id, deciding.choice)
        _check_theirs(done.conflict.site)
        await connection.execute("RESET ROLE")  # it was written as any client writes
        told = resolution(done)
        if not done.again:
            changed = told | {"choice": asdict(deciding.choice)}
            await note_change(connection, deciding.asked, changed)
        await once.keep(connection, deciding.named, told)
    return Json(told), not done.again


def _check_theirs(site: str) -> None:
    """Raise NotYourSite where a row is of all sites, and who decides does not review for them."""
    asking = asking_now()
    if site == SHARED and (asking is None or not asking.may_share(Scope.REVIEW)):
        raise NotYourSite("a row of all sites is decided by who reviews for every site")


def person_of(who: Who, named: str | None) -> str:
    """Return who decides: a person's token tells it; a program may name whom it decides for."""
    if named is None:
        return who.name
    if not who.name.startswith("key "):
        raise reviews.BadDecision("`by` is for programs: your token tells who you are")
    return f"{named} by {who.name}"
