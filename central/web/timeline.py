"""When machines were in which state, as a bar for each machine: all of it is ``machine-timeline``.

Pure. The scale goes from the first to the last instant that is shown; what is not known is empty.
A colour stands for an element of the time model and is never all there is: each bar has its states
in words beside it, and the table below has every one of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.reports.states import DIMENSIONS_OF_STATES
from central.reports.time_model import Element
from central.web.rendering import figure, instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

#: How wide a bar is in the units of its drawing.
WIDTH: Final = 1000
#: What an element is called where its colour is explained.
ELEMENTS: Final = {
    Element.APT: "production (APT)", Element.AUST: "setup (AUST)", Element.ADET: "delay (ADET)",
    Element.ADOT: "down, without work (ADOT)", Element.PLANNED: "planned stop",
    Element.UNSCHEDULED: "unscheduled", Element.UNMAPPED: "unmapped: nobody said what it is",
}  # fmt: skip
ABOUT: Final = DIMENSIONS_OF_STATES["time_element"].about


@dataclass(frozen=True, slots=True)
class Span:
    """A state in a bar."""

    low: float
    width: float
    element: str
    words: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A machine with its states, in the order of time."""

    site: str
    machine: str
    spans: tuple[Span, ...]
    #: Its states with their minutes, the longest first.
    words: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars on one scale."""

    begins: datetime
    ends: datetime
    bars: tuple[Bar, ...]
    #: The elements that occur, with what they are called.
    legend: tuple[tuple[str, str], ...]


def timeline(rows: Sequence[Mapping[str, Any]]) -> Timeline:
    """Return the bars of an answer that has any rows."""
    begins, ends = min(row["from"] for row in rows), max(row["until"] for row in rows)
    scale = WIDTH / (ends - begins).total_seconds()
    by_machine: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_machine[row["site"], row["machine_id"]].append(row)
    bars = tuple(_bar(found, begins, scale) for found in by_machine.values())
    occur = {row["time_element"] for row in rows}
    legend = tuple((str(each), name) for each, name in ELEMENTS.items() if each in occur)
    return Timeline(begins, ends, bars, legend)


def _bar(rows: Sequence[Mapping[str, Any]], begins: datetime, scale: float) -> Bar:
    minutes: dict[str, float] = defaultdict(float)
    spans = []
    for row in rows:
        minutes[row["state"]] += float(row["state_min"])
        low = (row["from"] - begins).total_seconds() * scale
        width = (row["until"] - row["from"]).total_seconds() * scale
        words = f"{row['state']} from {instant(row['from'])} until {instant(row['until'])}"
        spans.append(Span(round(low, 2), round(width, 2), row["time_element"].lower(), words))
    longest = sorted(minutes.items(), key=lambda each: (-each[1], each[0]))
    words = ", ".join(f"{state} {figure(round(value, 1), 'min')} min" for state, value in longest)
    machine = rows[0]["machine"] or f"unknown ({rows[0]['machine_id']})"
    return Bar(rows[0]["site"], machine, tuple(spans), words)
