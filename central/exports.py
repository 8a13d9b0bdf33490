"""Exports: reports that are written into files, for those who asked, and what becomes of each.

Who asks has a line in ``sync.export``; ``central.exporting`` writes the file. Only who asked sees
it, for as long as they reach all the sites that it is of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from psycopg import AsyncConnection

#: Exports of one person or program that are not written yet, and that are kept.
UNDONE_MAX: Final = 10
KEPT_MAX: Final = 100
#: Bytes of the files of one person or program.
BYTES_MAX: Final = 20 << 30
#: Seconds after which one of them may be written.
AGAIN_S: Final = 60


class TooManyExports(SyncError):
    """Exports of this key or person wait, or are kept: delete some, or ask again later."""


class UnknownExport(SyncError):
    """There is no such export of yours; it is deleted after a time."""


class NotWritten(SyncError):
    """The file is not there (yet): look at the export's state."""


class NoExports(SyncError):
    """No folder for exports is named: set MES_EXPORT_DIR."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported: a report, with its parameters, in a form."""

    report: str
    query: Mapping[str, Any]
    form: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An export, as its line tells."""

    id: str
    who: str
    sites: list[str]
    report: str
    query: Mapping[str, Any]
    form: str
    state: str
    why: str
    asked_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime
    rows: int
    rows_expected: int | None
    size: int
    sha256: bytes | None
    as_of: datetime | None
    complete_through: Mapping[str, Any] | None
    provisional: bool | None
    #: Months of sites that are in the archive, and not in it; None until it is written.
    archived_not_counted: int | None

    @property
    def file(self) -> str:
        """Return the name of its file."""
        return f"{self.id}.{self.form}"

    @property
    def progress(self) -> float | None:
        """Return which share of its rows is written; None as long as nobody knows how many."""
        if self.state == "done":
            return 1.0
        if not self.rows_expected:
            return None
        return min(self.rows / self.rows_expected, 1.0)


_COLUMNS: Final = (
    "id::text, who, sites, report, query, form, state, why, asked_at, begun_at, ended_at,"
    " expires_at, rows, rows_expected, bytes AS size, sha256, as_of, complete_through, provisional,"
    " archived_not_counted"
)

_ASK: Final = f"""
INSERT INTO sync.export (who, sites, report, query, form, expires_at)
SELECT %(who)s, %(sites)s, %(report)s, %(query)s, %(form)s,
       now() + make_interval(secs => %(kept_s)s)
FROM (SELECT count(*) AS kept, count(*) FILTER (WHERE state IN ('waiting', 'running')) AS undone,
             coalesce(sum(bytes) FILTER (WHERE state <> 'failed'), 0) AS bytes
      FROM sync.export WHERE who = %(who)s) AS c
WHERE c.kept < {KEPT_MAX} AND c.undone < {UNDONE_MAX} AND c.bytes < %(bytes_max)s
RETURNING {_COLUMNS}"""


async def ask(
    connection: AsyncConnection[Any], who: str, sites: tuple[str, ...], order: Order, kept_s: float
) -> Export:
    """Ask for an export; raise TooManyExports."""
    given = {
        "who": who, "sites": list(sites), "report": order.report,
        "query": Jsonb(dict(order.query)), "form": order.form, "kept_s": kept_s,
        "bytes_max": BYTES_MAX,
    }  # fmt: skip
    async with connection.cursor(row_factory=class_row(Export)) as cursor:
        await cursor.execute(_ASK.encode(), given)
        made = await cursor.fetchone()
    if made is None:
        raise TooManyExports(
            f"{UNDONE_MAX} of your exports wait, or {KEPT_MAX} or {BYTES_MAX >> 30} GiB are kept:"
            " delete some, or ask again when they are written"
        )
    return made


async def listed(connection: AsyncConnection[Any], who: str) -> list[Export]:
    """Return somebody's exports, the newest first."""
    text = f"SELECT {_COLUMNS} FROM sync.export WHERE who = %s ORDER BY id DESC"
    async with connection.cursor(row_factory=class_row(Export)) as cursor:
        await cursor.execute(text.encode(), [who])
        return await cursor.fetchall()


async def find(connection: AsyncConnection[Any], who: str, export_id: str) -> Export:
    """Return an export of somebody; raise UnknownExport."""
    text = f"SELECT {_COLUMNS} FROM sync.export WHERE who = %s AND id = %s"
    async with connection.cursor(row_factory=class_row(Export)) as cursor:
        await cursor.execute(text.encode(), [who, export_id])
        found = await cursor.fetchone()
    if found is None:
        raise UnknownExport(str(UnknownExport.__doc__))
    return found


async def forget(connection: AsyncConnection[Any], who: str, export_id: str) -> None:
    """Delete an export; who writes it at this moment stops. Raise UnknownExport."""
    cursor = await connection.execute(
        "DELETE FROM sync.export WHERE who = %s AND id = %s", [who, export_id]
    )
    if not cursor.rowcount:
        raise UnknownExport(str(UnknownExport.__doc__))
