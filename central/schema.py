"""The centre's business tables, as SQLAlchemy metadata made from the catalogue.

Pure: nothing here speaks to a database. All tables stand in the schema ``mes`` under the primary
key (site_id, created_at, id). There are no foreign keys: a key by id alone can't refer to a
partitioned table, and ``enforced`` references are held by the ingest, which makes a child wait.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    Double,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Text,
    Time,
    Uuid,
    text,
)
from sqlalchemy import Column as SqlColumn
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from shared.catalog import COMMON, Catalog, Column, ColumnType, Kind, Table
from shared.changes import SHARED, Value
from shared.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from sqlalchemy.types import TypeEngine

SCHEMA: Final = "mes"
KEY: Final = ("site_id", "created_at", "id")
#: PostgreSQL cuts longer names off.
NAME_MAX: Final = 63
#: A partition's name is TABLE__SITE__YYYY_MM, and a site's is 20 characters at most.
PARTITIONED_NAME_MAX: Final = NAME_MAX - len("__") - 20 - len("__2026_11")

#: Paths that reports take besides the key: from an order to its reports and jobs, from a lot to its
#: movements and both ways through its genealogy, from an edge and a result to what takes it back,
#: from a characteristic to its values. All others read a site's months in key order.
INDEXES: Final[Mapping[str, tuple[str, ...]]] = {
    "job_orders": ("work_order_id",),
    "job_responses": ("work_order_id",),
    "inventory_movements": ("lot_id",),
    "lot_genealogy": ("parent_lot_id", "child_lot_id", "void_of"),
    "inspection_results": ("corrects_id",),
    "measurements": ("characteristic_id",),
}

#: Paths through time: the facts of one thing, and the last one before a moment, however long ago,
#: in one look at each month.
LATEST: Final[Mapping[str, tuple[str, str]]] = {
    "equipment_state_events": ("equipment_id", "since"),
    "downtime_annotations": ("equipment_id", "from_at"),
}

#: What a client of the centre need not write itself. Instants have milliseconds in all stores.
_KEY_DEFAULTS: Final = {
    "id": "uuidv7()",
    "site_id": "nullif(current_setting('app.current_site_id', true), '')",
    "created_at": "now()",
}

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


def waited_for(catalog: Catalog) -> list[str]:
    """Return the facts that others wait for: they have no head, so they are asked for by id."""
    parents = {c.references for t in catalog.tables for c in t.columns if c.enforced}
    return [table.name for table in catalog.tables if table.fact and table.name in parents]


def id_index_statement(name: str) -> str:
    """Return the statement that has facts that others wait for found by their id alone."""
    return f"CREATE INDEX IF NOT EXISTS {name}_by_id ON {SCHEMA}.{name} (id)"


def metadata(catalog: Catalog) -> MetaData:
    """Return the metadata of all business tables, for DDL, queries and comparison."""
    tables = MetaData(schema=SCHEMA)
    for table in catalog.tables:
        _sql_table(table, tables)
    return tables


def create_statements(table: Table) -> list[str]:
    """Return the statements that create a table and its indexes."""
    made = _sql_table(table, MetaData(schema=SCHEMA))
    indexes = sorted(made.indexes, key=lambda index: str(index.name))
    return [
        str(CreateTable(made).compile(dialect=_DIALECT)).strip(),
        *(str(CreateIndex(index).compile(dialect=_DIALECT)) for index in indexes),
    ]


def column_statement(table: Table, column: Column) -> str:
    """Return the statement that adds a column with its checks, without rewriting a row."""
    spec = str(CreateTable(_sql_table(table, MetaData(schema=SCHEMA))).compile(dialect=_DIALECT))
    # The line that CREATE TABLE gives the column is what ALTER TABLE takes.
    line = next(line for line in spec.splitlines() if line.startswith(f"\t{column.name} "))
    adds = [f"ADD COLUMN {line.strip().rstrip(',')}"]
    adds += [_add_check(name, condition) for name, condition in checks(table, column)]
    return f"ALTER TABLE {SCHEMA}.{table.name} {', '.join(adds)}"


def rename_statements(table: Table, before: str, after: str) -> list[str]:
    """Return the statements that rename a column, and the checks and indexes that bear its name.

    ``table`` is as it was: the checks that are there are those of the column's definition then.
    """
    name = f"{SCHEMA}.{table.name}"
    column = table.column(before)
    renamed = replace(column, name=after)
    statements = [f"ALTER TABLE {name} RENAME COLUMN {before} TO {after}"]
    for (old, _), (new, _) in zip(checks(table, column), checks(table, renamed), strict=True):
        statements.append(f"ALTER TABLE {name} RENAME CONSTRAINT {old} TO {new}")
    if after in INDEXES.get(table.name, ()):
        old_index, new_index = (f"{table.name}_by_{each}" for each in (before, after))
        statements.append(f"ALTER INDEX {SCHEMA}.{old_index} RENAME TO {new_index}")
    return statements


def widen_statement(table: Table, old: Column, new: Column) -> str:
    """Return the statement that gives a column, which has its new name, its wider definition.

    No row is rewritten, except where a decimal gets another scale.
    """
    had = checks(table, replace(old, name=new.name))
    steps = [f"DROP CONSTRAINT {name}" for name, _ in had]
    steps.append(f"ALTER COLUMN {new.name} TYPE {type_name(new.type)}")
    if old.nullable != new.nullable and new.nullable:
        steps.append(f"ALTER COLUMN {new.name} DROP NOT NULL")
    if old.default != new.default:
        default = None if new.default is None else literal(new.type, new.default)
        steps.append(f"ALTER COLUMN {new.name} SET DEFAULT {default or 'NULL'}")
    steps += [_add_check(name, condition) for name, condition in checks(table, new)]
    return f"ALTER TABLE {SCHEMA}.{table.name} {', '.join(steps)}"


def _add_check(name: str, condition: str) -> str:
    return f"ADD CONSTRAINT {name} CHECK ({condition})"


def sql_type(type_: ColumnType) -> TypeEngine[Any]:
    """Return the type of a column.

    All integers are ``bigint``: a range that grows then never rewrites a table, and the ingest
    copies in binary without a look at ranges.
    """
    if type_.kind is Kind.TEXT:
        return String(type_.length) if type_.length else Text()
    if type_.kind is Kind.DECIMAL:
        return Numeric(type_.precision, type_.scale)
    return _TYPES[type_.kind]


_TYPES: Final[Mapping[Kind, TypeEngine[Any]]] = {
    Kind.UUID: Uuid(as_uuid=False),
    Kind.INTEGER: BigInteger(),
    Kind.FLOAT: Double(),
    Kind.BOOLEAN: Boolean(),
    Kind.TIMESTAMP: postgresql.TIMESTAMP(timezone=True, precision=3),
    Kind.DATE: Date(),
    Kind.TIME: Time(),
    # The type json keeps the text as it was written; jsonb would sort its keys.
    Kind.JSON: postgresql.JSON(),
    Kind.SET: Text(),
    Kind.BYTES: LargeBinary(),
}


def type_name(type_: ColumnType) -> str:
    """Return the type of a column in PostgreSQL's words."""
    return sql_type(type_).compile(dialect=_DIALECT)


