"""An answer: rows in the order that was asked for, where it goes on, and how fresh it is."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg.rows import dict_row

from central.reports import judged, known
from central.reports.freshness import ASKED, as_told, asked_of
from central.reports.months import located
from central.reports.question import BadQuestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from psycopg import AsyncConnection

    from central.reports.freshness import Fresh
    from central.reports.paging import Statement
    from central.reports.question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the database says."""

    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    #: What to ask with for the rest; None where this is all.
    cursor: str | None
    as_of: datetime
    #: Until when all that a site committed is in the answer; None of one that was never heard.
    complete_through: Mapping[str, datetime | None]
    #: A site may still send what belongs into the window.
    provisional: bool
    #: When what is known of the window changed after it was closed, the last time; None if never.
    restated_at: datetime | None = None
    #: The moment whose knowledge it is; None of all that is known.
    as_known_at: datetime | None = None
    #: Months of sites that are in the archive, and not in an answer that is made of facts.
    archived_not_counted: int = 0


async def answer(
    connection: AsyncConnection[Any], question: Question, made: Callable[[Question], Statement]
) -> Answer:
    """Answer a question by the statement that is made of it, in the caller's transaction.

    Row-level security knows its sites, and all that it reads is of one snapshot: it holds all that
    was committed at the moment that it tells, and maybe a little more.
    """
    await known.check(connection, question)
    question = await located(connection, question)
    statement = made(question)
    async with connection.pipeline(), connection.cursor(row_factory=dict_row) as cursor:
        asked = asked_of(question.sites, question.window.end)
        before = await connection.execute(ASKED, asked)
        await cursor.execute(statement.text.encode(), statement.values)
        fresh = as_told(await before.fetchall())
        rows = await cursor.fetchall()
        restated_at = await known.restated_at(connection, question)
    if question.is_of_due and question.judged is None:
        moment = judged.judged_at(fresh.as_of, fresh.through, question.sites)
        question = replace(question, judged=moment)
    is_more = question.limit is not None and len(rows) > question.limit
    rows = rows[: question.limit]
    return Answer(
        columns=statement.columns,
        rows=[{name: plain(value) for name, value in row.items()} for row in rows],
        cursor=cursor_of(question, statement, rows[-1]) if is_more else None,
        as_of=fresh.as_of,
        complete_through=fresh.through,
        provisional=is_provisional(question, fresh),
        restated_at=restated_at,
        as_known_at=question.as_known_at,
        archived_not_counted=question.archived,
    )


def document(answer: Answer) -> dict[str, Any]:
    """Return what programs are given to read of an answer."""
    return {
        "schema": "mes-central.report/v1",
        "as_of": answer.as_of,
        "complete_through": answer.complete_through,
        "provisional": answer.provisional,
        "restated_at": answer.restated_at,
        "as_known_at": answer.as_known_at,
        "archived_not_counted": answer.archived_not_counted,
        "columns": answer.columns,
        "rows": answer.rows,
        "next": answer.cursor,
    }


def is_provisional(question: Question, fresh: Fresh) -> bool:
    """Tell whether some of the sites may still send what belongs into the window.

    A business day ends by the clock of its site. What was known at a moment that is past stays as
    it was.
    """
    if question.as_known_at is not None:
        return False
    end = question.window.end

    def until(site: str) -> datetime:
        return min(end, fresh.as_of) if isinstance(end, datetime) else fresh.ends[site]

    return any(each is None or each < until(site) for site, each in fresh.through.items())


# --- where it goes on -----------------------------------------------------------------------------


def cursor_of(question: Question, statement: Statement, last: Mapping[str, Any]) -> str:
    """Return where an answer goes on after a row, as text for a parameter of the next question."""
    values = [_sent(last[place.column]) for place in statement.places]
    moment = judged.texts_of(question.judged) if question.judged else ()
    text = json.dumps([_fingerprint(question), *moment, *values], ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def going_on(question: Question, cursor: str) -> Question:
    """Return the question after which an answer goes on; raise BadQuestion for another one's."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        mark, *values = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (ValueError, TypeError):
        raise BadQuestion("cursor", "as an answer's `next` gave it") from None
    known = all(value is None or isinstance(value, str) for value in values)
    if mark != _fingerprint(question) or not known:
        raise BadQuestion("cursor", "of an answer to this very question")
    if question.is_of_due:
        moment, values = values[: judged.TEXTS], values[judged.TEXTS :]
        question = replace(question, judged=judged.told(moment, question.sites))
    if not values:
        raise BadQuestion("cursor", "as an answer's `next` gave it")
    return replace(question, after=tuple(values))


def _fingerprint(question: Question) -> str:
    """Return what tells one question from another, wherever its answer goes on."""
    asked = repr(
        replace(question, after=(), limit=0, months=None, stale=None, archived=0, judged=None)
    )
    return hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()


def _sent(value: Any) -> str | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return None if value is None else str(value)


# --- values ---------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return a value as JSON has it: whole numbers without a point, others with all their digits.

    A binary number has 15 digits for certain; quantities of this size and figures have fewer.
    """
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return str(value) if is_day or isinstance(value, UUID) else value
