"""Planners' writes of rows: added, replaced, changed, deleted.

A write shows the version that its writer saw (``If-Match``), so that no write of somebody else is
lost by it. It is made as any client of the centre makes it, with its line of the audit log and its
answer in one transaction.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Header, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from central.access import NotYourSite, Scope
from central.api import once
from central.api.answers_of_rows import DELETED, ROW, DeletedRow, OneRow
from central.api.asking import Asking, asks, reading
from central.api.audit import asked_in
from central.api.examples import shown
from central.api.given import broken_body
from central.api.reach import V1, Json, Reach
from central.api.routes import v1_router
from central.api.rows import ETAG, RowId, one_row, row_answer, table_named
from central.audit import note_change
from central.documents import plain
from central.partitions import Partition, ensure
from central.row_reading import Found, UnknownRow, find_row
from central.row_values import (
    changes,
    check_changeable,
    named_sites,
    planned_table,
    told,
    whole,
)
from central.row_writing import (
    NeedsVersion,
    RowMoved,
    Writing,
    delete_row,
    insert_row,
    update_row,
)
from shared.changes import SHARED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fastapi import APIRouter
    from psycopg import AsyncConnection

    from shared.catalog import Table
    from shared.changes import Value


_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match", pattern=f'^"{_UUID}"$',
        description="The ETag of the row as it was seen; a write without it is answered 428.",
        examples=['"0199b1f0-5c40-7d3c-9f52-5b0e2f1e8c83"'],
    ),
]  # fmt: skip
_Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,62}$")]
_SITE: Final = r"^(\*|[A-Z0-9_-]{1,20})$"


class Written(BaseModel):
    """Values of a row."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"values": {"priority": 90}}]}
    )

    values: dict[_Name, Any] = Field(description="By column, as /v1/tables tells of it.")


