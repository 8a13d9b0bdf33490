"""The audit log: who read and changed what over the API."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from psycopg import AsyncConnection

#: Entries that one list holds.
LISTED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and how it was answered; its texts are ``cleaned``."""

    #: ``key NAME``, ``user NAME``, or ``nobody`` where who asks was not found out.
    who: str
    #: Where the connection came from.
    address: str
    #: Method and route.
    action: str
    #: Path and query as they were asked.
    target: str
    #: Whose rows the answer could hold.
    sites: tuple[str, ...]
    status: int


def cleaned(text: str, chars: int) -> str:
    """Return a text as the log keeps it: short, without what is no letter, and without keys.

    It comes from outside: a control character could draw a false line on a terminal, PostgreSQL
    takes neither NUL nor half a character, and a key in a query string would be kept for a year.
    """
    readable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:chars])
    return _A_KEY.sub(r"\1…", readable)


_A_KEY: Final = re.compile(r"(mes_[a-z0-9]{8}_)[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Counted:
    """How often something was asked, and when first."""

    times: int
    first_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the log."""

    no: int
    at: datetime
    who: str
    address: str
    action: str
    target: str
    sites: list[str]
    status: int
    #: How often it was asked so within about a second.
    times: int
    changed: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines to list; None stands for any."""

    who: str | None = None
    site: str | None = None
    since: datetime | None = None
    changes: bool = False
    limit: int = 100


_INSERT: Final = """
INSERT INTO sync.audit (at, who, address, action, target, sites, status, times)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""

_CHANGED: Final = """
INSERT INTO sync.audit (who, address, action, target, sites, status, changed)
VALUES (%s, %s, %s, %s, %s, %s, %s)"""

_LISTED: Final = """
SELECT no, at, who, address, action, target, sites, status, times, changed FROM sync.audit
WHERE (%(who)s::text IS NULL OR who = %(who)s OR split_part(who, ' ', 2) = %(who)s)
  AND (%(site)s::text IS NULL OR %(site)s = ANY(sites))
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (NOT %(changes)s OR changed IS NOT NULL)
ORDER BY no DESC LIMIT %(limit)s"""


async def note(connection: AsyncConnection[Any], counted: Mapping[Asked, Counted]) -> None:
    """Note questions with how often each was asked."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            _INSERT,
            [
                (
                    each.first_at, a.who, a.address, a.action, a.target, list(a.sites), a.status,
                    each.times,
                )
                for a, each in counted.items()
            ],
        )  # fmt: skip


async def note_change(
    connection: AsyncConnection[Any], asked: Asked, changed: Mapping[str, Any]
) -> None:
    """Note a change in the transaction that makes it."""
    await connection.execute(
        _CHANGED,
        [
            asked.who, asked.address, asked.action, asked.target, list(asked.sites), asked.status,
            json.dumps(changed, default=str),
        ],
    )  # fmt: skip


async def read_entries(connection: AsyncConnection[Any], wanted: Wanted) -> list[Entry]:
    """Return lines of the log, the latest first."""
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            _LISTED,
            {
                "who": wanted.who, "site": wanted.site, "since": wanted.since,
                "changes": wanted.changes, "limit": min(wanted.limit, LISTED_MAX),
            },
        )  # fmt: skip
        return await cursor.fetchall()
