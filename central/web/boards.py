"""The pages of reports: which questions each asks, and what it can be asked by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response  # noqa: TC002 - FastAPI reads it

from central.access import Scope
from central.api.asking import Asking, asks, reading
from central.api.reach import PAGES
from central.web import waterfall
from central.web.asked import DAYS_USUAL, asked_of
from central.web.freshness import read_freshness
from central.web.panels import Panel, grid, read_panels
from central.web.rendering import page, viewer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jinja2 import Environment

    from central.api.reach import Reach

#: Words to filter by that every report of production takes: its parameter, and what it is called.
WORDS: Final = {
    "machine.contains": "Machine contains",
    "segment.contains": "Operation contains",
    "material.contains": "Part contains",
}
_ORDER_WORDS: Final = {"order.contains": "Order contains", "material.contains": "Part contains"}
_TAKEN: Final = ("group_by", *WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A page of reports."""

    path: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    #: What can be chosen to group by and to cut time by.
    groups: tuple[str, ...] = ()
    buckets: tuple[tuple[str, str], ...] = ()
    words: tuple[tuple[str, str], ...] = tuple(WORDS.items())
    #: Days that it shows where none are named, today included.
    days: int = DAYS_USUAL

    @property
    def ways(self) -> dict[str, str]:
        """Return what it can be grouped by, as the address has it and as people call it."""
        return {_BY[name]: name for name in self.groups}

    @property
    def known(self) -> tuple[str, ...]:
        """Return the parameters of its address that are its own."""
        return ("group_by", "bucket", "cursor", *(name for name, _ in self.words))


#: What can be grouped by, as the address has it. What a plant numbers itself is told apart by site.
_BY: Final = {
    "site": "site", "region": "region", "machine": "site,machine", "machine class": "machine_class",
    "line": "site,line", "operation": "segment", "part": "material", "order": "site,order",
    "shift": "shift", "scrap reason": "scrap_reason",
}  # fmt: skip
_GROUPS: Final = ("machine", "machine class", "line", "site", "operation", "shift", "order")
_MADE: Final = ("site", "machine", "line", "operation", "part", "order", "shift")
_SCRAPPED: Final = (
    "operation", "scrap reason", "machine", "line", "part", "order", "shift", "site",
)  # fmt: skip
_OF_MACHINES: Final = ("machine", "line", "machine class", "site", "region")
_MACHINES: Final = {
    "machine.contains": "Machine contains", "line.contains": "Line contains",
    "machine_class.contains": "Machine class contains",
}  # fmt: skip
_STATES: Final = {**_MACHINES, "state.contains": "State contains"}
_TIMES: Final = (
    "state_availability", "state_technical_efficiency", "state_utilization_efficiency",
    "state_allocation_efficiency", "failures", "state_mtbf_min", "state_mttr_min", "pbt_min",
    "known_min", "unmapped_min",
)  # fmt: skip
_STOOD: Final = {
    "measures": "state_min,entered", "group_by": "site,reason", "sort": "-state_min",
    "share_of": "state_min",
}  # fmt: skip
_PARTS: Final = ("oee", "availability", "effectiveness", "quality_ratio")
#: The first is what is shown by itself.
_DAYS: Final = (("", "day"), ("week", "week"), ("month", "month"))
_BUCKETS: Final = (_DAYS[0], ("hour", "hour"), *_DAYS[1:])
_PIECES: Final = "qty_good,qty_scrap,qty_mrb"

#: Of orders that are due in the days shown, and of those that are late and open from before.
ORDERS: Final = {
    "measures": "due_at,finished_at,qty_ordered,qty_made,progress,orders_open,late_h",
    "due": "or_late", "sort": "-late_h,due_at",
}  # fmt: skip
OF_PROGRESS: Final = (
    "Orders that are due in these days, and those that were due before and are late and not"
    " finished. Good pieces at output operations over what was ordered."
)
ON_TIME: Final = (
    "orders_due", "orders_on_time", "on_time_delivery", "orders_late", "mean_late_h",
    "on_time_in_full",
)  # fmt: skip
ON_TIME_TREND: Final = "on_time_delivery,orders_due,orders_late"
OF_ON_TIME: Final = "Of orders that were due in these days, as far as their sites are known."

