"""``/v1/sites``: how the sync of each site is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from central.access import NotYourSite, Scope
from central.api.asking import Asking, asks
from central.api.forms import as_csv
from central.api.reach import V1, Json, Reach
from central.picture import read_picture
from central.status import document, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from central.status import Verdict


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix=V1, tags=["sites"])
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/sites")
    async def sites(
        asking: Asking = reads,
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response:
        """Give the status of your sites, worst first; to who reads all, that of the centre, too."""
        found = document(await read_verdict(reach, asking.sites))
        if form == "csv":
            return Response(_csv(found["sites"]), media_type="text/csv; charset=utf-8")
        if not asking.who.reach[Scope.READ].every:  # what it has counts other sites in
            found = {name: found[name] for name in ("schema", "generated_at", "sites")}
        return Json(found)

    @routes.get("/sites/{site}")
    async def site(site: str, asking: Asking = reads) -> Json:
        """Give the status of one site."""
        if site not in asking.sites:
            raise NotYourSite(f"no site {site[:40]} here that this key or token reaches")
        found = document(await read_verdict(reach, [site]))
        about = {"schema": found["schema"], "generated_at": found["generated_at"]}
        return Json(about | found["sites"][0])

    return routes


#: What a table of the sites has, of the status of each.
_COLUMNS: Final = (
    "site", "status", "verdict", "complete_through", "last_n", "feed_lag", "reviews_open", "parked",
    "waiting", "differing", "clock_offset_ms",
)  # fmt: skip


def _csv(sites: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        {name: each[name] for name in _COLUMNS}
        | {
            "backlog": each["backlog"]["messages"] if each["backlog"] else None,
            "version": each["hello"]["version"] if each["hello"] else None,
        }
        for each in sites
    ]
    return as_csv((*_COLUMNS, "backlog", "version"), rows)


async def read_verdict(reach: Reach, sites: Sequence[str] | None = None) -> Verdict:
    """Return the verdict on some sites, or on all that are registered."""
    async with reach.pool.connection(timeout=5) as connection:
        picture = await read_picture(
            connection, reach.catalog, reach.link, sites, late_hours=reach.backup_hours
        )
    return judge(picture)
