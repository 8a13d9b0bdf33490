"""The real production log: loaded at the sites, and asked about at the centre."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.reports.named import read_report
from central.reports.question import ROWS_MAX
from deploy.local.fleet import CODE, EDGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploy.local.world import World

MAP: Final = CODE / "docs" / "maps" / "production_log.toml"
#: Imports at a time: each is busy on one core.
TOGETHER: Final = 2
IMPORT_MAX_S: Final = 180.0

#: What is asked for over everything, and what answers.json calls it.
TOTALS: Final = {
    "reports": "rows", "orders": "cases", "machines": "resources", "segments": "activities",
    "persons": "workers", "materials": "parts", "first_start": "min_start",
    "last_start": "max_start", "first_end": "min_complete", "last_end": "max_complete",
    "qty_good": "qty_completed", "qty_scrap": "qty_rejected", "qty_mrb": "qty_mrb",
    "qty_produced": "produced", "qty_ordered": "wo_qty_sum_over_cases",
    "elapsed_min": "elapsed_min", "span_min": "span_min", "recorded_min": "recorded_min",
}  # fmt: skip
PIECES: Final = ("qty_good", "qty_scrap", "qty_mrb")
BY_TYPE: Final = ("reports", *PIECES, "elapsed_min", "recorded_min", "span_min")
#: Letters of the shop floor's report forms.
LETTERS: Final = {"PRODUCTION": "D", "SETUP": "S", "BREAKDOWN": "B"}


def import_everywhere(world: World, data: Path) -> None:
    """Import each site's part of the file into its store, beside its running agent."""
    count = len(world.sites)
    for start in range(0, count, TOGETHER):
        some = list(enumerate(world.sites, 1))[start : start + TOGETHER]
        for number, site in some:
            world.fleet.start(
                f"{site}-import", EDGE, "import", str(data), "--map", str(MAP),
                "--part", str(number), "--parts", str(count),
                "--rejects", str(world.store(site).with_name("rejects.csv")),
                **world.edge_settings(site),
            )  # fmt: skip
        for _, site in some:
            world.fleet.wait(f"{site}-import", IMPORT_MAX_S)


def check_answers(url: str, sites: Sequence[str], data: Path) -> dict[str, str]:
    """Return, for each question of answers.json that we answer, in what our answer differs."""
    path = data.with_name("answers.json")
    if not path.exists():
        return {"Q01": f"{path} is not there to compare with"}
    expected = {each["id"]: each["result"] for each in json.loads(path.read_text())["questions"]}
    given = asyncio.run(_answers(url, tuple(sites)))
    return {name: difference(expected[name], answer) for name, answer in given.items()}


async def _answers(url: str, sites: tuple[str, ...]) -> dict[str, Any]:
    """Return our answers: those of the report ``output`` to three questions, as the log puts them.

    All sites count by UTC, as the log does.
    """

    async def rows(**asked: object) -> list[list[Any]]:
        found = await read_report(connection, sites, "output", {"limit": ROWS_MAX, **asked})
        return [list(row.values()) for row in found.rows]

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        ((*totals,),) = await rows(measures=",".join(TOTALS))
        by_type = await rows(group_by="report_type", measures=",".join(BY_TYPE))
        by_month = await rows(
            bucket="month", group_by="machine", measures=",".join(PIECES), sort="machine,month"
        )
    return {
        "Q01": dict(zip(TOTALS.values(), map(_as_logged, totals), strict=True)),
        "Q02": sorted([LETTERS[name], *sums] for name, *sums in by_type),
        "Q03": [[machine, month, *sums] for month, machine, *sums in by_month],
    }


def _as_logged(value: Any) -> Any:
    """Return an instant as the log has it: in UTC, and without saying so."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return value


def difference(expected: Any, given: Any) -> str:
    """Return the first thing in which an answer is not the expected one; "" where it is."""
    if expected == given:
        return ""
    if isinstance(expected, dict) and isinstance(given, dict):
        names = [n for n in expected.keys() | given.keys() if expected.get(n) != given.get(n)]
        return ", ".join(f"{n} is {given.get(n)}, not {expected.get(n)}" for n in sorted(names))
    if isinstance(expected, list) and isinstance(given, list):
        missing = [row for row in expected if row not in given]
        surplus = [row for row in given if row not in expected]
        return f"lacks {missing[:3]}, has {surplus[:3]}" if missing or surplus else "another order"
    return f"{given!r}, not {expected!r}"
