"""A centre with a row of each table for two sites, and one for all where it is not split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from central.roles import INGEST
from central.rollups import ROLLED
from central.unions import fold_statement
from shared.catalog import Kind
from tests.integration.central_world import CATALOG

if TYPE_CHECKING:
    from shared.catalog import Table

VALUES = {
    Kind.UUID: "uuidv7()", Kind.INTEGER: "1", Kind.DECIMAL: "1", Kind.BOOLEAN: "false",
    Kind.TIMESTAMP: "now()", Kind.DATE: "now()::date", Kind.TIME: "'06:00'", Kind.FLOAT: "1",
    Kind.JSON: "'{}'", Kind.SET: "'[]'", Kind.BYTES: "''",
}  # fmt: skip


@pytest.fixture
def rowed(centre):
    """A centre with a row of each table for two sites, and one for all where it is not split."""
    with psycopg.connect(centre, autocommit=True) as owner:
        owner.execute(f"SET ROLE {INGEST}")
        for table in CATALOG.tables:
            for site in (
                ("SITE_001", "SITE_002") if table.partitioned else ("SITE_001", "SITE_002", "*")
            ):
                owner.execute(row_of(table, site).encode())
        owner.execute(  # so that what is merged has rows as well
            b"UPDATE mes.job_responses SET equipment_id = uuidv7(), work_order_id = uuidv7(),"
            b" started_at = now() - interval '1 hour', ended_at = now()"
        )
        for name in ROLLED:  # some is folded, and some is not
            owner.execute(fold_statement(name).encode(), {"most": 100})
            owner.execute(f"UPDATE mes.{name} SET created_at = created_at".encode())
    return centre


def row_of(table: Table, site: str) -> str:
    values = {"site_id": f"'{site}'"}
    for column in table.columns:
        if column.name in table.share:
            text = f'["{site}"]' if column.type.kind is Kind.SET else site
            values[column.name] = f"'{text}'"
        elif not column.nullable and column.default is None:
            chosen = f"'{column.allowed[0] if column.allowed else 'x'}'"
            values[column.name] = VALUES.get(column.type.kind, chosen)
    return (
        f"INSERT INTO mes.{table.name} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    )
