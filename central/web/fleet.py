"""The first page, all sites with the worst first, and the page of one site."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it

from central.access import NotYourSite, Scope
from central.api.asking import Asking, asks, reading
from central.api.reach import PAGES
from central.api.sites import read_theirs
from central.reports.question import ROWS_MAX
from central.web.asked import Asked, asked_of
from central.web.boards import OF_ON_TIME, OF_PROGRESS, ON_TIME, ON_TIME_TREND, ORDERS
from central.web.freshness import read_freshness
from central.web.panels import Panel, Shown, read_panels
from central.web.rendering import page, viewer
from shared.verdict import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jinja2 import Environment

    from central.api.reach import Reach
    from central.status import SiteVerdict, Verdict

#: Level of a verdict, the sign before its word, and the class that colours it.
SIGNS: Final = {Level.OK: "●", Level.DEGRADED: "◐", Level.CRITICAL: "▲"}
_SPARK: Final = Panel(
    name="spark", title="Good pieces a day", report="output", drawn_of=("qty_good",),
    given={"measures": "qty_good", "bucket": "day", "group_by": "site", "limit": ROWS_MAX},
)  # fmt: skip
OF_SITE: Final = (
    Panel(name="trend", title="Output over time", report="output", drawn="trend",
          given={"measures": "qty_good,qty_scrap,qty_mrb", "bucket": "day"},
          drawn_of=("qty_good", "qty_scrap", "qty_mrb"), says="Pieces by kind."),
    Panel(name="downtime", title="Downtime by machine", report="downtime", drawn="pareto",
          given={"limit": 10}, drawn_of=("breakdown_min",), says="The ten longest."),
    Panel(name="quality", title="Quality over time", report="quality", drawn="trend",
          given={"measures": "quality_ratio,scrap_ratio,qty_produced", "bucket": "day"},
          drawn_of=("quality_ratio", "scrap_ratio")),
    Panel(name="machines", title="Output by machine", report="output", drawn="bars",
          given={"group_by": "machine", "sort": "-qty_good"}, drawn_of=("qty_good",)),
    Panel(name="orders", title="Order progress", report="orders", drawn="bars",
          given=ORDERS | {"limit": 10}, drawn_of=("progress",),
          says=f"{OF_PROGRESS} The ten latest."),
    Panel(name="on-time", title="On-time delivery", report="on-time",
          given={"measures": ",".join(ON_TIME)}, says=OF_ON_TIME),
    Panel(name="on-time-trend", title="On-time delivery over time", report="on-time", drawn="trend",
          given={"measures": ON_TIME_TREND, "bucket": "day"}, drawn_of=("on_time_delivery",),
          says="By due dates. A gap is a day on which nothing was due."),
    Panel(name="wip", title="Orders under way", report="wip", drawn="trend",
          drawn_of=("wip_end", "active")),
)  # fmt: skip
_FLEET: Final = ("q", "status", "version")


@dataclass(frozen=True, slots=True)
class Fleet:
    """The sites that are shown, and how all are."""

    verdict: Verdict
    shown: tuple[SiteVerdict, ...]
    #: Good pieces a day, by site; a day without a report is none.
    sparks: Mapping[str, Sequence[float]]

    @property
    def words(self) -> dict[str, int]:
        """Return how many sites are in which state, in their own words."""
        counted: dict[str, int] = {}
        for each in self.verdict.sites:
            counted[each.words] = counted.get(each.words, 0) + 1
        return counted

    def choices(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return names as they are chosen from."""
        return [(name, name) for name in names]

    @property
    def versions(self) -> list[str]:
        """Return the agents' versions that there are."""
        return sorted({v.picture.hello.version for v in self.verdict.sites if v.picture.hello})

    @property
    def backlog(self) -> int:
        """Return the messages that wait, of all sites."""
        found = [each.picture.backlog for each in self.verdict.sites]
        return sum(each.messages for each in found if each)

    @property
    def reviews(self) -> int:
        """Return the conflicts that wait for a person, of all sites."""
        return sum(each.picture.reviews_open for each in self.verdict.sites)


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=[PAGES], include_in_schema=False)
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    @routes.get("/")
    async def fleet(request: Request, asking: Asking = reads) -> Response:
        revisions = reach.live.of(asking.sites)
        asked = asked_of(request.query_params, asking.sites, reach.guard.today, _FLEET)
        verdict = await read_theirs(reach, asked.sites)
        async with reading(reach.reading, asked.sites) as connection:
            read = await read_panels(connection, (_SPARK,), asked)
        shown = {
            "asked": asked, "revisions": revisions, "signs": SIGNS, "spark": read.panels[0],
            "fleet": Fleet(verdict, _wanted(verdict, asked), sparks(read.panels[0])),
            "sees_all": asking.who.reach[Scope.READ].every,
        }  # fmt: skip
        return page(env, request, "fleet.html", shown, viewer(reach.guard, request))

    @routes.get("/sites/{site}")
    async def one(site: str, request: Request, asking: Asking = reads) -> Response:
        if site not in asking.sites:
            raise NotYourSite(f"no site {site[:40]} here that this key or token reaches")
        revisions = reach.live.of([site])
        asked = asked_of(request.query_params, (site,), reach.guard.today)
        asked = replace(asked, chosen=(site,))  # so the CSV beside a chart is of this site, too
        verdict = await read_theirs(reach, (site,))
        async with reading(reach.reading, (site,)) as connection:
            read = await read_panels(connection, OF_SITE, asked)
        shown = {
            "asked": asked, "revisions": revisions, "signs": SIGNS, "verdict": verdict,
            "site": verdict.sites[0], "read": read, "shared_pos": verdict.picture.centre.shared_pos,
            "fresh": await read_freshness(reach, [site]),
        }  # fmt: skip
        return page(env, request, "site.html", shown, viewer(reach.guard, request))

    return routes


def _wanted(verdict: Verdict, asked: Asked) -> tuple[SiteVerdict, ...]:
    text, words = asked.given.get("q", "").upper(), asked.given.get("status", "")
    version = asked.given.get("version", "")
    return tuple(
        each
        for each in verdict.sites
        if text in each.picture.site
        and words in ("", each.words)
        and version in ("", each.picture.hello.version if each.picture.hello else "")
    )


def sparks(shown: Shown) -> dict[str, list[float]]:
    """Return the good pieces of each day, by site."""
    days = sorted({row["day"] for row in shown.rows})
    found: dict[str, dict[str, float]] = {}
    for row in shown.rows:
        found.setdefault(row["site"], {})[row["day"]] = float(row["qty_good"])
    return {site: [of.get(day, 0.0) for day in days] for site, of in found.items()}
