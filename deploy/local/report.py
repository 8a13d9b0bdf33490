"""What the demo prints at its end: pure, from what was measured to text and verdict."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from deploy.local.contents import Comparison
    from deploy.local.quarrel import Outcome

WIDTH: Final = 96
#: More sites than this are shown as one column.
COLUMNS_MAX: Final = 4
VALUE_CHARS_MAX: Final = 60
PARKED_SHOWN_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """So many rows, from the first commit at a site to the last one seen at the centre."""

    what: str
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """Something that has to hold, and what is wrong where it does not."""

    claim: str
    wrong: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything that a run has found out."""

    sites: tuple[str, ...]
    comparisons: Sequence[Comparison]
    outcomes: Sequence[Outcome]
    #: Conflicts on record, by policy.
    conflicts: Mapping[str, int]
    #: One row of sync_conflicts, by column.
    shown: Mapping[str, Any] | None
    #: Site, table, reason and message of each parked row.
    parked: Sequence[tuple[str, str, str, str]]
    latencies_ms: Sequence[float]
    probes_lost: int
    rates: Sequence[Rate]
    #: Name of each question to the loaded log, and in what the answer is wrong.
    answers: Mapping[str, str] = field(default_factory=dict)


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest value that at least this share of the values does not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def checks(found: Measured) -> list[Check]:
    """Return everything that has to hold, each with what is wrong."""
    unequal = [f"{c.table} of {c.site}: {_difference(c)}" for c in found.comparisons if not c.equal]
    quarrels = [f"{o.quarrel.key[1]}: {o.wrong}" for o in found.outcomes if o.wrong]
    parked = f"{len(found.parked)} rows are parked" if found.parked else ""
    lost = f"{found.probes_lost} were not seen in time" if found.probes_lost else ""
    timed = lost or ("" if found.latencies_ms else "none was made")
    answers = [f"{name}: {wrong}" for name, wrong in found.answers.items() if wrong]
    return [
        Check("each table holds the same rows at both ends", "; ".join(unequal)),
        Check("each contested row stands as its policy says, at both ends", "; ".join(quarrels)),
        Check("no row is parked", parked),
        Check("each probe was seen at the centre", timed),
        *(
            [Check(f"the log's sums are right ({', '.join(found.answers)})", "; ".join(answers))]
            if found.answers
            else []
        ),
    ]


def text(found: Measured) -> str:
    """Return the whole report but its last lines, which say where to look next."""
    sections = [
        ("Rows per table, at the site = in its share at the centre", _tables(found)),
        ("Written at both ends while the link was cut", _outcomes(found.outcomes)),
        ("Conflicts on record", _conflicts(found)),
        ("Parked", _parked(found.parked)),
        ("From an edge commit to visible at the centre", _latency(found)),
        ("Throughput, edge commit to the centre's tables", _rates(found.rates)),
    ]
    if found.answers:
        sections.append(("The log's sums at the centre against answers.json", _answers(found)))
    sections.append(("Verdict", _verdict(checks(found))))
    lines: list[str] = []
    for title, body in sections:
        lines += ["", title, "-" * len(title), *body]
    return "\n".join(lines) + "\n"


# --- sections --------------------------------------------------------------------------------


def _tables(found: Measured) -> list[str]:
    by_table = sorted(found.comparisons, key=lambda c: (c.table, c.site))
    many = len(found.sites) > COLUMNS_MAX
    heads = [f"{len(found.sites)} sites"] if many else list(found.sites)
    lines = [_cells("", heads)]
    empty = []
    for table, group in groupby(by_table, key=lambda c: c.table):
        each = list(group)
        if not any(c.edge.rows or c.centre.rows for c in each):
            empty.append(table)
        elif many:
            lines.append(_cells(table, [_all_sites(each)]))
        else:
            lines.append(_cells(table, [_equation(c) for c in each]))
    sites = [[c for c in by_table if c.site == site] for site in found.sites]
    lines.append(_cells("all", [_all_sites(by_table)] if many else [_all_sites(s) for s in sites]))
    if empty:
        lines.append(f"no rows in {', '.join(empty)}")
    lines += [f"DIFFERS: {c.table} of {c.site}: {_difference(c)}" for c in by_table if not c.equal]
    return _wrapped(lines)


def _equation(each: Comparison) -> str:
    return f"{each.edge.rows} = {each.centre.rows}" if each.equal else _unequal(each)


def _unequal(each: Comparison) -> str:
    same_count = each.edge.rows == each.centre.rows
    return f"{each.edge.rows} {'~' if same_count else '/'} {each.centre.rows} !"


