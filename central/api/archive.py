"""``/v1/archive/{table}``: facts by time, also those of months that were archived."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from central.access import Scope
from central.api.answers_of_reports import ArchiveTold
from central.api.asking import Asking, asks, reading
from central.api.conflicts import Line  # noqa: TC001 - FastAPI reads it
from central.api.given import FIRST, LAST
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.archive_hash import archivable
from central.archive_reading import Wanted, read
from shared.catalog import COMMON
from shared.errors import UnknownTable

if TYPE_CHECKING:
    from fastapi import APIRouter

    from central.archive_reading import Row
    from shared.catalog import Table

ROWS_MAX: Final = 1_000
#: Each month of a site may be a file, so an answer looks into some hundreds at most.
DAYS_MAX: Final = 400
#: Answers that are read out of files at once: each takes a core, and memory.
TOGETHER_MAX: Final = 2
_AFTER: Final = (
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z,[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
)


class Span(BaseModel):
    """Which rows to list."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime = Field(alias="from", description="Created then or later.")
    before: AwareDatetime = Field(alias="to", description="Created before then.")
    after: str | None = Field(
        None, pattern=_AFTER, description="`next` of the page before: what comes after it."
    )
    limit: int = Field(100, ge=1, le=ROWS_MAX)

    @field_validator("after")
    @classmethod
    def _is_instant(cls, after: str | None) -> str | None:
        if after is not None:
            datetime.fromisoformat(after.partition(",")[0])
        return after

    @field_validator("since", "before")
    @classmethod
    def _in_range(cls, given: datetime) -> datetime:
        if not FIRST <= given < LAST:
            raise ValueError("between 1970 and 2200")
        return given.astimezone(UTC)

    @field_validator("before")
    @classmethod
    def _bounded(cls, before: datetime, told: ValidationInfo) -> datetime:
        since = told.data.get("since")
        if since is not None and not since < before <= since + timedelta(days=DAYS_MAX):
            raise ValueError(f"after `from`, and {DAYS_MAX} days after it at most")
        return before

    def wanted(self) -> Wanted:
        """Return which rows are meant: one more than is shown, to tell of more."""
        after = None
        if self.after is not None:
            at, _, row_id = self.after.partition(",")
            after = (datetime.fromisoformat(at), row_id)
        return Wanted(since=self.since, before=self.before, after=after, rows_max=self.limit + 1)


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("archive")
    reads: Any = Depends(asks(reach.guard, Scope.READ))
    turns = asyncio.Semaphore(TOGETHER_MAX)

    @routes.get("/archive/{table}", response_model=ArchiveTold)
    async def archive(
        table: Annotated[Line, Path(examples=["job_responses"])],
        span: Annotated[Span, Query()],
        asking: Asking = reads,
    ) -> Json:
        """List facts by created_at and id, of all sites that are reached, archived or not."""
        of = _table(reach, table)
        # What is moved meanwhile is found by looking again: each look is to see what is there then.
        async with (
            turns,
            reading(reach.reading, asking.sites, of_one_moment=False) as connection,
        ):
            found = await read(connection, reach.archive_dir, of, asking.sites, span.wanted())
        shown = found[: span.limit]
        return Json({
            "schema": "mes-central.archive/v1",
            "table": of.name,
            "rows": [_document(of, row) for row in shown],
            "next": f"{shown[-1][2]!s},{shown[-1][0]!s}" if len(found) > len(shown) else None,
        })  # fmt: skip

    return routes


def _table(reach: Reach, name: str) -> Table:
    tables = [table.name for table in reach.catalog.tables if archivable(table)]
    if name not in tables:
        raise UnknownTable(
            f"there is no table of facts by month of this name, but {', '.join(tables)}"
        )
    return reach.catalog.table(name)


def _document(table: Table, row: Row) -> dict[str, Any]:
    names = [column.name for column in (*COMMON, *table.columns)]
    return dict(zip(names, row, strict=True))
