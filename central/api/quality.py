"""``/v1/reports/spc``: control charts and capability of a characteristic that is inspected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID  # noqa: TC003 - pydantic reads it

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from central.access import Scope
from central.api.answers_of_reports import AS_JSON_OR_CSV, CharacteristicsTold, Told
from central.api.asking import Asking, asks, reading
from central.api.given import (
    Format,
    Instant,
    Word,
    broken,
    one_site,
    wants_csv,
    window,
)
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.documents import to_json
from central.reports import spc_values
from central.reports.capability import BINS_MAX
from central.reports.freshness import complete_through
from central.reports.spc import ChartType  # noqa: TC001 - pydantic reads it
from central.reports.spc_answer import Question, about, answer
from central.reports.spc_rules import chosen
from central.reports.spc_table import to_csv
from central.reports.spc_values import LISTED_MAX
from shared.changes import SHARED

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import APIRouter

    from central.reports.spc_rules import Rule
    from central.reports.spc_values import Characteristic, Measured


class Given(BaseModel):
    """Which values to chart, and how."""

    model_config = ConfigDict(extra="forbid")

    since: Instant | None = Field(
        None, alias="from", description="30 days before `to` if not given."
    )
    to: Instant | None = Field(None, description="Up to but without; now if not given.")
    limits_from: Instant | None = Field(None, description="Baseline of the limits.")
    limits_to: Instant | None = None
    site: Word | None = Field(None, description="Needed where a characteristic is of all sites.")
    equipment_id: UUID | None = None
    chart: ChartType | None = Field(None, description="In place of the characteristic's own.")
    rules: Word = Field("nelson", description="`nelson`, `western-electric`, `nelson-1,we-4`, …")
    bins: int | None = Field(None, ge=1, le=BINS_MAX)
    format: Format | None = Field(None, description="In place of the header Accept.")


class Listed(BaseModel):
    """What to list."""

    model_config = ConfigDict(extra="forbid")

    text: Word | None = Field(None, description="In its name, or in its plan's.")
    limit: int = Field(LISTED_MAX, ge=1, le=LISTED_MAX)


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("reports")
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/reports/spc", response_model=CharacteristicsTold)
    async def characteristics(
        given: Annotated[Listed, Query()], asking: Asking = reads
    ) -> Json:  # fmt: skip
        """List what is inspected, in the order of its plans: each has charts by its id."""
        async with reading(reach.reading, asking.sites) as connection:
            now, through = await complete_through(connection, asking.sites)
            found, is_more = await spc_values.find_characteristics(
                connection, asking.sites, given.text or "", most=given.limit
            )
        told = [{"plan_code": each.plan_code, **about(each.characteristic)} for each in found]
        return Json({
            "schema": "mes-central.characteristics/v1", "as_of": now,
            "complete_through": through, "characteristics": told, "more": is_more,
        })  # fmt: skip

    @routes.get("/reports/spc/{characteristic_id}", response_model=Told, responses=AS_JSON_OR_CSV)
    async def spc(
        characteristic_id: UUID, given: Annotated[Given, Query()], request: Request,
        asking: Asking = reads,
    ) -> Response:  # fmt: skip
        """Give charts with limits and violations, capability, histogram of a characteristic."""
        told = await read_chart(reach, asking, characteristic_id, given)
        if not wants_csv(given.format, request):
            return Json(told)
        return Response(to_csv(told), media_type="text/csv", headers={
            "Content-Disposition": f'attachment; filename="spc-{characteristic_id}.csv"',
            "X-Data-As-Of": to_json(told["as_of"]).strip('"'),
        })  # fmt: skip

    return routes


async def read_chart(
    reach: Reach, asking: Asking, characteristic_id: UUID, given: Given
) -> dict[str, Any]:
    """Return what ``GET /v1/reports/spc/CHARACTERISTIC`` tells with these parameters.

    Raise UnknownCharacteristic, NotYourSite, TooManyValues, UnfitChart, RequestValidationError.
    """
    rules = _rules(given.rules)
    async with reading(reach.reading, asking.sites) as connection:
        now, through = await complete_through(connection, asking.sites)
        found = await spc_values.read_characteristic(connection, asking.sites, characteristic_id)
        site = one_site(found.site, given.site, asking, SHARED)
        asked = spc_values.Asked(characteristic=found, site=site, equipment=given.equipment_id)
        charted = window(given.since, given.to, now)
        measured = await spc_values.read_measured(connection, asked, charted)
        baseline = await _baseline(connection, asked, given, now)
    chart, chosen_by = _chart(given, found, measured)
    question = Question(
        characteristic=found, chart=chart, rules=rules, measured=measured,
        baseline=baseline, bins=given.bins,
    )  # fmt: skip
    # Ten thousand points and a dozen rules take a second: others are answered meanwhile.
    told = await asyncio.to_thread(answer, question)
    return {
        "schema": "mes-central.spc/v1", "as_of": now,
        "complete_through": {site: through[site]},
        "characteristic": about(found), "site": site, "equipment_id": given.equipment_id,
        "from": charted.begin, "to": charted.end,
        "limits_from": given.limits_from, "limits_to": given.limits_to,
        "chart": chart, "chart_chosen_by": chosen_by, **told,
    }  # fmt: skip


def _rules(text: str) -> tuple[Rule, ...]:
    try:
        return chosen(text)
    except ValueError as error:
        raise broken("rules", str(error)) from error


async def _baseline(
    connection: Any, asked: spc_values.Asked, given: Given, now: datetime
) -> list[Measured] | None:
    """Return the values that limits are made from; None where those of the chart are."""
    if given.limits_from is None and given.limits_to is None:
        return None
    if given.limits_from is None:
        raise broken("limits_from", "is needed where limits_to is given")
    of_limits = window(given.limits_from, given.limits_to, now, "limits_")
    return await spc_values.read_measured(connection, asked, of_limits)


def _chart(given: Given, found: Characteristic, measured: list[Measured]) -> tuple[ChartType, str]:
    if given.chart is None:
        return spc_values.chart_of(found, measured)
    if not spc_values.fits(found, given.chart):
        kind = "measured" if found.kind == "VARIABLE" else "judged"
        raise broken("chart", f"does not fit: the characteristic is {kind}")
    return given.chart, "request"