class Added(Written):
    """A row that is to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{
            "site": "SITE_001",
            "values": {"order_no": "WO-2026-118", "qty_ordered": "250", "uom": "pcs"},
        }]},
    )  # fmt: skip

    site: str = Field(pattern=_SITE, description="Whose it is; `*` has all sites share it.")


_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    409: {"description": "Nothing was written."},
    412: {"description": "Nothing was written; read the row again."},
    428: {"description": "Nothing was written."},
}


def router(reach: Reach) -> APIRouter:
    """Return the routes."""
    routes = v1_router("rows")
    asked = _asked(reach)
    _add_adding(routes, asked)
    _add_changing(routes, asked)
    _add_deleting(routes, asked)
    return routes


def _add_adding(routes: APIRouter, asked: Any) -> None:
    location = {"Location": {"schema": {"type": "string"}, "required": True}}

    @routes.post(
        "/tables/{table}/rows", response_model=OneRow, status_code=201,
        responses={
            201: {**shown(ROW)[200], "headers": ETAG | location}, 409: _REFUSED[409],
        },
    )  # fmt: skip
    async def add_row(added: Added, plan: Plan = asked) -> Json:
        """Make a row; what its values leave out is at its default."""
        of, site = plan.table, added.site
        plan.check_owner(site)
        if of.shared_only and site != SHARED:
            raise broken_body("site", f"* alone: {_told_of(of)}")
        values = whole(of, added.values)
        plan.check_share(named_sites(of, values, site))
        made = datetime.fromtimestamp(time.time_ns() // 10**6 / 1e3, UTC)
        await _make_room(plan, site, made)

        async def do(connection: AsyncConnection[Any]) -> _Done:
            row = await insert_row(connection, plan.writing(site), values, str(plain(made)))
            return _Done(one_row(of, row), {"after": told(of, values)})

        document = await plan.write(site, do, status=201)
        answer = row_answer(document, 201)
        answer.headers["Location"] = f"{V1}/tables/{of.name}/rows/{document['id']}"
        return answer


def _add_changing(routes: APIRouter, asked: Any) -> None:
    about: dict[str, Any] = {
        "response_model": OneRow,
        "responses": {200: {**shown(ROW)[200], "headers": ETAG}, **_REFUSED},
    }

    @routes.put("/tables/{table}/rows/{row_id}", **about)
    async def replace_row(
        row_id: RowId, written: Written, if_match: IfMatch = None, plan: Plan = asked
    ) -> Json:
        """Replace all values of a row; what is left out goes back to its default."""
        values = told(plan.table, whole(plan.table, written.values))
        return await _change(plan, str(row_id), if_match, values)

    @routes.patch("/tables/{table}/rows/{row_id}", **about)
    async def change_row(
        row_id: RowId, written: Written, if_match: IfMatch = None, plan: Plan = asked
    ) -> Json:
        """Change some values of a row; the others stay as they are."""
        return await _change(plan, str(row_id), if_match, written.values)


async def _change(plan: Plan, row_id: str, if_match: str | None, given: Mapping[str, Any]) -> Json:
    """Write what becomes different of a row by these values, and return it."""
    of = plan.table
    found = await plan.find(row_id, if_match)
    if of.shared_only and found.site != SHARED:
        rule = f"a row of all sites: {_told_of(of)}; this one can only be deleted"
        raise RequestValidationError([{"loc": ("path", "row_id"), "msg": rule}])

    async def do(connection: AsyncConnection[Any]) -> _Done:
        before = _seen(found, if_match)
        changed = changes(of, given, before)
        named = named_sites(of, {**before, **changed}, found.site)
        plan.check_share(named - named_sites(of, before, found.site))
        row = await update_row(connection, plan.writing(found.site), found, changed)
        was = {name: before[name] for name in changed}
        noted = {"before": told(of, was), "after": told(of, changed)}
        return _Done(one_row(of, row), noted if changed else None)

    return row_answer(await plan.write(found.site, do))


def _told_of(table: Table) -> str:
    return f"rows of {table.name} tell of each site, so none is a single site's own"


def _add_deleting(routes: APIRouter, asked: Any) -> None:
    @routes.delete(
        "/tables/{table}/rows/{row_id}", response_model=DeletedRow,
        responses={200: {**shown(DELETED)[200], "headers": ETAG}, **_REFUSED},
    )  # fmt: skip
    async def remove_row(row_id: RowId, if_match: IfMatch = None, plan: Plan = asked) -> Json:
        """Delete a row that no other refers to."""
        of = plan.table
        found = await plan.find(str(row_id), if_match)

        async def do(connection: AsyncConnection[Any]) -> _Done:
            before = _seen(found, if_match)
            row = await delete_row(connection, plan.writing(found.site), found)
            document = {
                "schema": "mes-central.deleted-row/v1", "table": of.name, "site": row.site,
                "id": row.id, "version": row.version,
            }  # fmt: skip
            return _Done(document, {"before": told(of, before)})

        return row_answer(await plan.write(found.site, do))


# --- a write ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Done:
    """What a write is answered with, and what the audit log holds of it; None for no change."""

    document: dict[str, Any]
    noted: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A write as it was asked for."""

    reach: Reach
    request: Request
    asking: Asking
    table: Table
    #: None where the request did not name itself.
    named: once.Named | None

    @property
    def _owners(self) -> tuple[str, ...]:
        shared = (SHARED,) if self.asking.may_share(Scope.PLAN) else ()
        return (*self.asking.sites, *shared)

    def check_owner(self, site: str) -> None:
        """Raise NotYourSite where rows of a site, or shared ones, are not theirs to write."""
        if site not in self._owners:
            what = "no rows of all sites here" if site == SHARED else f"no site {site[:40]} here"
            raise NotYourSite(f"{what} that this key or token reaches")

    def check_share(self, sites: frozenset[str]) -> None:
        """Raise NotYourSite where a row would go to sites that who asks does not reach."""
        for site in sorted(sites):
            self.check_owner(site)

    def writing(self, site: str) -> Writing:
        """Return where a row of a site is written, and by whom."""
        return Writing(self.reach.catalog, self.table, site, self.asking.who.name)

    async def find(self, row_id: str, if_match: str | None) -> Found:
        """Return the row that is to be written, also where it is deleted.

        Raise UnknownRow, NotYourSite, OnlyAdded, NeedsVersion.
        """
        sites = self.asking.sites
        async with reading(self.reach.reading, sites) as connection:
            found = await find_row(connection, self.table, sites, row_id)
        self.check_owner(found.site)
        check_changeable(self.table)
        if if_match is None:
            raise NeedsVersion("name the version that was seen: its ETag, as If-Match")
        return found

    async def write(
        self, site: str, do: Callable[[AsyncConnection[Any]], Awaitable[_Done]], status: int = 200
    ) -> dict[str, Any]:
        """Do a write, note it and keep its answer, all or none; return the answer's document.

        What was done before under the same key is answered as then, and not done again.
        """
        state = self.request.state
        state.sites = (site,)
        async with self.reach.pool.connection() as connection, connection.transaction():
            if before := await once.begin(connection, self.named):
                document: dict[str, Any] = json.loads(before.text)
                return document
            done = await do(connection)
            if done.noted is not None:
                about = {name: done.document[name] for name in ("table", "site", "id", "version")}
                asked = asked_in(self.request.scope, status)
                await note_change(connection, asked, about | done.noted)
            await once.keep(connection, self.named, done.document, status)
        state.is_noted = done.noted is not None
        return done.document


def _asked(reach: Reach) -> Any:
    """Return what makes a plan of a request; it raises UnknownPlan where there is no such table."""
    plans: Any = Depends(asks(reach.guard, Scope.PLAN))
    named = table_named(reach)

    async def plan(
        request: Request, key: once.IdempotencyKey = None, table: str = named,
        asking: Asking = plans,
    ) -> Plan:  # fmt: skip
        of = planned_table(reach.catalog, table)
        return Plan(reach, request, asking, of, await once.named(request, asking.who.name, key))

    return Depends(plan)


def _seen(found: Found, if_match: str | None) -> Mapping[str, Value]:
    """Return the values of a row as its writer saw it; raise UnknownRow, RowMoved."""
    if found.values is None:
        raise UnknownRow(f"no row {found.id} here that this key or token reaches")
    if if_match != f'"{found.version}"':
        raise RowMoved("the row was written since; read it again, and name its version")
    return found.values


async def _make_room(plan: Plan, site: str, made: datetime) -> None:
    """Make the partition of a row, where its table has such; mostly it is there already."""
    if plan.table.partitioned:
        async with plan.reach.pool.connection() as connection:
            await ensure(connection, [Partition(plan.table.name, site, f"{made:%Y-%m}")], set())
