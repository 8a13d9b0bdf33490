"""``mes-central report``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from central.cli import exits
from central.cli.given import settings
from central.cli.look import as_json, say, say_json, table

if TYPE_CHECKING:
    from central.settings import CentralSettings


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
@as_json
def report(name: str | None, *, json_wanted: bool) -> int:
    """Answer a question on production, out of the database; without a name, list the questions."""
    from central.reports.production import QUESTIONS

    if name is None:
        return _list(json_wanted=json_wanted)
    question = name.upper()
    if question not in QUESTIONS:
        raise click.BadParameter(f"no report {name}; there are {', '.join(QUESTIONS)}")
    answer, archived = asyncio.run(_ask(settings(), question))
    if json_wanted:
        say_json({
            "schema": "mes-central.report/v1", "report": question, "answer": answer,
            "months_left_out": archived,
        })  # fmt: skip
        return exits.OK
    for line in _lines(answer):
        say(line)
    if archived:
        say(f"not counted: {archived} months of sites that are in the archive")
    return exits.OK


def _list(*, json_wanted: bool) -> int:
    from central.reports.production import QUESTIONS

    listed = {name: _first_line(ask.__doc__) for name, ask in QUESTIONS.items()}
    if json_wanted:
        say_json({"schema": "mes-central.reports/v1", "reports": listed})
        return exits.OK
    for line in table(("REPORT", "ANSWERS"), list(listed.items())):
        say(line)
    return exits.OK


def _first_line(docstring: str | None) -> str:
    line = (docstring or "").strip().splitlines()[0]
    return line.removeprefix("Return ").rstrip(".")


async def _ask(read: CentralSettings, question: str) -> tuple[Any, int]:
    """Return the answer, and how many archived months it lacks."""
    import psycopg

    from central.archive_state import State, months
    from central.reports.production import QUESTIONS

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        answer = await QUESTIONS[question](connection)
        known = await months(connection, table="job_responses")
        return answer, sum(month.state is not State.ATTACHED for month in known)


def _lines(answer: Any) -> list[str]:
    if isinstance(answer, dict):
        width = max(map(len, answer))
        return [f"{name:<{width}}  {_cell(value)}" for name, value in answer.items()]
    return ["  ".join(map(_cell, row)) for row in answer]


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
