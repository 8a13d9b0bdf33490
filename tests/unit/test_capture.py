"""The SQL by which a table guards and captures itself is in the repository, for reviewers."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edge import capture
from edge.sql_text import NOW, NOW_MS, UUID7, literal, quoted
from edge.store import schema
from shared.catalog import Direction
from shared.catalog_file import load_catalog

CATALOG = load_catalog()
GOLDEN = Path(__file__).parents[1] / "golden"


def capture_sql(name):
    """Return everything that a table's capture consists of."""
    table = CATALOG.table(name)
    form = capture.form_of(table, CATALOG, site="SITE_001")
    statements = [schema.create_statement(table, form)]
    if capture.has_log(table, form):
        statements.append(capture.log_statement(table))
    statements += capture.triggers(table, form).values()
    return ";\n\n".join(statements) + ";\n"


@pytest.mark.parametrize("name", ["work_orders", "job_responses"])
def test_the_capture_of_a_table_is_what_the_golden_file_says(name):
    # python -c "from tests.unit.test_capture import *; print(capture_sql('NAME'), end='')"
    assert capture_sql(name) == (GOLDEN / f"capture_{name}.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", CATALOG.tables, ids=lambda table: table.name)
def test_every_table_of_the_catalogue_is_accepted_by_sqlite(table):
    form = capture.form_of(table, CATALOG, site="SITE_001")
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE _sync_applying (flag)")
    database.execute(schema.create_statement(table, form))
    if table.relax_by:
        signed = CATALOG.table(table.relax_by)
        database.execute(
            schema.create_statement(signed, capture.form_of(signed, CATALOG, site="SITE_001"))
        )
    if capture.has_log(table, form):
        database.execute(capture.log_statement(table))
    for name, text in capture.triggers(table, form).items():
        database.execute(text)
        assert name.startswith(f"_sync_{table.name}_")
    # A statement is compiled with all its triggers, so a mistake in one shows here.
    for statement in ("INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET id = id", "DELETE FROM {}"):
        database.execute(f"EXPLAIN {statement.format(table.name)}")
    database.close()


def test_facts_have_no_log_and_tables_of_the_centre_neither():
    logged = {
        table.name
        for table in CATALOG.tables
        if capture.has_log(table, capture.form_of(table, CATALOG, site="S"))
    }
    assert logged == {table.name for table in CATALOG.tables if table.direction is Direction.BOTH}


def test_an_adopted_fact_has_a_log_for_it_has_no_journal():
    table = CATALOG.table("job_responses")
    form = replace(capture.form_of(table, CATALOG, site="S"), adopted=True)
    assert capture.has_log(table, form)
    assert "_seq" not in "".join(capture.triggers(table, form).values())


@pytest.mark.parametrize("name", ["plain", "with space", 'with "quotes"', "Größe"])
def test_any_name_and_any_value_can_be_written_into_sql(name):
    database = sqlite3.connect(":memory:")
    for value in (None, "it's", "", 1, -1.5, b"\x00\xff", 2**53 + 1):
        (read,) = database.execute(f"SELECT {literal(value)} AS {quoted(name)}").fetchone()
        assert (read, type(read)) == (value, type(value))
    database.close()


def test_ids_and_times_made_by_sql_are_of_now_and_in_canonical_form():
    database = sqlite3.connect(":memory:")
    row = database.execute(f"SELECT {NOW_MS}, {NOW}, {UUID7}, {UUID7}").fetchone()
    ms, instant, first, second = row
    seconds, fraction = divmod(ms, 1000)
    (shown,) = database.execute(
        "SELECT strftime('%Y-%m-%dT%H:%M:%S', ?, 'unixepoch')", (seconds,)
    ).fetchone()
    assert instant == f"{shown}.{fraction:03}Z"
    assert int(first[:8] + first[9:13], 16) == ms
    assert first != second
    for made in (first, second):
        assert [len(group) for group in made.split("-")] == [8, 4, 4, 4, 12]
        assert (made[14], made[19] in "89ab", made) == ("7", True, made.lower())
    database.close()
