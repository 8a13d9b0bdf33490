"""What the API answers of central and two-way tables and their rows, for its description."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import Any, Final, Literal

#: A value of a column: a decimal and JSON as text, a set as a list, bytes as hexadecimal digits.
Told = str | int | float | bool | list[str] | None
Write = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnTold:
    """A column, and the rules that its values keep."""

    name: str
    #: As a catalogue file writes it: ``text(60)``, ``decimal(18,6)``, ``timestamp``.
    type: str
    nullable: bool
    #: What a row gets that is made without it.
    default: Told
    #: What happens when a site and the centre write it at once.
    policy: str
    #: Columns that win or lose together have one group.
    group: str
    #: The only texts that may stand there; of a state that never goes back, the first before all.
    values: list[str]
    is_ordered: bool
    low: str | None
    high: str | None
    #: The column that holds the unit, or the unit itself.
    unit: str | None
    #: The table whose id it holds.
    references: str | None
    #: It is filled in with who writes.
    is_writer: bool
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTold:
    """A table of central or two-way rows."""

    name: str
    about: str
    #: ``down``: the centre alone writes it; ``both``: sites do, too.
    direction: Literal["down", "both"]
    #: What may be done with its rows by who has the scope ``plan``.
    writes: list[Write]
    #: Keys that people use, each unique within a site.
    natural_keys: list[list[str]]
    #: Columns that name the sites that get a row.
    share: list[str]
    columns: list[ColumnTold]


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesTold:
    """The tables that planners read and write."""

    schema: Literal["mes-central.tables/v1"]
    #: What a key or token needs to write.
    scope: Literal["plan"]
    #: Whether yours has it, and of which sites; ``*`` stands for rows that all sites share.
    may_write: bool
    sites: list[str]
    tables: list[TableTold]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTold:
    """A row as it stands."""

    #: Whose it is; ``*`` where all sites share it.
    site: str
    id: str
    created_at: datetime
    #: What If-Match has to name, between quotes; each write makes another.
    version: str | None
    values: dict[str, Told]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRow(RowTold):
    """A row of a table."""

    schema: Literal["mes-central.row/v1"]
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsTold:
    """Rows in the order of their site, instant and id."""

    schema: Literal["mes-central.rows/v1"]
    table: str
    rows: list[RowTold]
    #: ``after`` of the page that follows; null where there is none.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedRow:
    """What is left of a row."""

    schema: Literal["mes-central.deleted-row/v1"]
    table: str
    site: str
    id: str
    #: Of the deletion.
    version: str


_ROW: Final[dict[str, Any]] = {
    "site": "SITE_001",
    "id": "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c01",
    "created_at": "2026-11-27T19:20:11.402Z",
    "version": "0199b1f0-5c40-7d3c-9f52-5b0e2f1e8c83",
    "values": {
        "equipment_id": "0199b1ef-11aa-7b20-b1d0-38b1f29cd114", "material_id": None,
        "material_code": "P-100", "segment_code": "Lapping", "pri_s": "12.5",
        "effective_from": "2026-12-01T00:00:00.000Z", "effective_to": None,
    },
}  # fmt: skip
ROW: Final = {"schema": "mes-central.row/v1", "table": "equipment_rates", **_ROW}
ROWS: Final = {
    "schema": "mes-central.rows/v1", "table": "equipment_rates", "rows": [_ROW], "next": None,
}  # fmt: skip
DELETED: Final = {
    "schema": "mes-central.deleted-row/v1", "table": "equipment_rates", "site": _ROW["site"],
    "id": _ROW["id"], "version": "0199b1f0-6b12-7e4d-8c11-9a562f7f0c1a",
}  # fmt: skip
