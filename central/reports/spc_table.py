"""Control charts as a table: a line for each point of each chart, with the rules that it breaks."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.documents import cell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: Values that a specification is of; a chart of means or of spreads is held against none.
_OF_VALUES: Final = "individuals"
_COLUMNS: Final = (
    "chart", "point", "at", "result_id", "sample_no", "value", "centre", "lower", "upper", "lsl",
    "usl", "violations", "complete_through",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A point of a chart with the lines at its place; None where there is none."""

    point: int
    at: datetime
    result_id: Any
    sample_no: int | None
    value: float | None
    centre: float | None
    lower: float | None
    upper: float | None
    lsl: float | None
    usl: float | None
    #: Names of the rules that fire on it.
    violations: tuple[str, ...]


def lines(told: Mapping[str, Any], chart: Mapping[str, Any]) -> list[Line]:
    """Return the points of a chart of an answer (see ``spc_answer``).

    Limits of the specification stand beside single values alone: a mean within them says nothing of
    the pieces that it is of.
    """
    fired: dict[int, list[str]] = defaultdict(list)
    for each in chart["violations"]:
        fired[each["point"]].append(each["rule"])
    is_held = chart["name"] == _OF_VALUES
    about = told["characteristic"]
    lsl, usl = (about[name] if is_held else None for name in ("lsl", "usl"))
    return [
        Line(
            point=n, at=sample["at"], result_id=sample["result_id"],
            sample_no=sample["sample_no"], **point, lsl=lsl, usl=usl, violations=tuple(fired[n]),
        )
        for n, (sample, point) in enumerate(zip(told["subgroups"], chart["points"], strict=True))
    ]  # fmt: skip


def to_csv(told: Mapping[str, Any]) -> str:
    """Return all charts of an answer, one after another (RFC 4180)."""
    text = io.StringIO()
    written = csv.writer(text)
    written.writerow(_COLUMNS)
    (through,) = told["complete_through"].values()
    for chart in told["charts"]:
        for line in lines(told, chart):
            values = [getattr(line, name) for name in _COLUMNS[1:-2]]
            row = [chart["name"], *values, " ".join(line.violations), through]
            written.writerow([cell(each) for each in row])
    return text.getvalue()
