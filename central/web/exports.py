"""Exports: reports with all their rows, asked for, watched, and taken along as files.

All of it is what ``/v1/exports`` does for programs. Whoever looks sees their own, of sites that
they still reach.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from central import exports
from central.access import Scope
from central.api.asking import Asking, asks
from central.api.audit import asked_in
from central.api.exports import ExportId, Ordered, check_order, drop_export, order_export
from central.api.reach import PAGES
from central.exports import NoExports, TooManyExports
from central.reports.named import REPORTS
from central.reports.question import BadQuestion
from central.reports.whole import Form
from central.web.asked import asked_of
from central.web.rendering import page, viewer
from central.web.signing import fresh_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment
    from starlette.datastructures import ImmutableMultiDict

    from central.api.reach import Reach
    from central.exports import Export

#: Fields of the form; all else in an address is what a page was asked that leads here.
_KNOWN: Final = ("report", "format")
_FIELDS: Final = {*_KNOWN, "site", "from", "to", "more", "form_token"}
_MORE_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a form that was sent."""

    status: int = 200
    text: str = ""


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=[PAGES], include_in_schema=False)
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/exports")
    async def listed(request: Request, asking: Asking = reads) -> Response:
        return await _page(reach, env, request, asking, request.query_params)

    @routes.post("/exports")
    async def order(request: Request) -> Response:
        shown, form = await fresh_form(reach.guard, request)
        asking = await reach.guard.asking(request, shown, Scope.READ)
        try:
            asked_of(form, asking.sites, reach.guard.today)
            ordered = ordered_in(form)
            check_order(reach, ordered, asking.sites)
            await order_export(reach, asking, ordered, asked_in(request.scope, 303))
        except BadQuestion as why:
            return await _page(reach, env, request, asking, form, Said(422, str(why)))
        except (TooManyExports, NoExports) as why:
            return await _page(reach, env, request, asking, form, Said(409, str(why)))
        request.state.is_noted = True
        return RedirectResponse("/exports", 303)

    @routes.post("/exports/{export_id}/delete")
    async def delete(export_id: ExportId, request: Request) -> Response:
        shown, _ = await fresh_form(reach.guard, request)
        asking = await reach.guard.asking(request, shown, Scope.READ)
        await drop_export(reach, asking.who.name, export_id, asked_in(request.scope, 303))
        request.state.is_noted = True
        return RedirectResponse("/exports", 303)

    return routes


async def _page(
    reach: Reach, env: Environment, request: Request, asking: Asking,
    params: ImmutableMultiDict[str, str], said: Said = Said(),
) -> Response:  # fmt: skip
    asked = asked_of(params, asking.sites, reach.guard.today, _KNOWN)
    async with reach.pool.connection() as connection:
        found = await exports.listed(connection, asking.who.name)
    theirs = [each for each in found if set(each.sites) <= set(asking.sites)]
    shown = {
        "asked": asked, "revisions": reach.live.of(asking.sites), "said": said, "exports": theirs,
        "reports": [(each, each) for each in REPORTS],
        "forms": [(each.value, each.value) for each in Form],
        "more": more_in(params), "is_possible": reach.export_dir is not None,
        "days": reach.export_days, "is_moving": any(map(is_moving, theirs)),
    }  # fmt: skip
    seen_by = viewer(reach.guard, request)
    return page(env, request, "exports.html", shown, seen_by, status=said.status)


def is_moving(export: Export) -> bool:
    """Tell whether it is going to be another one soon."""
    return export.state in ("waiting", "running")


def more_in(params: ImmutableMultiDict[str, str]) -> dict[str, list[str]]:
    """Return what the page that leads here was asked beyond the fields of the form."""
    if text := params.get("more"):
        return _read(text)
    return {name: params.getlist(name) for name in params if name not in _FIELDS}


def _read(text: str) -> dict[str, list[str]]:
    try:
        found = json.loads(text[:_MORE_MAX])
        return {str(name): [str(each) for each in values] for name, values in found.items()}
    except (ValueError, AttributeError, TypeError):
        raise BadQuestion("more", "as the page had it") from None


def ordered_in(form: ImmutableMultiDict[str, str]) -> Ordered:
    """Return what is to be exported; raise BadQuestion."""
    query: dict[str, Any] = {
        name: values[0] if len(values) == 1 else values for name, values in more_in(form).items()
    }
    query |= {name: form[name] for name in ("from", "to") if form.get(name)}
    if sites := [each for each in form.getlist("site") if each]:
        query["site"] = sites
    try:
        return Ordered.model_validate(_given(form) | {"query": query})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadQuestion(".".join(map(str, first["loc"])), first["msg"]) from None


def _given(form: Mapping[str, str]) -> dict[str, Any]:
    return {name: form[name] for name in _KNOWN if form.get(name)}
