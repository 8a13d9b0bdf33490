"""Control charts of what is inspected: points, limits, broken rules, and capability.

All of it is what ``/v1/reports/spc`` tells to the same question; here it is only put in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it

from central.access import Scope
from central.api.asking import Asking, asks, reading
from central.api.quality import Given, read_chart
from central.api.reach import PAGES, V1
from central.reports.question import BadQuestion
from central.reports.spc import ChartType
from central.reports.spc_table import Line, lines
from central.reports.spc_values import find_characteristics
from central.web.asked import Asked, asked_of, day_of, present
from central.web.columns import Column, Figure
from central.web.freshness import read_freshness
from central.web.rendering import measured, page, query, viewer
from shared.changes import SHARED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

    from central.api.reach import Reach

#: Points of a chart, and violations in words, that a page shows: the newest. The CSV has all.
POINTS_MAX: Final = 1_000
VIOLATIONS_MAX: Final = 50
_KNOWN: Final = ("characteristic", "name", "rules", "chart", "limits_from", "limits_to")
RULES: Final = (
    ("nelson", "Nelson, all eight"), ("western-electric", "Western Electric"),
    ("nelson-1", "control limits alone"),
)  # fmt: skip
CHARTS: Final = tuple((str(each), str(each)) for each in ChartType)
_TITLES: Final = {
    "individuals": "Single values", "moving-range": "Moving ranges", "xbar": "Means of subgroups",
    "range": "Ranges of subgroups", "s": "Standard deviations of subgroups",
    "p": "Share of bad pieces", "np": "Bad pieces", "c": "Defects of a sample",
    "u": "Defects a piece",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a point breaks, in words."""

    rule: str
    text: str
    point: int
    since: int
    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Charted:
    """One chart as it is shown."""

    name: str
    told: Mapping[str, Any]
    lines: tuple[Line, ...]
    violations: tuple[Violation, ...]
    #: Points and violations that only the CSV has.
    older: int
    unsaid: int

    @property
    def title(self) -> str:
        """Return what it is of."""
        return _TITLES[self.name]

    @property
    def summary(self) -> str:
        """Return in a sentence what the chart shows, for who does not see it."""
        values = [each.value for each in self.lines if each.value is not None]
        if not values:
            return f"{self.title}: no values."
        spans = f"{len(values)} points from {measured(min(values))} to {measured(max(values))}"
        broken = len({each["point"] for each in self.told["violations"]})
        return f"{self.title}: {spans}. {broken or 'No'} points break a rule."


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=[PAGES], include_in_schema=False)
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/spc")
    async def spc(request: Request, asking: Asking = reads) -> Response:
        revisions = reach.live.of(asking.sites)
        asked = asked_of(request.query_params, asking.sites, reach.guard.today, _KNOWN)
        shown: dict[str, Any] = {
            "asked": asked, "revisions": revisions, "rules": RULES, "chart_types": CHARTS,
            "shared": SHARED, "found": None,
        }  # fmt: skip
        if "characteristic" in asked.given:
            shown |= await _charted(reach, asking, asked)
        else:
            shown |= {"fresh": await read_freshness(reach, asked.sites), "as_of": present()}
            async with reading(reach.reading, asked.sites) as connection:
                text = asked.given.get("name", "")
                shown["found"], shown["is_more"] = await find_characteristics(
                    connection, asked.sites, text
                )
        return page(env, request, "spc.html", shown, viewer(reach.guard, request))

    return routes


async def _charted(reach: Reach, asking: Asking, asked: Asked) -> dict[str, Any]:
    """Return the answer to what a page asks for, and how it is shown; raise what the API raises."""
    params = _params(asked)
    try:
        name = UUID(asked.given["characteristic"])
        given = Given.model_validate(params)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadQuestion(".".join(map(str, first["loc"])), first["msg"]) from None
    except ValueError:
        raise BadQuestion("characteristic", "an id, as the list of them has it") from None
    told = await read_chart(reach, asking, name, given)
    csv = query({each: value for each, value in params.items() if value}, format="csv")
    return {
        "told": told, "charts": [_shown(told, chart) for chart in told["charts"]],
        "figures": list(_figures(told.get("capability", {}))),
        "csv": f"{V1}/reports/spc/{name}?{csv}",
        "fresh": await read_freshness(reach, [told["site"]]),
    }  # fmt: skip


def _params(asked: Asked) -> dict[str, Any]:
    """Return the parameters of the API's question; days are those of UTC there."""
    params: dict[str, Any] = {"from": _begins("from", asked.start), "to": _begins("to", asked.end)}
    if len(asked.sites) == 1:
        params["site"] = asked.sites[0]
    for name in ("limits_from", "limits_to"):
        if name in asked.given:
            params[name] = _begins(name, asked.given[name])
    return params | {name: asked.given[name] for name in ("rules", "chart") if name in asked.given}


def _begins(name: str, day: str) -> str:
    return datetime.combine(day_of(name, day), time.min, UTC).isoformat()


def _shown(told: Mapping[str, Any], chart: Mapping[str, Any]) -> Charted:
    points = lines(told, chart)
    broken = [
        Violation(
            each["rule"], each["text"], each["point"], each["since"], points[each["point"]].at,
            chart["points"][each["point"]]["value"],
        )
        for each in reversed(chart["violations"])
    ]  # fmt: skip
    return Charted(
        name=chart["name"], told=chart, lines=tuple(points[-POINTS_MAX:]),
        violations=tuple(broken[:VIOLATIONS_MAX]), older=max(0, len(points) - POINTS_MAX),
        unsaid=max(0, len(broken) - VIOLATIONS_MAX),
    )  # fmt: skip


def _figures(capability: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    return [
        Figure(
            Column(name, name.capitalize(), "", is_number=True, formula=index["formula"],
                   source=index["source"]),
            index["value"], index["because"] or "",
        )
        for name, index in capability.items()
    ]  # fmt: skip
