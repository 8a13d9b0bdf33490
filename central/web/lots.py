"""Where lots came from and went, as a graph and as tables, with what is on hand: for recalls.

All of it is what ``/v1/reports/genealogy`` and ``/v1/reports/lots`` tell to the same question. A
walk is over all sites that somebody reaches: to leave some out would leave lots out of a recall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it

from central.access import Scope
from central.api.asking import Asking, asks
from central.api.genealogy import Followed, Listed, Status, read_genealogy, read_listed
from central.api.reach import PAGES, V1
from central.reports.question import BadQuestion
from central.web.asked import Asked, asked_of
from central.web.freshness import read_freshness
from central.web.rendering import page, query, viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

    from central.api.reach import Reach

_FOLLOWED: Final = ("direction", "depth")
_LISTED: Final = ("lot_no", "material", "status")
_KNOWN: Final = ("lot", "cursor", *_FOLLOWED, *_LISTED)
DIRECTIONS: Final = (
    ("both", "both ways"), ("up", "up: what went in"), ("down", "down: where it went"),
)  # fmt: skip
STATUSES: Final = tuple((each, each.lower()) for each in get_args(Status))
_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Node:
    """A lot of a walk."""

    #: As ``lot_answers`` tells it; of a lot that is not visible there is no more than a number.
    lot: Mapping[str, Any]
    #: Steps from the lot that was asked of: below 0 went in, above 0 it went there.
    level: int

    @property
    def name(self) -> str:
        """Return what people call it."""
        return str(self.lot.get("lot_no") or self.lot["lot"])

    @property
    def place(self) -> str:
        """Return in words where it stands."""
        if not self.level:
            return "asked of"
        return f"{abs(self.level)} {'down' if self.level > 0 else 'up'}"

    @property
    def is_on_hand(self) -> bool:
        """Tell whether there is some of it somewhere."""
        return any(each["qty"] for each in self.lot["on_hand"])

    @property
    def state(self) -> str:
        """Return what its sign in the graph tells: the worst that there is to say of it."""
        if not self.lot["visible"]:
            return "hidden"
        return "held" if self.lot["holds"] else "on-hand" if self.is_on_hand else "none"


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=[PAGES], include_in_schema=False)
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/genealogy")
    async def genealogy(request: Request, asking: Asking = reads) -> Response:
        revisions = reach.live.of(asking.sites)
        asked = asked_of(request.query_params, asking.sites, reach.guard.today, _KNOWN)
        tell = _followed if "lot" in asked.given else _listed
        shown = {
            "asked": asked, "revisions": revisions, "directions": DIRECTIONS,
            "statuses": STATUSES, "nodes": None, **await tell(reach, asking.sites, asked),
        }  # fmt: skip
        return page(env, request, "genealogy.html", shown, viewer(reach.guard, request))

    return routes


async def _followed(reach: Reach, sites: tuple[str, ...], asked: Asked) -> dict[str, Any]:
    """Return the kin of a lot as it is shown; raise UnknownLot, BadQuestion."""
    try:
        lot = UUID(asked.given["lot"])
    except ValueError:
        raise BadQuestion("lot", "the id of a lot; find it by its number first") from None
    params = {name: asked.given[name] for name in _FOLLOWED if name in asked.given}
    told = await read_genealogy(reach, sites, lot, _read(Followed, params))
    nodes = [Node(each, level_of(each)) for each in told["lots"]]
    return {
        "told": told, "nodes": nodes, "names": {str(each.lot["lot"]): each.name for each in nodes},
        "counts": {
            "on hand": sum(each.is_on_hand for each in nodes),
            "on hold": sum(bool(each.lot["holds"]) for each in nodes),
            "not visible here": sum(not each.lot["visible"] for each in nodes),
        },
        "csv": f"{V1}/reports/genealogy/{lot}?{query(params, format='csv')}",
        "fresh": await read_freshness(reach, sites),
    }  # fmt: skip


async def _listed(reach: Reach, sites: tuple[str, ...], asked: Asked) -> dict[str, Any]:
    """Return a page of lots as they are shown; raise BadQuestion, RequestValidationError."""
    params = {name: asked.given[name] for name in (*_LISTED, "cursor") if name in asked.given}
    told = await read_listed(reach, sites, _read(Listed, params))
    return {
        "told": told, "csv": f"{V1}/reports/lots?{query(params, format='csv')}",
        "more": query(params, cursor=told["next"]) if told["next"] else "",
        "fresh": await read_freshness(reach, sites),
    }  # fmt: skip


def _read(model: type[_M], params: Mapping[str, str]) -> _M:
    try:
        return model.model_validate(params)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadQuestion(".".join(map(str, first["loc"])), first["msg"]) from None


def level_of(lot: Mapping[str, Any]) -> int:
    """Return how far a lot is from the one that was asked of, on its shorter side."""
    up, down = lot.get("level_up"), lot.get("level_down")
    if up is None:
        return int(down or 0)
    return int(down) if down is not None and down < up else -int(up)
