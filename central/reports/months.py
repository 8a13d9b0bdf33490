"""Which months of facts can hold what is asked for: no others are read.

Facts are kept by the month in which they were made, and asked for by when the work was done. A
rollup tells in which months the reports are that touch a day, right at every moment; so a question
costs what its window costs, however many facts there are.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.reports.known import sums
from central.reports.paging import literals
from central.reports.statement import reads_facts
from central.rollups import MONTHS

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.reports.question import Question

#: A business day lies within a day and a half of the day of its name in UTC.
_MARGIN: Final = timedelta(days=2)


async def located(connection: AsyncConnection[Any], question: Question) -> Question:
    """Return a question with the months that can hold what it asks for.

    To be asked in the snapshot in which the facts are read then.
    """
    window = question.window
    if (window.start is None and window.end is None) or not reads_facts(question):
        return question
    bounds, given = "", []
    for moment, text, margin in (
        (window.start, "last_day >= %s", -_MARGIN), (window.end, "first_day <= %s", _MARGIN),
    ):  # fmt: skip
        if moment is not None:
            bounds += f" AND r.{text}"
            given.append(_moved(date(moment.year, moment.month, moment.day), margin))
    cursor = await connection.execute(
        f"SELECT DISTINCT r.month FROM {sums(MONTHS, question)} AS r"
        f" WHERE r.site_id IN ({literals(question.sites)}){bounds}".encode(),
        given,
    )
    return replace(question, months=tuple(sorted(m for (m,) in await cursor.fetchall())))


def _moved(day: date, margin: timedelta) -> date:
    """Return a day some days off, or the last that there is on that side."""
    try:
        return day + margin
    except OverflowError:
        return day
