"""What a comparison came to, as a person reads it, at the site and at the centre alike.

Pure: lines of the report as it travels (``edge.differences.document``). Whatever was not compared,
not equal or not repaired has its line, so that nobody takes silence for equality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.look import counted, painted, short, size, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Report = Mapping[str, Any]

_VALUE_MAX: Final = 24
_NAME_MAX: Final = 20
_WHAT: Final = {
    "different": "other values",
    "missing": "only at the centre",
    "extra": "only {here}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """From where the report is read: what is called here, and what can be typed there."""

    #: Without the tables that were asked for.
    command: str
    #: Title of the column with the site's values.
    title: str
    #: Where the site's rows are: "here", or "at the site".
    here: str
    #: What to do about rows that are on their way.
    moving: str
    #: What lists rows that stand aside at the site.
    aside: str
    #: What lists rows that wait at the centre.
    parked: str
    #: What shows values that were overwritten.
    history: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command was given: the tables, none for all; whether to repair."""

    tables: Sequence[str] = ()
    repair: bool = False


def is_equal(report: Report) -> bool:
    """Return whether tables were compared, and no row of them differs any more."""
    return not (report.get("failed") or report["differing"] or _unfinished(report))


def _unfinished(report: Report) -> bool:
    return not _compared(report) or any(each["more"] for each in report["tables"])


def _compared(report: Report) -> list[Mapping[str, Any]]:
    return [each for each in report["tables"] if not each["skipped"]]


def lines(seat: Seat, report: Report, asked: Asked) -> Iterator[str]:
    """Yield a verdict, the rows that differ, what was left out, and what to type next."""
    yield f"{_word(report)}  {report['site']}: {_verdict(report)} ({_cost(report)})"
    for each in report["tables"]:
        if each["differing"]:
            counts = f"{each['different']} different, {each['missing']} missing"
            yield f"  {each['table']}: {counts}, {each['extra']} extra"
    yield from _rows(seat, report)
    yield from _left_out(seat, report["tables"])
    more = any(each["more"] for each in report["tables"])
    if more or (report["differing"] and not asked.repair):
        tables = "".join(f" --table {name}" for name in asked.tables)
        yield _line("next", f"{seat.command}{tables} --repair")


def _word(report: Report) -> str:
    if report["differing"]:
        return painted("DIFFERENT", "degraded")
    return painted("PARTLY", "degraded") if _unfinished(report) else painted("EQUAL", "ok")


def _cost(report: Report) -> str:
    return f"{report['took_ms'] / 1000:.1f} s, " + size(
        report["sent_bytes"] + report["received_bytes"]
    )


def _verdict(report: Report) -> str:
    tables, found, left = _compared(report), report["found"], report["differing"]
    if not tables:
        return "no table was compared"
    rows = counted(sum(each["rows"] for each in tables), "row", "rows")
    of_all = f"{rows} of {counted(len(tables), 'table', 'tables')}"
    if not found:
        return f"{of_all} are the same at both ends" + (
            ", but for what was left out" if _is_any_left_out(report) else ""
        )
    if found == left:
        return f"{counted(found, 'row differs', 'rows differ')}, of {of_all}"
    still = f"{left} differ still" if left else "none differs any more"
    return f"{counted(found, 'row', 'rows')} differed, {still}; of {of_all}"


# --- rows that differ ----------------------------------------------------------------------------


def _rows(seat: Seat, report: Report) -> Iterator[str]:
    differences = report["differences"]
    if not differences:
        return
    cells = [
        (each["table"], _name(each), *cell, _WHAT[each["state"]].format(here=seat.here))
        for each in sorted(differences, key=lambda each: each["state"] != "different")
        for cell in _cells(each)
    ]
    titles = ("TABLE", "ROW", "COLUMN", seat.title, "CENTRE", "WHAT")
    yield from table(titles, cells, shrink=(seat.title, "CENTRE"))
    if report["found"] > len(differences):
        yield f"and {counted(report['found'] - len(differences), 'row more', 'rows more')}"
    yield from _said(seat, differences)


def _cells(difference: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """Yield column, the site's value and the centre's; of a row that one end lacks, no values."""
    if difference["state"] != "different":
        yield "*", None, None
        return
    for column, pair in difference["columns"].items():
        yield column, _shown(pair["here"]), _shown(pair["centre"])


def _name(difference: Mapping[str, Any]) -> str:
    return short(difference["name"] or difference["id"][-8:], _NAME_MAX)


def _shown(value: object) -> str:
    return "null" if value is None else short(value, _VALUE_MAX)


def _said(seat: Seat, differences: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the causes and the repairs mean, each once; a newer site's word as it is."""
    causes, repairs = _causes(seat), _repairs(seat)
    for cause in dict.fromkeys(each["cause"] for each in differences if each["cause"]):
        yield _line("cause", causes.get(cause, cause))
    for repair in dict.fromkeys(each["repair"] for each in differences if each["repair"]):
        count = sum(each["repair"] == repair for each in differences)
        yield _line("repair", f"{counted(count, 'row', 'rows')}: {repairs.get(repair, repair)}")


def _causes(seat: Seat) -> dict[str, str]:
    """Return the causes in words; a row is altered past the triggers, or by a fault of the disk."""
    altered = "both ends name the same version: the row was changed past the bookkeeping"
    return {
        "altered": f"{altered}, at one of them",
        "altered_here": f"{altered}, {seat.here}",
        "altered_at_the_centre": f"{altered}, at the centre",
        "behind": "the ends name different versions: a decision did not arrive",
    }


def _repairs(seat: Seat) -> dict[str, str]:
    return {
        "sent": f"the centre sends its row; what stood {seat.here} is in `{seat.history}`",
        "resend": "sent to the centre again",
        "restored": f"lost at the centre; put back there as it stands {seat.here}",
        "keys": "keys put right",
        "lost": "lost at the centre, and can't be put back from the site: restore it there",
        "moved": "written meanwhile; run it again",
    }


# --- what was left out ---------------------------------------------------------------------------


def _is_any_left_out(report: Report) -> bool:
    names = ("moving", "aside", "parked", "more", "skipped", "unknown")
    return any(each[name] for each in report["tables"] for name in names)


def _left_out(seat: Seat, tables: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name, one, many, text in (
        ("moving", "row", "rows", f"on the way, could not be compared; {seat.moving}"),
        ("aside", "row stands", "rows stand", f"aside {seat.here}: {seat.aside}"),
        ("parked", "row waits", "rows wait", f"at the centre, or given up there: {seat.parked}"),
    ):
        if count := sum(each[name] for each in tables):
            yield _line("left out", f"{counted(count, one, many)} {text}")
    for each in tables:
        if each["skipped"]:
            yield _line("left out", f"{each['table']}: {each['skipped']}")
        if each["more"]:
            yield _line("left out", f"{each['table']}: more rows differ; repair these, then go on")
        if each["unknown"]:
            lacking = ", ".join(each["unknown"])
            yield _line("left out", f"{each['table']}: the centre lacks {lacking}")


def _line(name: str, text: str) -> str:
    return f"  {name:<10}{text}"
