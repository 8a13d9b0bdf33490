"""How reports read: statements by name, and numbers as JSON has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

from central.archive_state import State
from central.reports.paging import literals
from shared.changes import SHARED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from psycopg import AsyncConnection

    Months = tuple[str, str]

_SQL: Final = Path(__file__).parents[1] / "sql"


@cache
def statement(name: str) -> str:
    """Return a statement of ``central/sql``."""
    return (_SQL / f"{name}.sql").read_text()


def named(text: str, given: Mapping[str, Any]) -> str:
    """Return a statement with its ``sites`` as literals, and its one ``site``.

    Of parameters PostgreSQL makes no use once it has planned a statement for good, at the eleventh
    time: it would lock the partitions of all other sites then, and look at them.
    """
    if "sites" in given:
        text = text.replace("= ANY(%(sites)s)", f"IN ({literals(given['sites']) or 'NULL'})")
    if "site" in given:
        text = text.replace("= %(site)s", f"= {literals([given['site']])}")
    return text


async def rows(
    connection: AsyncConnection[Any], name: str, given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of a statement of ``central/sql``, each by the names of its columns."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(named(statement(name), given).encode(), given)
        return await cursor.fetchall()


async def archived(
    connection: AsyncConnection[Any], table: str, sites: Sequence[str], months: Months = ("", "~")
) -> int:
    """Return how many months of some sites' facts are not in their table: no answer has them.

    ``months``: the first and the last that count, as ``2026-11``.
    """
    found = await rows(
        connection,
        "count_archived",
        {
            "table": table,
            "sites": sites,
            "first": months[0],
            "last": months[1],
            "there": State.ATTACHED,
        },
    )
    return int(found[0]["months"])


def with_shared(sites: Sequence[str]) -> list[str]:
    """Return the owners of the rows that somebody of these sites sees: they, and the centre."""
    return [*sites, SHARED]


def number(value: Decimal | None) -> int | float | None:
    """Return a decimal as a number of JSON, a whole one without a point."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)
