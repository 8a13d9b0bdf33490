"""A part of a page: one question, its answer as table and chart, and where its numbers come from.

What a panel shows is what ``/v1/reports`` answers to the same parameters, so the address of its CSV
is the address of the very question. Pure but for ``read_panels``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from central.api.exports import OF_THE_ANSWER
from central.api.reach import V1
from central.reports.dimensions import DIMENSIONS
from central.reports.named import REPORTS, read_report
from central.reports.states import DIMENSIONS_OF_STATES
from central.web.columns import Column, column
from central.web.rendering import figure, query
from central.web.timeline import Timeline, timeline
from central.web.waterfall import Waterfall, waterfall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from central.reports.answer import Answer
    from central.web.asked import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A question of a page, and how its answer is drawn."""

    name: str
    title: str
    report: str
    #: What is asked beside sites and days.
    given: Mapping[str, Any] = field(default_factory=dict)
    #: Which of the page's own parameters it takes; ``group_by`` and ``bucket`` among them.
    takes: Sequence[str] = ()
    #: table, trend (over time), pareto (bars with their share), bars, heat (machine by day),
    #: waterfall (from planned time to OEE), or timeline (states of machines).
    drawn: str = "table"
    #: The columns that are drawn; of a Pareto the first is the bar.
    drawn_of: tuple[str, ...] = ()
    #: What to read out of it, in a sentence.
    says: str = ""

    def params(self, asked: Asked) -> dict[str, Any]:
        """Return the parameters of its question."""
        own = {name: asked.given[name] for name in self.takes if name in asked.given}
        filters = {name: [text] if _is_filter(name) else text for name, text in own.items()}
        sites = {"site": list(asked.chosen)} if asked.chosen else {}
        return {"from": asked.start, "to": asked.end, **self.given, **sites, **filters}


def _is_filter(name: str) -> bool:
    return name.partition(".")[0] in (DIMENSIONS | DIMENSIONS_OF_STATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A panel with its answer."""

    panel: Panel
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    provisional: bool
    #: When a late report changed these days, the last time that it was after they were over.
    restated_at: datetime | None
    #: Months of sites in the archive that it does not count.
    archived_not_counted: int
    #: Address of the same numbers as CSV, and parameter of the page for what follows.
    csv: str
    cursor: str | None
    #: Where all of it can be had as a file; empty for a report that is not exported.
    export: str

    @property
    def drawn(self) -> tuple[Column, ...]:
        """Return the columns that are drawn."""
        return tuple(each for each in self.columns if each.name in self.panel.drawn_of)

    @property
    def summary(self) -> str:
        """Return in a sentence what a chart shows, for who does not see it."""
        spans = []
        for each in self.drawn:
            values = [row[each.name] for row in self.rows if row[each.name] is not None]
            if values:
                low, high = figure(min(values), each.unit), figure(max(values), each.unit)
                spans.append(f"{each.label} from {low} to {high}")
        return f"{self.panel.title}: {'; '.join(spans) or 'no values'}."

    @property
    def waterfall(self) -> Waterfall:
        """Return the losses of OEE that its one row tells."""
        return waterfall(self.rows[0])

    @property
    def timeline(self) -> Timeline:
        """Return the states of machines that its rows tell."""
        return timeline(self.rows)

    def most(self, column: Column) -> float:
        """Return what a full bar stands for: a column's largest value, of shares at least 1."""
        largest = max((float(row[column.name] or 0) for row in self.rows), default=0.0)
        return max(largest, 1.0) if column.unit == "ratio" or not largest else largest


def shown(panel: Panel, params: Mapping[str, Any], answer: Answer) -> Shown:
    """Return a panel with its answer."""
    asked = query({name: value for name, value in params.items() if value}, format="csv")
    return Shown(
        panel=panel, columns=tuple(map(column, answer.columns)), rows=answer.rows,
        provisional=answer.provisional, restated_at=answer.restated_at,
        archived_not_counted=answer.archived_not_counted,
        csv=f"{V1}/reports/{panel.report}?{asked}",
        cursor=answer.cursor, export=_export(panel.report, params),
    )  # fmt: skip


def _export(report: str, params: Mapping[str, Any]) -> str:
    if report not in REPORTS:
        return ""
    whole = {name: value for name, value in params.items() if value and name not in OF_THE_ANSWER}
    return f"/exports?{query(whole, report=report)}"


@dataclass(frozen=True, slots=True)
class Read:
    """The panels of a page, and the moment that they are of."""

    panels: tuple[Shown, ...]
    as_of: datetime


async def read_panels(
    connection: AsyncConnection[Any], panels: Sequence[Panel], asked: Asked
) -> Read:
    """Ask what panels ask, in the caller's transaction, which knows the sites."""
    found, as_of = [], None
    for panel in panels:
        params = panel.params(asked)
        answer = await read_report(connection, asked.sites, panel.report, params)
        as_of = as_of or answer.as_of
        found.append(shown(panel, params, answer))
    assert as_of is not None
    return Read(tuple(found), as_of)


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers by two things: what the rows are about, and the days."""

    days: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


def grid(shown: Shown, down: Sequence[str], across: str, value: str) -> Grid:
    """Return an answer as a grid; None where it says nothing."""
    days = tuple(sorted({str(row[across]) for row in shown.rows}))
    lines: dict[str, dict[str, float | None]] = {}
    for row in shown.rows:
        lines.setdefault(" ".join(str(row[name]) for name in down), {})[str(row[across])] = row[
            value
        ]
    return Grid(days, tuple(
        (name, tuple(found.get(day) for day in days)) for name, found in sorted(lines.items())
    ))  # fmt: skip
