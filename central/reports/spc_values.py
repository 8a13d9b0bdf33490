"""Characteristics and their values, read and put into subgroups.

A subgroup is a sample: the values of one inspection result. Where each result has one value only,
and the characteristic asks for subgroups, it is so many values one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.reports.reading import archived, rows, with_shared
from central.reports.spc import OF_VALUES, ChartType, Counted
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from psycopg import AsyncConnection

VALUES_MAX: Final = 10_000
LISTED_MAX: Final = 200
#: By how much the moments of a value and of its result may differ.
_SLACK: Final = timedelta(days=1)
#: From here on a chart of s tells more than one of ranges; Montgomery, section 6.3.
_LARGE: Final = 11


class UnknownCharacteristic(SyncError):
    """There is no such characteristic, or none that the asker reaches."""


class TooManyValues(SyncError):
    """A chart would hold more values than one may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """What is inspected, as its row tells it."""

    id: UUID
    site: str
    plan_id: UUID
    name: str
    kind: str
    target: Decimal | None
    lsl: Decimal | None
    usl: Decimal | None
    uom: str | None
    subgroup_size: int | None
    chart_type: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A characteristic, and the plan that it is of."""

    plan_code: str | None
    characteristic: Characteristic


@dataclass(frozen=True, slots=True)
class Window:
    """From an instant until before another."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose values, and of which machine; None stands for any."""

    characteristic: Characteristic
    site: str
    equipment: UUID | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One value, or one piece that was judged."""

    at: datetime
    result_id: UUID
    sample_no: int | None
    equipment_id: UUID | None
    value: Decimal | None
    uom: str | None
    passed: bool | None
    defects: int | None


class Readings(list[Measured]):
    """Values, and how many months of their window are in the archive, whose values they lack."""

    archived: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A point of a chart: when it was taken, and what of it is plotted."""

    at: datetime
    result_id: UUID
    sample_no: int | None
    values: tuple[float, ...] = ()
    counted: Counted | None = None


@dataclass(slots=True)
class Samples:
    """The samples of a window, and what was left out of them."""

    found: list[Sample] = field(default_factory=list)
    #: ``results`` or ``consecutive`` values.
    made_of: str = "results"
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, why: str, number: int = 1) -> None:
        """Count what does not take part."""
        if number:
            self.left_out[why] = self.left_out.get(why, 0) + number


async def read_characteristic(
    connection: AsyncConnection[Any], sites: Sequence[str], name: UUID
) -> Characteristic:
    """Return a characteristic of these sites or of all; raise UnknownCharacteristic."""
    given = {"sites": with_shared(sites), "id": name}
    found = await rows(connection, "read_characteristic", given)
    if not found:
        raise UnknownCharacteristic(f"no characteristic {name} here that this key or token reaches")
    return Characteristic(**found[0])


async def find_characteristics(
    connection: AsyncConnection[Any], sites: Sequence[str], text: str, *, most: int = LISTED_MAX
) -> tuple[list[Found], bool]:
    """Return characteristics whose name, or whose plan's, holds a text, and whether there are more.

    In the order of their plans.
    """
    given = {"sites": with_shared(sites), "text": text.lower(), "limit": most + 1}
    found = await rows(connection, "find_characteristics", given)
    listed = [Found(row.pop("plan_code"), Characteristic(**row)) for row in found[:most]]
    return listed, len(found) > most


async def read_measured(connection: AsyncConnection[Any], asked: Asked, window: Window) -> Readings:
    """Return the values of a window in the order they were made; raise TooManyValues."""
    given = {
        "site": asked.site, "characteristic": asked.characteristic.id, "from": window.begin,
        "to": window.end, "equipment": asked.equipment, "slack": _SLACK,
        "values_max": VALUES_MAX + 1,
    }  # fmt: skip
    found = Readings(Measured(**row) for row in await rows(connection, "read_measurements", given))
    last = (window.end - timedelta(microseconds=1)).astimezone(UTC)
    months = (f"{window.begin.astimezone(UTC):%Y-%m}", f"{last:%Y-%m}")
    found.archived = await archived(connection, "measurements", [asked.site], months)
    if len(found) > VALUES_MAX:
        raise TooManyValues(
            f"a chart has {VALUES_MAX:,} values at most, and there are more from"
            f" {window.begin.isoformat()} to {window.end.isoformat()}; ask for a shorter window, or"
            " for one machine by equipment_id"
        )
    return found


