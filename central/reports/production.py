"""Totals of production reports: over everything, by type of report, by machine and month.

All sites count by UTC, and codes name the same thing at every site: machine 4 of two sites is one
line. The connection must see the rows of all sites, as mes_analyst does.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from psycopg import AsyncConnection

    Question = Callable[[AsyncConnection[Any]], Awaitable[Any]]

_SQL: Final = Path(__file__).parents[1] / "sql"


async def q01(connection: AsyncConnection[Any]) -> dict[str, Any]:
    """Return counts and sums over all production reports, by name."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_statement("sum_reports"))
        row = await cursor.fetchone()
    assert row is not None
    return {name: _plain(value) for name, value in row.items()}


async def q02(connection: AsyncConnection[Any]) -> list[list[Any]]:
    """Return, for each type of report in order, its count, quantities and minutes."""
    return await _rows(connection, "sum_reports_by_type")


async def q03(connection: AsyncConnection[Any]) -> list[list[Any]]:
    """Return, for each machine and month in order, the three quantities."""
    return await _rows(connection, "sum_reports_by_machine")


#: The questions by the names that people use.
QUESTIONS: Final[Mapping[str, Question]] = {"Q01": q01, "Q02": q02, "Q03": q03}


async def _rows(connection: AsyncConnection[Any], name: str) -> list[list[Any]]:
    cursor = await connection.execute(_statement(name))
    return [[_plain(value) for value in row] async for row in cursor]


def _statement(name: str) -> bytes:
    return (_SQL / f"{name}.sql").read_bytes()


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: whole numbers without a point."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
