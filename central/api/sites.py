"""``/v1/sites``: how the sync of each site is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import Depends, Path, Query
from starlette.responses import Response

from central.access import NotYourSite, Scope
from central.api.answers import OneSite, SitesStatus
from central.api.answers_of_reports import AS_CSV
from central.api.asking import Asking, asks, reading
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.documents import as_csv
from central.picture import read_picture
from central.status import document, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter

    from central.api.asking import Pool
    from central.status import Verdict


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("sites")
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/sites", response_model=SitesStatus, responses=AS_CSV)
    async def sites(
        asking: Asking = reads,
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response:
        """Give the status of your sites, worst first; to who reads all, that of the centre, too."""
        found = document(await read_theirs(reach, asking.sites))
        if form == "csv":
            return Response(_csv(found["sites"]), media_type="text/csv; charset=utf-8")
        if not asking.who.reach[Scope.READ].every:  # what it has counts other sites in
            found = {name: found[name] for name in ("schema", "generated_at", "sites")}
        return Json(found)

    @routes.get("/sites/{site}", response_model=OneSite)
    async def site(
        site: Annotated[str, Path(examples=["SITE_001"])], asking: Asking = reads
    ) -> Json:
        """Give the status of one site."""
        if site not in asking.sites:
            raise NotYourSite(f"no site {site[:40]} here that this key or token reaches")
        found = document(await read_theirs(reach, (site,)))
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


async def read_theirs(reach: Reach, sites: tuple[str, ...]) -> Verdict:
    """Return the verdict on some sites, of which PostgreSQL shows no other's rows."""
    async with (
        reach.pool.connection() as connection, reading(reach.reading, sites) as of_sites,
    ):  # fmt: skip
        picture = await read_picture(
            connection, reach.catalog, reach.link, sites,
            late_hours=reach.backup_hours, of_sites=of_sites,
        )  # fmt: skip
    return judge(picture)


async def read_verdict(reach: Reach, pool: Pool) -> Verdict:
    """Return the verdict on all sites that are registered, for the metrics."""
    async with pool.connection(timeout=5) as connection:
        picture = await read_picture(
            connection, reach.catalog, reach.link, late_hours=reach.backup_hours
        )
    return judge(picture)