def _all_sites(each: Sequence[Comparison]) -> str:
    here, there = (sum(getattr(c, end).rows for c in each) for end in ("edge", "centre"))
    return f"{here} = {there}" if all(c.equal for c in each) else f"{here} / {there} !"


def _difference(each: Comparison) -> str:
    rows = ", ".join(each.differing)
    if each.edge.rows != each.centre.rows:
        return f"{each.edge.rows} rows at the site, {each.centre.rows} at the centre ({rows})"
    return f"{each.edge.rows} rows with other values ({rows})"


def _outcomes(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for outcome in outcomes:
        quarrel = outcome.quarrel
        row = f"{quarrel.key[1]:<8} {quarrel.policy or 'merged':<15} {quarrel.what}"
        lines.append(f"{'ok' if not outcome.wrong else 'WRONG':<6}{row}")
        here, centre = _written(quarrel.here), _written(quarrel.central)
        lines.append(f"{'':<6}{'':<8} site {here} | centre {centre} -> {_written(outcome.centre)}")
        if outcome.wrong:
            lines.append(f"{'':<6}{'':<8} {outcome.wrong}")
    return lines or ["nothing"]


def _written(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return "deleted"
    return ", ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: object) -> str:
    shown = "null" if value is None else str(value)
    return shown if len(shown) <= VALUE_CHARS_MAX else f"{shown[: VALUE_CHARS_MAX - 1]}…"


def _conflicts(found: Measured) -> list[str]:
    if not found.conflicts:
        return ["none"]
    lines = [f"{policy:<16}{count:>6}" for policy, count in sorted(found.conflicts.items())]
    lines.append(f"{'all':<16}{sum(found.conflicts.values()):>6}")
    if found.shown is not None:
        lines += ["", "One of them in full:", *_conflict(found.shown)]
    return lines


def _conflict(row: Mapping[str, Any]) -> list[str]:
    clamped = ", held to the bound" if row["clock_clamped"] else ""
    pairs = [
        ("row", f"{row['table_name']} {row['row_id']}"),
        ("columns", f"{row['column_group']}, policy {row['policy']}"),
        ("both had seen", f"{_json(row['base_value'])} (version {row['base_version']})"),
        ("the site wrote", _json(row["here_value"])),
        ("  by", f"{row['here_writer']} at {row['here_site']}, {row['here_at']}{clamped}"),
        ("the centre wrote", _json(row["central_value"])),
        ("  by", f"{row['central_writer']} at {row['central_site']}, {row['central_at']}"),
        ("verdict", f"{row['verdict']}: {_json(row['result_value'])}"),
        ("decided", f"{row['decided_at']}, transaction {row['tx_id']}"),
    ]
    return [f"  {name:<18}{value}" for name, value in pairs]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parked(parked: Sequence[tuple[str, str, str, str]]) -> list[str]:
    lines = [
        f"{site} {table}: {reason}: {message}"
        for site, table, reason, message in parked[:PARKED_SHOWN_MAX]
    ]
    if len(parked) > PARKED_SHOWN_MAX:
        lines.append(f"and {len(parked) - PARKED_SHOWN_MAX} more")
    return lines or ["nothing"]


def _latency(found: Measured) -> list[str]:
    p50, p99 = (percentile(found.latencies_ms, share) for share in (0.5, 0.99))
    if p50 is None or p99 is None:
        return ["no probe was seen"]
    return [f"p50 {p50:.0f} ms, p99 {p99:.0f} ms ({len(found.latencies_ms)} probes)"]


def _rates(rates: Sequence[Rate]) -> list[str]:
    return [
        f"{rate.what}: {rate.rows:,} rows in {rate.seconds:.1f} s,"
        f" {rate.rows / max(rate.seconds, 0.001):,.0f} rows/s"
        for rate in rates
    ] or ["not measured"]


def _answers(found: Measured) -> list[str]:
    return [f"{name:<6}{wrong or 'exactly equal'}" for name, wrong in found.answers.items()]


def _verdict(made: Sequence[Check]) -> list[str]:
    lines = []
    for check in made:
        lines.append(f"{'holds' if not check.wrong else 'BROKEN':<8}{check.claim}")
        if check.wrong:
            lines.append(f"{'':<8}{check.wrong}")
    return lines


def _cells(name: str, cells: Iterable[str]) -> str:
    return f"{name:<28}" + "".join(f"{cell:>18}" for cell in cells)


def _wrapped(lines: Iterable[str]) -> list[str]:
    """Break lines of names that are too long, at commas."""
    wrapped = []
    for line in lines:
        rest = line
        while len(rest) > WIDTH and (at := rest.rfind(", ", 0, WIDTH)) > 0:
            wrapped.append(rest[: at + 1])
            rest = f"  {rest[at + 2 :]}"
        wrapped.append(rest)
    return wrapped
