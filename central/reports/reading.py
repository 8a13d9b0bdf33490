"""How reports read: statements by name, and numbers as JSON has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

from shared.changes import SHARED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from psycopg import AsyncConnection

_SQL: Final = Path(__file__).parents[1] / "sql"


@cache
def statement(name: str) -> bytes:
    """Return a statement of ``central/sql``."""
    return (_SQL / f"{name}.sql").read_bytes()


async def rows(
    connection: AsyncConnection[Any], name: str, given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of a statement of ``central/sql``, each by the names of its columns."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement(name), given)
        return await cursor.fetchall()


def with_shared(sites: Sequence[str]) -> list[str]:
    """Return the owners of the rows that somebody of these sites sees: they, and the centre."""
    return [*sites, SHARED]


def number(value: Decimal | None) -> int | float | None:
    """Return a decimal as a number of JSON, a whole one without a point."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)
