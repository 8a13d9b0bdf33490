"""Conflicts that wait for a person: both values side by side, and the form that decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from central.access import Scope
from central.api.asking import Asking, asks, reading
from central.api.audit import asked_in
from central.api.conflicts import Deciding, Decision, person_of, write_decision
from central.api.reach import PAGES
from central.conflicts import STATES, Conflict, Standing, Wanted, find_conflict, read_conflicts
from central.conflicts import read_standing as standing_of
from central.reviews import Choice
from central.web.asked import asked_of, present
from central.web.rendering import page, viewer
from central.web.signing import fresh_form
from shared import reviews
from shared.conflicts import group_columns
from shared.errors import UnknownColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment
    from psycopg import AsyncConnection

    from central.api.reach import Reach
    from shared.catalog import Table
    from shared.changes import Value

#: Conflicts with their forms, and lines of those that are decided, on one page.
CARDS_MAX: Final = 20
LINES_MAX: Final = 100
#: Before the name of a column, in a field of the form.
_VALUE: Final = "value."
_KNOWN: Final = ("state", "table", "policy")


@dataclass(frozen=True, slots=True)
class Card:
    """A conflict as it is decided: what each side wrote, column by column, and what stands."""

    conflict: Conflict
    standing: Standing
    columns: tuple[str, ...]
    #: Columns that may be given a value of one's own; none where the row itself is in question.
    settable: tuple[str, ...]
    #: What the review showed is not what stands: somebody wrote meanwhile.
    moved: bool
    may_decide: bool

    @property
    def is_open(self) -> bool:
        """Tell whether it waits for a person."""
        return self.conflict.state == "open"

    def of(self, value: Mapping[str, Value] | None, name: str) -> str:
        """Return what a side has in a column."""
        if value is None:
            return "unknown"
        if not value:
            return "row deleted"
        return "empty" if value.get(name) is None else str(value[name])

    def now(self, name: str) -> str:
        """Return what stands in a column now."""
        return self.of(self.standing.values or {}, name)


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=[PAGES], include_in_schema=False)
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/conflicts")
    async def conflicts(request: Request, asking: Asking = reads) -> Response:
        revisions = reach.live.of(asking.sites)
        asked = asked_of(request.query_params, asking.sites, reach.guard.today, _KNOWN)
        state = asked.given.get("state")
        async with reading(reach.reading, asked.sites) as connection:
            open_ones, others = await _read(connection, state, asked.given)
            shown = {
                "asked": asked, "revisions": revisions, "lines": others,
                "states": [(each, each) for each in STATES],
                "cards": [
                    await _card(connection, reach, each, asking) for each in open_ones
                    if each.table in reach.catalog
                ],
                "said": "", "as_of": present(),
            }  # fmt: skip
        return page(env, request, "conflicts.html", shown, viewer(reach.guard, request))

    @routes.get("/conflicts/{name}")
    async def conflict(name: str, request: Request, asking: Asking = reads) -> Response:
        return await _one(reach, env, request, asking, name)

    @routes.post("/conflicts/{name}")
    async def decide_one(name: str, request: Request) -> Response:
        shown, form = await fresh_form(reach.guard, request)
        asking = await reach.guard.asking(request, shown, Scope.REVIEW)
        return await _decide(reach, env, request, asking, (name, form))

    return routes


async def _decide(
    reach: Reach, env: Environment, request: Request, asking: Asking,
    sent: tuple[str, Mapping[str, str]],
) -> Response:  # fmt: skip
    """Write what a form says, as the API does; show the newer state where somebody was faster."""
    name, form = sent
    is_swap = "hx-request" in request.headers
    async with reading(reach.reading, asking.sites) as connection:
        found = await find_conflict(connection, name)  # of other sites there is none
    request.state.sites = (found.site,)
    try:
        decision = decision_of(form)
        by = person_of(asking.who, decision.by)
        choice = Choice(**decision.model_dump(exclude={"by"}), by=by)
        asked = asked_in(request.scope, 200 if is_swap else 303)
        _, is_new = await write_decision(reach, Deciding(found.id, choice, asked))
    except (reviews.WrittenSince, reviews.DecidedAlready, reviews.NothingToDecide) as why:
        return await _one(reach, env, request, asking, name, (409, _in_short(why)))
    except reviews.BadDecision as why:
        return await _one(reach, env, request, asking, name, (422, str(why)))
    request.state.is_noted = is_new
    if is_swap:
        return await _one(reach, env, request, asking, name, (200, "Decided."))
    return RedirectResponse(f"/conflicts/{found.id}", 303)


def _in_short(why: Exception) -> str:
    if isinstance(why, reviews.WrittenSince):
        return "The row was written since you looked: below is what stands now. Decide again."
    return str(why)


def decision_of(form: Mapping[str, str]) -> Decision:
    """Return what the fields of a form say; raise BadDecision where they say nothing that can be.

    A column of which the field is empty is not given; whoever wants it empty writes it at the site.
    """
    take = form.get("take", "")
    value = {
        name.removeprefix(_VALUE): text
        for name, text in form.items()
        if name.startswith(_VALUE) and text != ""
    }
    given: dict[str, Any] = {
        "take": take, "reason": form.get("reason", ""), "by": form.get("by") or None,
        "seen": form.get("seen", ""), "value": value if take == "value" else None,
    }  # fmt: skip
    try:
        return Decision.model_validate(given)
    except ValidationError as error:
        fields = ", ".join(_FIELDS.get(str(each["loc"][0]), "a field") for each in error.errors())
        raise reviews.BadDecision(f"say {fields}, and decide again") from None


_FIELDS: Final = {"take": "which value is to stand", "reason": "why", "by": "who decides"}


async def _read(
    connection: AsyncConnection[Any], state: str | None, given: Mapping[str, str]
) -> tuple[Sequence[Conflict], Sequence[Conflict]]:
    """Return the conflicts that wait, and the latest that do not."""
    every = Wanted(table=given.get("table"), policy=given.get("policy"), limit=LINES_MAX)
    found = [
        await read_conflicts(connection, replace(every, state=each))
        for each in STATES
        if state in (None, each)
    ]
    waiting = [each for some in found for each in some if each.state == "open"]
    others = [each for some in found for each in some if each.state != "open"]
    others.sort(key=lambda each: each.decided_at, reverse=True)
    return waiting[:CARDS_MAX], others[:LINES_MAX]


async def _card(
    connection: AsyncConnection[Any], reach: Reach, conflict: Conflict, asking: Asking
) -> Card:
    table = reach.catalog.table(conflict.table)
    standing = await standing_of(connection, reach.catalog, conflict)
    try:
        settable = tuple(group_columns(table, conflict)) if conflict.policy != "delete" else ()
    except UnknownColumn:  # the catalogue has lost it: both values are shown, and one can be taken
        settable = ()
    sides = (conflict.base, conflict.here.value, conflict.central.value)
    columns = tuple(dict.fromkeys(name for side in sides for name in side or {}))
    moved = conflict.state == "open" and _moved(table, conflict, standing)
    reviewed = asking.who.reach.get(Scope.REVIEW)
    may = reviewed is not None and (reviewed.every or conflict.site in reviewed.names)
    return Card(conflict, standing, columns, settable, moved, may)


def _moved(table: Table, conflict: Conflict, standing: Standing) -> bool:
    try:
        return reviews.look(table, conflict, standing.values).moved
    except reviews.BadDecision:  # of a column that the catalogue has lost: whoever decides is told
        return False


async def _one(
    reach: Reach, env: Environment, request: Request, asking: Asking, name: str,
    said: tuple[int, str] = (200, ""),
) -> Response:  # fmt: skip
    async with reading(reach.reading, asking.sites) as connection:
        found = await find_conflict(connection, name)
        shown = {
            "card": await _card(connection, reach, found, asking), "said": said[1],
            "revisions": reach.live.of([found.site]), "failed": said[0] >= 400,
            "as_of": present(),
        }  # fmt: skip
    seen_by = viewer(reach.guard, request)
    return page(env, request, "conflict.html", shown, seen_by, status=said[0])
