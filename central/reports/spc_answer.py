"""The answer to a question about a characteristic: charts, violations, capability, as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from central.reports import capability, spc
from central.reports.reading import number
from central.reports.spc_rules import RULES
from central.reports.spc_values import Readings, Samples, samples_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from central.reports.spc import Chart, ChartType, Plotted, Standard
    from central.reports.spc_rules import Rule
    from central.reports.spc_values import Characteristic, Measured, Sample

_SIGMA_WITHIN: Final = {
    spc.ChartType.I_MR: "MRbar / d2(2)",
    spc.ChartType.XBAR_R: "Rbar / d2(n); mean of R / d2(n) where n differs",
    spc.ChartType.XBAR_S: "sbar / c4(n); mean of s / c4(n) where n differs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be told, once the values are read."""

    characteristic: Characteristic
    chart: ChartType
    rules: tuple[Rule, ...]
    measured: Sequence[Measured]
    #: Of the window that limits are made from; None for that of the chart itself.
    baseline: Sequence[Measured] | None = None
    bins: int | None = None


def answer(question: Question) -> dict[str, Any]:
    """Return what the values tell; raise UnfitChart."""
    samples = samples_of(question.characteristic, question.chart, question.measured)
    of_limits = samples
    if question.baseline is not None:
        of_limits = samples_of(question.characteristic, question.chart, question.baseline)
    of_values = question.chart in spc.OF_VALUES
    tell = _of_values if of_values else _of_counts
    told = tell(question, samples, of_limits)
    return {
        "values": len(question.measured),
        "archived_not_counted": _archived(question.measured),
        "left_out": samples.left_out,
        "subgroups_made_of": samples.made_of,
        "subgroups": [_subgroup(n, sample) for n, sample in enumerate(samples.found)],
        **told,
        "rules": {rule.name: {"text": rule.text, "source": rule.source} for rule in question.rules},
    }


def _archived(measured: Sequence[Measured]) -> int:
    """Return how many months of a window are in the archive, whose values are not there."""
    return measured.archived if isinstance(measured, Readings) else 0


def _subgroup(n: int, sample: Sample) -> dict[str, Any]:
    about = {
        "point": n, "at": sample.at, "result_id": sample.result_id, "sample_no": sample.sample_no,
    }  # fmt: skip
    if sample.counted is not None:
        return about | {"n": sample.counted.n, "found": sample.counted.found}
    return about | {"n": len(sample.values), "values": list(sample.values)}


# --- what is measured ----------------------------------------------------------------------------


def _of_values(question: Question, samples: Samples, of_limits: Samples) -> dict[str, Any]:
    subgroups = [sample.values for sample in samples.found]
    standard = spc.standard_of_values(question.chart, [each.values for each in of_limits.found])
    charts = spc.charts_of_values(question.chart, subgroups, standard)
    values = [value for subgroup in subgroups for value in subgroup]
    within = spc.sigma_within(question.chart, subgroups)
    asked = question.characteristic
    limits = capability.Specification(_float(asked.lsl), _float(asked.usl))
    machines = {each.equipment_id for each in question.measured if each.equipment_id is not None}
    found = capability.indices(values, limits, within, of_one_machine=len(machines) <= 1)
    formula = _SIGMA_WITHIN[question.chart]
    return {
        "limits": _limits(question, standard, of_limits, formula),
        "charts": [_chart(chart, question.rules) for chart in charts],
        "mean": fmean(values) if values else None,
        "sigma": {
            "within": {"value": within, "formula": formula},
            "overall": {
                "value": capability.overall(values),
                "formula": "s = sqrt(sum((x - xbar)^2) / (n - 1))",
            },
        },
        "capability": {name: asdict(index) for name, index in found.items()},
        "outside_specification": asdict(capability.outside(values, limits)),
        "histogram": asdict(capability.histogram(values, question.bins)),
    }


def _of_counts(question: Question, samples: Samples, of_limits: Samples) -> dict[str, Any]:
    chart = question.chart
    standard = spc.standard_of_counts(chart, _counted(of_limits))
    counted = _counted(samples)
    made = spc.chart_of_counts(chart, counted, standard)
    inspected, found = (sum(getattr(each, name) for each in counted) for name in ("n", "found"))
    return {
        "limits": _limits(question, standard, of_limits, made.formula),
        "charts": [_chart(made, question.rules)],
        "inspected": inspected,
        "found": found,
    }


def _counted(samples: Samples) -> list[spc.Counted]:
    return [sample.counted for sample in samples.found if sample.counted is not None]


# --- limits and charts ---------------------------------------------------------------------------


def _limits(
    question: Question, standard: Standard, of_limits: Samples, formula: str
) -> dict[str, Any]:
    made_of = question.measured if question.baseline is None else question.baseline
    return {
        "centre": standard.centre,
        "sigma_within": standard.sigma,
        "subgroups": standard.subgroups,
        "archived_not_counted": _archived(made_of),
        "left_out": of_limits.left_out,
        # ISO 7870-2 asks for 20 to 25 subgroups before limits are held against the process.
        "provisional": standard.subgroups < spc.SUBGROUPS_ENOUGH,
        "formula": formula,
    }


def _chart(chart: Chart, rules: Sequence[Rule]) -> dict[str, Any]:
    fitting = [rule.name for rule in rules if chart.fits(rule)]
    violations = [
        {"rule": each.rule, "point": each.point, "since": each.since, "text": RULES[each.rule].text}
        for each in chart.violations(rules)
    ]
    return {
        "name": chart.name,
        **_lines(chart.points),
        "formula": chart.formula,
        "source": chart.source,
        "points": [_point(point) for point in chart.points],
        "rules": fitting,
        "violations": violations,
    }


def _point(point: Plotted) -> dict[str, Any]:
    return {
        "value": point.value, "centre": point.centre, "lower": point.lower, "upper": point.upper,
    }  # fmt: skip


def _lines(points: Sequence[Plotted]) -> dict[str, float | None]:
    """Return the lines that are the same at each point that has them; None where they differ."""
    found: dict[str, float | None] = {}
    for name in ("centre", "lower", "upper"):
        lines = {getattr(point, name) for point in points if point.value is not None}
        found[name] = lines.pop() if len(lines) == 1 else None
    return found


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def about(characteristic: Characteristic) -> dict[str, Any]:
    """Return a characteristic as JSON-ready values."""
    told = asdict(characteristic)
    return told | {name: number(told[name]) for name in ("target", "lsl", "usl")}
