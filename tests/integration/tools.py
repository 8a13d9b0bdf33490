"""A small catalogue of a plant's own, to be changed by migrations."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import msgpack
import psycopg

from central.migrate import migrate
from central.roles import INGEST, as_role
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from tests.integration.central_world import SITES
from tests.integration.centre import client, insert, rows

GRADE = Column("grade", ColumnType(Kind.TEXT, length=10), default="A", since=2)
TOOLS = Table(
    "tools",
    Direction.BOTH,
    (
        Column("code", ColumnType(Kind.TEXT, length=4), nullable=False, policy=Policy.SITE),
        Column("weight", ColumnType(Kind.DECIMAL, None, 6, 2, Decimal(0), Decimal(99))),
        Column("state", ColumnType(Kind.TEXT), order=("NEW", "WORN"), policy=Policy.LATTICE),
        Column("count", ColumnType(Kind.INTEGER, low=Decimal(0), high=Decimal(10)), default=0),
        Column("made", ColumnType(Kind.JSON)),
    ),
    partitioned=True,
    natural_keys=(("code",),),
)
WEAR = Table(
    "wear",
    Direction.UP,
    (Column("tool_id", ColumnType(Kind.UUID), policy=Policy.APPEND_ONLY),),
    append_only=True,
    partitioned=True,
)
FIRST = Catalog(1, (TOOLS, WEAR))


def changed(*more: Column, version: int = 2, tables: tuple[Table, ...] = (WEAR,), **columns):
    """The catalogue with some columns of ``tools`` replaced and others added at its end."""
    held = tuple(columns.get(column.name, column) for column in TOOLS.columns) + more
    keys = (((held[0].name),),)
    tools = replace(TOOLS, columns=held, groups=(), natural_keys=keys)
    return Catalog(version, (tools, *tables))


def renamed(before: str, after: str, **more: object) -> Column:
    return replace(TOOLS.column(before), name=after, renamed_from=(before,), **more)


async def centre_with_a_tool(database: str) -> str:
    """Migrate an empty database to the first catalogue, and give it a tool and its wear."""
    await migrate(database, FIRST, SITES)
    with client(database) as north:
        insert(north, "tools", code="T1", weight="12.50", state="NEW", count=3, made='{"by": "x"}')
    with client(database, role=INGEST) as ingest:
        insert(ingest, "wear", tool_id=uuid4())
    return database


def tool(centre: str) -> dict:
    (found,) = rows(centre, "SELECT * FROM mes.tools")
    return {name: value for name, value in found.items() if name not in ("id", "created_at")}


def column_type(centre: str, name: str, table: str = "tools") -> str:
    (found,) = rows(
        centre,
        """SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute
           WHERE attrelid = %s::regclass AND attname = %s""",
        f"mes.{table}",
        name,
    )
    return found["type"]


def replace_tables(catalog: Catalog, *more: Table) -> Catalog:
    return Catalog(catalog.version + 1, (*catalog.tables, *more))


def set_aside(centre: str, column: str, value: object) -> None:
    with psycopg.connect(as_role(centre, INGEST), autocommit=True) as ingest:
        ingest.execute(
            """INSERT INTO sync.extra
               SELECT t.site_id, 'tools', t.id, t.created_at, %s, %s, 2, 1, coalesce(h.ord, 0)
               FROM mes.tools AS t LEFT JOIN sync.head AS h USING (site_id, id)""",
            [column, msgpack.packb(value)],
        )
