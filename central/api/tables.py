"""``/v1/tables``: which tables planners read and write, by which rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends

from central.access import Scope
from central.api.answers_of_rows import TablesTold
from central.api.asking import Asking, asks
from central.api.reach import Json, Reach
from central.api.routes import v1_router
from central.row_values import planned_tables, told
from shared.changes import SHARED

if TYPE_CHECKING:
    from fastapi import APIRouter

    from central.api.answers_of_rows import Write
    from shared.catalog import Column, Table


def router(reach: Reach) -> APIRouter:
    """Return the route."""
    routes = v1_router("rows")
    reads: Any = Depends(asks(reach.guard, Scope.READ))
    documents = [_table(each) for each in planned_tables(reach.catalog)]

    @routes.get("/tables", response_model=TablesTold)
    async def tables(asking: Asking = reads) -> Json:
        """Tell which tables have rows that planners write, their columns, and who may write."""
        sites = _written_sites(asking)
        return Json({
            "schema": "mes-central.tables/v1", "scope": Scope.PLAN, "may_write": bool(sites),
            "sites": sites, "tables": documents,
        })  # fmt: skip

    return routes


def _written_sites(asking: Asking) -> list[str]:
    """Return the owners of rows that somebody may write."""
    if Scope.PLAN not in asking.who.reach:
        return []
    theirs = sorted(asking.who.reach[Scope.PLAN].among(frozenset(asking.sites)))
    return [*theirs, *([SHARED] if asking.may_share(Scope.PLAN) else [])]


def _table(table: Table) -> dict[str, Any]:
    writes: list[Write] = ["insert"] if table.append_only else ["insert", "update", "delete"]
    return {
        "name": table.name, "about": table.help, "direction": table.direction, "writes": writes,
        "natural_keys": table.natural_keys, "share": table.share,
        "columns": [_column(table, each) for each in table.columns],
    }  # fmt: skip


def _column(table: Table, column: Column) -> dict[str, Any]:
    limits = (column.type.low, column.type.high)
    low, high = (None if each is None else f"{each:f}" for each in limits)
    return {
        "name": column.name, "type": str(column.type), "nullable": column.nullable,
        "default": told(table, {column.name: column.default})[column.name],
        "policy": table.group_of(column.name).policy, "group": table.group_of(column.name).name,
        "values": column.allowed, "is_ordered": bool(column.order), "low": low, "high": high,
        "unit": column.unit, "references": column.references, "is_writer": column.writer,
        "about": column.help,
    }  # fmt: skip