def literal(type_: ColumnType, value: Value) -> str:
    """Return a value in canonical form as a literal of SQL."""
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    if type_.kind is Kind.BOOLEAN:
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return quoted(str(value))


def quoted(words: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + words.replace("'", "''") + "'"


def checks(table: Table, column: Column) -> Iterator[tuple[str, str]]:
    """Give name and condition of each rule that a column's values keep; the name says the rule."""
    for rule, condition in _rules(table, column):
        yield f"{column.name}_{rule}"[:NAME_MAX], condition


def _rules(table: Table, column: Column) -> Iterator[tuple[str, str]]:
    name, type_ = column.name, column.type
    if column.allowed and type_.kind is Kind.TEXT:
        yield "is_allowed", f"{name} IN ({', '.join(map(quoted, column.allowed))})"
    if type_.low is not None:
        yield f"at_least_{_in_name(type_.low)}", f"{name} >= {type_.low:f}"
    if type_.high is not None:
        yield f"at_most_{_in_name(type_.high)}", f"{name} <= {type_.high:f}"
    # Values of facts come through the ingest alone, which has checked their form already.
    if type_.kind in _FORMS and not table.fact:
        suffix, condition = _FORMS[type_.kind]
        yield suffix, condition.format(name)


#: What PostgreSQL's types take and the canonical form of ``shared.values`` does not.
_FORMS: Final = {
    Kind.DECIMAL: ("is_a_number", "{} <> 'NaN'"),
    Kind.FLOAT: ("is_finite", "{0} > '-infinity' AND {0} < 'infinity'"),
    Kind.TIMESTAMP: (
        "has_a_4_digit_year",
        "{0} >= '0001-01-01 00:00+00' AND {0} < '10000-01-01 00:00+00'",
    ),
    Kind.DATE: ("has_a_4_digit_year", "{0} >= '0001-01-01' AND {0} < '10000-01-01'"),
    Kind.TIME: ("has_whole_minutes", "date_trunc('minute', {0}) = {0} AND {0} < '24:00'"),
    Kind.SET: ("is_a_sorted_set", "sync.is_set({})"),
}


def _in_name(limit: Decimal) -> str:
    return f"{limit:f}".replace("-", "minus_").replace(".", "_")


def natural_key(number: int, values: Sequence[Value]) -> str | None:
    """Return the key that ``sync.row_key`` holds for a row's natural key of that number.

    None where a value is null: such a row has no key, as under a UNIQUE constraint. The triggers of
    ``central.capture`` make the same text.
    """
    if any(value is None for value in values):
        return None
    parts = [number, *map(str, values)]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def partition_name(table: str, site: str, month: str) -> str:
    """Return the name of a site's partition of a month such as ``2026-11``; ``*`` is shared."""
    owner = "shared" if site == SHARED else site.lower()
    return f"{table}__{owner}__{month.replace('-', '_')}"


def _sql_table(table: Table, tables: MetaData) -> SqlTable:
    if table.partitioned and len(table.name) > PARTITIONED_NAME_MAX:
        raise CatalogError(
            f"table {table.name} is partitioned: its name may have {PARTITIONED_NAME_MAX}"
            " characters at most, since its partitions carry site and month in theirs; shorten it"
        )
    named = {column.name: column for column in COMMON}
    columns = [named[name] for name in KEY] + list(table.columns)
    rules = [rule for column in columns for rule in checks(table, column)]
    return SqlTable(
        table.name,
        tables,
        *(_sql_column(column) for column in columns),
        PrimaryKeyConstraint(*KEY, name=f"{table.name}_pkey"),
        *(CheckConstraint(text(condition), name=name) for name, condition in rules),
        *_indexes(table),
        postgresql_partition_by="LIST (site_id)" if table.partitioned else None,
    )


def _sql_column(column: Column) -> SqlColumn[Any]:
    default = _KEY_DEFAULTS.get(column.name) if column in COMMON else None
    if column.default is not None:
        default = literal(column.type, column.default)
    return SqlColumn(
        column.name,
        sql_type(column.type),
        nullable=column.nullable,
        server_default=text(default) if default else None,
    )


def _indexes(table: Table) -> Iterator[Index]:
    if (latest := LATEST.get(table.name)) and set(latest) <= set(table.names):
        yield Index(f"{table.name}_latest", *latest)
    for name in INDEXES.get(table.name, ()):
        if name in table.names:
            # Rows without a reference are many, and nobody looks for them by it.
            some = text(f"{name} IS NOT NULL") if table.column(name).nullable else None
            yield Index(f"{table.name}_by_{name}", name, postgresql_where=some)
