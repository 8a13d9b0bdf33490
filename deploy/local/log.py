"""The real production log: loaded at the sites, and asked about at the centre."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.reports.production import QUESTIONS
from deploy.local.fleet import CODE, EDGE

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.world import World

MAP: Final = CODE / "docs" / "maps" / "production_log.toml"
#: Imports at a time: each is busy on one core.
TOGETHER: Final = 2
IMPORT_MAX_S: Final = 180.0


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


def check_answers(url: str, data: Path) -> dict[str, str]:
    """Return, for each question of answers.json that we answer, in what our answer differs."""
    path = data.with_name("answers.json")
    if not path.exists():
        return {"Q01": f"{path} is not there to compare with"}
    expected = {each["id"]: each["result"] for each in json.loads(path.read_text())["questions"]}
    given = asyncio.run(_answers(url))
    return {name: difference(expected[name], answer) for name, answer in given.items()}


async def _answers(url: str) -> dict[str, Any]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return {name: await question(connection) for name, question in QUESTIONS.items()}


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
