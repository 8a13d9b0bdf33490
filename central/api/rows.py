"""``/v1/tables/TABLE/rows``: rows of central and two-way tables, one or a page of them."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from uuid import UUID

from fastapi import Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from central.access import Scope
from central.api.answers_of_rows import ROW, ROWS, OneRow, RowsTold
from central.api.asking import Asking, asks, reading
from central.api.examples import shown
from central.api.given import broken
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.row_reading import (
    FILTERS_MAX,
    HOWS,
    ROWS_MAX,
    BadFilter,
    Filter,
    Found,
    UnknownRow,
    Wanted,
    find_row,
    list_rows,
    read_filter,
)
from central.row_values import planned_table, planned_tables, told
from shared.catalog import CREATED_AT, ID, SITE_ID
from shared.errors import InvalidValue
from shared.values import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import APIRouter

    from shared.catalog import Table

_CHARS_MAX: Final = 1_000
RowId = Annotated[UUID, Path(description="The row's id.")]
_Filter = Annotated[
    str, Field(max_length=_CHARS_MAX, pattern=rf"^[a-z][a-z0-9_]*:({'|'.join(HOWS)}):[^\x00]*$")
]
#: The version of a row, between quotes as HTTP has it.
ETAG: Final = {
    "ETag": {
        "schema": {"type": "string"}, "description": "The row's version, for If-Match.",
        "required": True,
    }
}  # fmt: skip


class Listed(BaseModel):
    """Which rows to list."""

    model_config = ConfigDict(extra="forbid")

    filter: Annotated[list[_Filter], Field(max_length=FILTERS_MAX)] = Field(
        default_factory=list, examples=[["exec_state:eq:RELEASED"]],
        description="`COLUMN:HOW:VALUE`, with HOW one of " + ", ".join(HOWS) + "; all must hold.",
    )  # fmt: skip
    after: str | None = Field(
        None, max_length=_CHARS_MAX, pattern="^[A-Za-z0-9_-]+$",
        description="`next` of the answer before.",
    )  # fmt: skip
    limit: int = Field(100, ge=1, le=ROWS_MAX)


def table_named(reach: Reach) -> Any:
    """Return the parameter of an address that names a table that planners read and write."""
    names = [each.name for each in planned_tables(reach.catalog)]
    return Path(
        description="A table of /v1/tables.", json_schema_extra={"enum": names},
        examples=["work_orders"],
    )  # fmt: skip


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("rows")
    reads: Any = Depends(asks(reach.guard, Scope.READ))
    named = table_named(reach)

    @routes.get("/tables/{table}/rows", response_model=RowsTold, responses=shown(ROWS))
    async def rows(
        asked: Annotated[Listed, Query()], table: str = named, asking: Asking = reads
    ) -> Json:
        """List rows of your sites and shared ones, in the order of site, instant and id."""
        of = planned_table(reach.catalog, table)
        wanted = Wanted(
            sites=asking.sites, limit=asked.limit,
            filters=tuple(_filter(of, number, text) for number, text in enumerate(asked.filter)),
            after=_place(asked.after) if asked.after else None,
        )  # fmt: skip
        async with reading(reach.reading, asking.sites) as connection:
            found = await list_rows(connection, of, wanted)
        page = found[: asked.limit]
        return Json({
            "schema": "mes-central.rows/v1", "table": table,
            "rows": [row_document(of, each) for each in page],
            "next": _next(page[-1]) if len(found) > len(page) else None,
        })  # fmt: skip

    @routes.get(
        "/tables/{table}/rows/{row_id}", response_model=OneRow,
        responses={200: {**shown(ROW)[200], "headers": ETAG}},
    )  # fmt: skip
    async def row(row_id: RowId, table: str = named, asking: Asking = reads) -> Json:
        """Give a row, with its version as the ETag."""
        of = planned_table(reach.catalog, table)
        async with reading(reach.reading, asking.sites) as connection:
            found = await find_row(connection, of, asking.sites, str(row_id))
        if found.values is None:
            raise UnknownRow(f"no row {row_id} of {table} here that this key or token reaches")
        return row_answer(one_row(of, found))

    return routes


def row_document(table: Table, found: Found) -> dict[str, Any]:
    """Return a row as it is told."""
    return asdict(found) | {"values": told(table, found.values or {})}


def one_row(table: Table, found: Found) -> dict[str, Any]:
    """Return a row as an answer of its own."""
    return {"schema": "mes-central.row/v1", "table": table.name, **row_document(table, found)}


def row_answer(document: Mapping[str, Any], status: int = 200) -> Json:
    """Return an answer with the version of the row that it tells of."""
    return Json(document, status, headers={"ETag": f'"{document["version"]}"'})


def _filter(table: Table, number: int, text: str) -> Filter:
    try:
        return read_filter(table, text)
    except BadFilter as error:
        raise broken(f"filter.{number}", str(error)) from error


# --- where a list goes on --------------------------------------------------------------------

_PLACE: Final = TypeAdapter(tuple[str, str, str])


def _next(last: Found) -> str:
    text = json.dumps([last.site, last.created_at, last.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(after: str) -> tuple[str, str, str]:
    """Return the key that a list goes on after; raise RequestValidationError for none of ours."""
    try:
        given = _PLACE.validate_json(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        columns = (SITE_ID, CREATED_AT, ID)
        key = [canonical(column.type, value) for column, value in zip(columns, given, strict=True)]
    except (ValueError, ValidationError, InvalidValue) as error:
        raise broken("after", "as an answer's `next` gave it") from error
    return cast("tuple[str, str, str]", tuple(key))