BOARDS: Final = (
    Board(
        path="/output", title="Output", about="What was made, over time and by what it was made.",
        groups=_MADE, buckets=_BUCKETS,
        panels=(
            Panel(name="trend", title="Output over time", report="output", drawn="trend",
                  given={"measures": _PIECES, "bucket": "day"}, takes=("bucket", *WORDS),
                  drawn_of=("qty_good", "qty_scrap", "qty_mrb"), says="Pieces by kind."),
            Panel(name="by", title="Output by group", report="output", drawn="bars",
                  given={"group_by": "site", "sort": "-qty_good"}, takes=_TAKEN,
                  drawn_of=("qty_good",)),
        ),
    ),
    Board(
        path="/oee", title="OEE", groups=_OF_MACHINES, buckets=_DAYS,
        words=tuple(_MACHINES.items()),
        about="How much of the planned time became good pieces, and where the rest of it went.",
        panels=(
            Panel(name="waterfall", title="From planned time to OEE", report="output",
                  drawn="waterfall", given={"measures": ",".join(waterfall.MEASURES)},
                  drawn_of=waterfall.LOSSES, takes=tuple(_MACHINES),
                  says="What is left of the planned time after each loss. Pieces count by the time"
                  " that they need, so the parts may multiply to another figure than OEE where"
                  " machines differ in speed."),
            Panel(name="trend", title="OEE over time", report="output", drawn="trend",
                  given={"measures": f"{','.join(_PARTS)},teep,planned_min,qty_unrated",
                         "bucket": "day"},
                  takes=("bucket", *_MACHINES), drawn_of=_PARTS,
                  says="A gap is a day for which it is undefined: nothing was planned, nothing was"
                  " made, or no rate is known."),
            Panel(name="by", title="OEE by group", report="oee", drawn="bars",
                  given={"measures": f"{','.join(_PARTS)},teep,planned_min,qty_unrated",
                         "group_by": "site,machine", "sort": "oee"}, drawn_of=("oee",),
                  takes=("group_by", *_MACHINES), says="The lowest first; undefined ones last."),
        ),
    ),
    Board(
        path="/machines", title="Machine states", groups=_OF_MACHINES, days=1,
        words=tuple(_STATES.items()),
        about="Which time machines were in which state, by the events of their own; one day, where"
        " no other days are chosen.",
        panels=(
            Panel(name="timeline", title="States over time", report="machine-timeline",
                  drawn="timeline", given={"limit": 2000}, takes=tuple(_STATES),
                  drawn_of=("state_min",),
                  says="What a site has not sent yet is not known, and in no state."),
            Panel(name="states", title="Time in states", report="machine-states", drawn="bars",
                  given={"group_by": "site,machine,state", "sort": "site,machine,-state_min"},
                  takes=tuple(_STATES), drawn_of=("state_share",),
                  says="Share of the time of which a machine's state is known."),
            Panel(name="figures", title="Key figures by states", report="machine-states",
                  given={"measures": ",".join(_TIMES), "group_by": "site,machine"},
                  takes=("group_by", *_MACHINES),
                  says="Undefined where nothing is planned, or nothing failed."),
        ),
    ),
    Board(
        path="/downtime", title="Downtime", groups=_GROUPS, buckets=_BUCKETS,
        about="Where breakdowns take the most time, and how long it takes to mend them.",
        panels=(
            Panel(name="pareto", title="Downtime Pareto", report="downtime", drawn="pareto",
                  given={"group_by": "site,machine"}, takes=_TAKEN, drawn_of=("breakdown_min",),
                  says="The longest first."),
            Panel(name="trend", title="Breakdown time over time", report="output", drawn="trend",
                  takes=("bucket", *WORDS), drawn_of=("breakdown_min",),
                  given={"measures": "breakdown_min,breakdowns,mttr_min", "bucket": "day"}),
            Panel(name="reasons", title="Why machines stood", report="machine-states",
                  drawn="pareto", given=_STOOD | {"time_element": ["ADET", "ADOT", "UNMAPPED"]},
                  takes=tuple(_MACHINES), drawn_of=("state_min",),
                  says="By the states of machines, without planned stops: as people noted it, else"
                  " as the event says. The longest first."),
            Panel(name="planned", title="Planned stops", report="machine-states", drawn="pareto",
                  given=_STOOD | {"time_element": ["PLANNED"]}, takes=tuple(_MACHINES),
                  drawn_of=("state_min",), says="By state or reason. The longest first."),
            Panel(name="reliability", title="MTBF and MTTR", report="reliability",
                  given={"group_by": "site,machine"}, takes=_TAKEN),
        ),
    ),
    Board(
        path="/scrap", title="Scrap and first pass yield", groups=_SCRAPPED, buckets=_BUCKETS,
        about="Where scrap comes from, and what passes at the first try.",
        panels=(
            Panel(name="pareto", title="Scrap Pareto", report="scrap", drawn="pareto",
                  takes=_TAKEN, drawn_of=("qty_scrap",), says="The most first."),
            Panel(name="trend", title="Quality over time", report="quality", drawn="trend",
                  given={"measures": "quality_ratio,scrap_ratio,qty_produced", "bucket": "day"},
                  takes=("bucket", *WORDS), drawn_of=("quality_ratio", "scrap_ratio")),
            Panel(name="fpy", title="First pass yield by part", report="fpy", drawn="bars",
                  takes=tuple(WORDS), drawn_of=("fpy",),
                  says="Of the operations that inspect: filter for them by the operation."),
        ),
    ),
    Board(
        path="/orders", title="Orders", buckets=_DAYS, words=tuple(_ORDER_WORDS.items()),
        about="How far orders are and which are late, how many are under way, and how long they"
        " take.",
        panels=(
            Panel(name="progress", title="Order progress", report="orders", drawn="bars",
                  given=ORDERS | {"group_by": "site,order", "limit": 50}, drawn_of=("progress",),
                  takes=("cursor", *_ORDER_WORDS), says=f"{OF_PROGRESS} The latest first."),
            Panel(name="on-time", title="On-time delivery", report="on-time",
                  given={"measures": ",".join(ON_TIME)}, takes=tuple(_ORDER_WORDS),
                  says=OF_ON_TIME),
            Panel(name="on-time-trend", title="On-time delivery over time", report="on-time",
                  given={"measures": ON_TIME_TREND, "bucket": "day"}, drawn="trend",
                  takes=("bucket", *_ORDER_WORDS), drawn_of=("on_time_delivery",),
                  says="By due dates. A gap is a day on which nothing was due."),
            Panel(name="wip", title="Orders under way", report="wip", drawn="trend",
                  takes=tuple(_ORDER_WORDS), drawn_of=("wip_end", "active")),
            Panel(name="throughput", title="Throughput time by part", report="throughput-time",
                  given={"group_by": "material"}, takes=tuple(_ORDER_WORDS), drawn="bars",
                  drawn_of=("median_h",)),
        ),
    ),
    Board(
        path="/utilisation", title="Utilisation", words=tuple(WORDS.items()),
        about="How much of a day machines were busy at all.",
        panels=(
            Panel(name="machines", title="Utilisation by machine", report="output", drawn="bars",
                  given={"measures": "busy_min,calendar_min,utilisation", "nonzero": "busy_min",
                         "group_by": "site,machine", "sort": "-utilisation"},
                  takes=tuple(WORDS), drawn_of=("utilisation",), says="Of all the days shown."),
            Panel(name="heat", title="Utilisation by machine and day", report="utilisation",
                  drawn="heat", given={"group_by": "site,machine"}, takes=tuple(WORDS),
                  drawn_of=("utilisation",)),
        ),
    ),
    Board(
        path="/benchmark", title="Benchmark", groups=("site", "region"), words=(),
        about="Sites side by side, by the same definitions and of the same days.",
        panels=(
            Panel(name="benchmark", title="Sites side by side", report="benchmark", drawn="bars",
                  takes=("group_by",),
                  drawn_of=("quality_ratio", "scrap_ratio", "setup_ratio", "mttr_min")),
            Panel(name="oee", title="OEE side by side", report="oee", drawn="bars",
                  given={"measures": f"{','.join(_PARTS)},teep,planned_min,qty_unrated",
                         "group_by": "site", "sort": "-oee"},
                  takes=("group_by",), drawn_of=("oee",), says="The highest first."),
            Panel(name="on-time", title="On-time delivery side by side", report="on-time",
                  given={"measures": ",".join(ON_TIME), "group_by": "site",
                         "sort": "-on_time_delivery"}, drawn="bars",
                  takes=("group_by",), drawn_of=("on_time_delivery",), says=OF_ON_TIME),
        ),
    ),
)  # fmt: skip


def router(reach: Reach, env: Environment) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=[PAGES], include_in_schema=False)
    for board in BOARDS:
        routes.add_api_route(board.path, _shows(reach, env, board), name=board.title)
    return routes


def _shows(reach: Reach, env: Environment, board: Board) -> Callable[..., Awaitable[Response]]:
    reads: Any = Depends(asks(reach.guard, Scope.READ))

    async def show(request: Request, asking: Asking = reads) -> Response:
        revisions = reach.live.of(asking.sites)  # before the rows are read: never too new
        today = reach.guard.today
        asked = asked_of(request.query_params, asking.sites, today, board.known, board.days)
        async with reading(reach.reading, asked.sites) as connection:
            found = await read_panels(connection, board.panels, asked)
        fresh = await read_freshness(reach, asked.sites)
        shown = {
            "board": board, "asked": asked, "read": found, "fresh": fresh,
            "revisions": revisions, "grid": partial(grid, down=("site", "machine"), across="day"),
        }  # fmt: skip
        return page(env, request, "board.html", shown, viewer(reach.guard, request))

    return show
