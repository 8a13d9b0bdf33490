"""``/v1/conflicts``: what two sides wrote at once, and a person's decision."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from central.access import NotYourSite, Scope
from central.api.asking import Asking, asks, reading
from central.api.audit import asked_in
from central.api.reach import V1, Json, Reach
from central.audit import note_change
from central.conflicts import (
    LISTED_MAX,
    STATES,
    Wanted,
    document,
    find_conflict,
    read_conflicts,
    read_standing,
)
from central.reviews import Choice, resolve
from central.reviews import document as resolution
from shared import reviews

if TYPE_CHECKING:
    from central.access import Who
    from central.audit import Asked
    from central.reviews import Resolved


#: What PostgreSQL stores and a terminal shows: lines, and no other control characters.
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
Prose = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]


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


class Decision(BaseModel):
    """What a person decides."""

    model_config = ConfigDict(extra="forbid")

    take: reviews.Take
    value: Annotated[dict[Line, Any], AfterValidator(storable)] | None = None
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
    since: datetime | None = None
    limit: int = Field(100, ge=1, le=LISTED_MAX)


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix=V1, tags=["conflicts"])
    _add_reading(routes, reach)
    _add_deciding(routes, reach)
    return routes


def _add_reading(routes: APIRouter, reach: Reach) -> None:
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/conflicts")
    async def conflicts(wanted: Annotated[Listed, Query()], asking: Asking = reads) -> Json:
        """List conflicts, those that wait for a person first."""
        if wanted.site is not None and wanted.site not in asking.sites:
            raise NotYourSite(f"no site {wanted.site[:40]} here that this key or token reaches")
        async with reading(reach.reading, asking.sites) as connection:
            found = await read_conflicts(connection, Wanted(**wanted.model_dump()))
        listed = [document(each) for each in found]
        return Json({"schema": "mes-central.conflicts/v1", "conflicts": listed})

    @routes.get("/conflicts/{name}")
    async def conflict(name: Line, asking: Asking = reads) -> Json:
        """Give a conflict in full, with what stands now and its version."""
        async with reading(reach.reading, asking.sites) as connection:
            found = await find_conflict(connection, name)
            standing = await read_standing(connection, reach.catalog, found)
        return Json({
            "schema": "mes-central.conflict/v1", **document(found),
            "standing": {"version": standing.version, "values": standing.values},
        })  # fmt: skip


def _add_deciding(routes: APIRouter, reach: Reach) -> None:
    decides: Any = Depends(asks(reach.guard, Scope.REVIEW))

    @routes.post("/conflicts/{name}/resolve")
    async def decide(
        name: Line, decision: Decision, request: Request, asking: Asking = decides
    ) -> Json:
        """Write a person's decision; 409 with both values where the row was written since."""
        async with reading(reach.reading, asking.sites) as connection:
            found = await find_conflict(connection, name)  # of other sites there is none
        request.state.sites = (found.site,)
        choice = Choice(
            **decision.model_dump(exclude={"by"}), by=person_of(asking.who, decision.by)
        )
        done = await write_decision(reach, found.id, choice, asked_in(request.scope, 200))
        request.state.is_noted = not done.again
        return Json(resolution(done))


async def write_decision(reach: Reach, conflict_id: str, choice: Choice, asked: Asked) -> Resolved:
    """Write a decision and a line of the audit log, both or neither."""
    async with reach.pool.connection() as connection, connection.transaction():
        done = await resolve(connection, reach.catalog, conflict_id, choice)
        await connection.execute("RESET ROLE")  # it was written as any client writes
        if not done.again:
            await note_change(connection, asked, resolution(done) | {"choice": asdict(choice)})
    return done


def person_of(who: Who, named: str | None) -> str:
    """Return who decides: a person's token tells it; a program may name whom it decides for."""
    if named is None:
        return who.name
    if not who.name.startswith("key "):
        raise reviews.BadDecision("`by` is for programs: your token tells who you are")
    return f"{named} by {who.name}"