#: How plants write the names of charts, without what is no letter.
_NAMES: Final = {
    "IMR": ChartType.I_MR, "I": ChartType.I_MR, "XMR": ChartType.I_MR, "IX": ChartType.I_MR,
    "INDIVIDUALS": ChartType.I_MR, "XBARR": ChartType.XBAR_R, "XR": ChartType.XBAR_R,
    "XBARS": ChartType.XBAR_S, "XS": ChartType.XBAR_S, "P": ChartType.P, "NP": ChartType.NP,
    "C": ChartType.C, "U": ChartType.U,
}  # fmt: skip


def chart_of(characteristic: Characteristic, measured: Iterable[Measured]) -> tuple[ChartType, str]:
    """Return the chart for a characteristic, and what it was chosen by.

    By its chart_type where that names one which fits its kind, else by the size of its subgroups;
    of what is judged, u where defects were counted, else p.
    """
    is_counted = characteristic.kind == "ATTRIBUTE"
    letters = "".join(filter(str.isalpha, characteristic.chart_type or "")).upper()
    named = _NAMES.get(letters)
    if named is not None and fits(characteristic, named):
        return named, "chart_type"
    if is_counted:
        has_defects = any(each.defects is not None for each in measured)
        return ChartType.U if has_defects else ChartType.P, "kind"
    size = characteristic.subgroup_size or 1
    if size == 1:
        return ChartType.I_MR, "subgroup_size"
    return ChartType.XBAR_R if size < _LARGE else ChartType.XBAR_S, "subgroup_size"


def fits(characteristic: Characteristic, chart: ChartType) -> bool:
    """Return whether a chart is of what the characteristic measures or judges."""
    return (chart in OF_VALUES) == (characteristic.kind == "VARIABLE")


def samples_of(
    characteristic: Characteristic, chart: ChartType, measured: Sequence[Measured]
) -> Samples:
    """Return the samples that a chart plots, in order."""
    if chart in OF_VALUES:
        return _of_values(characteristic, chart, measured)
    samples = Samples()
    counts_defects = chart in (ChartType.C, ChartType.U)
    told = [
        each for each in measured if (each.defects if counts_defects else each.passed) is not None
    ]
    samples.leave_out("not judged", len(measured) - len(told))
    for one in _by_result(told):
        found = sum(each.defects or 0 if counts_defects else not each.passed for each in one)
        samples.found.append(_sample(one, counted=Counted(len(one), found)))
    return samples


def _of_values(
    characteristic: Characteristic, chart: ChartType, measured: Sequence[Measured]
) -> Samples:
    samples = Samples()
    valued = [each for each in measured if each.value is not None]
    samples.leave_out("not measured", len(measured) - len(valued))
    unit = characteristic.uom
    alike = [each for each in valued if unit is None or each.uom in (None, unit)]
    samples.leave_out("another unit", len(valued) - len(alike))
    results = _by_result(alike)
    size = characteristic.subgroup_size or 1
    if chart is ChartType.I_MR:
        samples.made_of = "values"
        results = [[each] for each in alike]
    elif size > 1 and all(len(one) == 1 for one in results):
        samples.made_of = "consecutive values"
        whole = len(alike) // size * size
        samples.leave_out("incomplete subgroup", len(alike) - whole)
        results = [list(alike[k : k + size]) for k in range(0, whole, size)]
    samples.found = [
        _sample(one, values=tuple(float(each.value) for each in one if each.value is not None))
        for one in results
    ]
    return samples


def _by_result(measured: Iterable[Measured]) -> list[list[Measured]]:
    found: dict[UUID, list[Measured]] = {}
    for each in measured:
        found.setdefault(each.result_id, []).append(each)
    return list(found.values())


def _sample(
    one: Sequence[Measured], *, values: tuple[float, ...] = (), counted: Counted | None = None
) -> Sample:
    first = one[0]
    return Sample(first.at, first.result_id, first.sample_no, values, counted)
