"""The centre's tables and triggers as text: what the catalogue says is what PostgreSQL is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Numeric, Text, Uuid
from sqlalchemy.dialects import postgresql

from central import backups, capture, feed, migrate, partitions, roles, schema
from central.store import lives
from shared.catalog import COMMON, Catalog, Column, ColumnType, Direction, Kind, Table
from shared.catalog_file import load_catalog
from shared.errors import CatalogError, SchemaMismatch

CATALOG = load_catalog()
GOLDEN = Path(__file__).parent.parent / "golden"
#: One for each kind of table: two-way and partitioned, shared by a set of sites, central and
#: append-only, and a fact.
SHOWN = ("work_orders", "persons", "bom_items", "job_responses")
NOVEMBER_26 = 1795651200000

EXPECTED_TYPES = {
    Kind.UUID: Uuid,
    Kind.INTEGER: BigInteger,
    Kind.DECIMAL: Numeric,
    Kind.BOOLEAN: Boolean,
    Kind.TIMESTAMP: postgresql.TIMESTAMP,
    Kind.JSON: postgresql.JSON,
    Kind.SET: Text,
}


def small(name: str = "tools", *columns: Column, **more: object) -> Table:
    held = columns or (Column("code", ColumnType(Kind.TEXT, length=40)),)
    return Table(name, Direction.BOTH, held, **more)


def golden_file(name: str) -> Path:
    return GOLDEN / f"central_capture_{name}.sql"


@pytest.mark.parametrize("name", SHOWN)
def test_the_capture_of_a_table_is_the_text_in_its_golden_file(name):
    """Written anew by: python -m tests.unit.test_central_schema"""
    assert capture.capture_text(CATALOG.table(name)) == golden_file(name).read_text()


def test_every_column_of_the_catalogue_is_a_column_of_the_metadata():
    metadata = schema.metadata(CATALOG)
    assert {f"mes.{table.name}" for table in CATALOG.tables} == set(metadata.tables)
    for table in CATALOG.tables:
        made = metadata.tables[f"mes.{table.name}"]
        assert set(made.columns.keys()) == {c.name for c in (*COMMON, *table.columns)}
        assert tuple(made.primary_key.columns.keys()) == ("site_id", "created_at", "id")
        for column in table.columns:
            assert made.columns[column.name].nullable == column.nullable
            expected = EXPECTED_TYPES.get(column.type.kind)
            assert expected is None or isinstance(made.columns[column.name].type, expected)


def test_partitioned_tables_and_no_others_are_split_by_site():
    for table in CATALOG.tables:
        statement = schema.create_statements(table)[0]
        assert statement.endswith("PARTITION BY LIST (site_id)") == table.partitioned


def test_reports_get_no_index_on_a_column_that_the_catalogue_has_not():
    for name, columns in schema.INDEXES.items():
        assert set(columns) <= set(CATALOG.table(name).names)


def test_every_fact_that_others_wait_for_is_found_by_its_id():
    waited_for = {
        column.references
        for table in CATALOG.tables
        for column in table.columns
        if column.enforced and column.references and CATALOG.table(column.references).fact
    }
    assert waited_for == set(schema.waited_for(CATALOG)) == {"inspection_results"}
    steps = {step.what: step.statements for step in migrate.index_steps(CATALOG, {})}
    made, _ = steps.pop("index by id of inspection_results made")
    assert made.endswith("ON mes.inspection_results (id)")
    assert steps == {}


def test_a_rule_is_named_by_what_it_asks_for():
    column = Column("weight", ColumnType(Kind.DECIMAL, None, 9, 3, Decimal("-0.5"), Decimal(99)))
    assert dict(schema.checks(small(), column)) == {
        "weight_at_least_minus_0_5": "weight >= -0.5",
        "weight_at_most_99": "weight <= 99",
        "weight_is_a_number": "weight <> 'NaN'",
    }


def test_names_of_rules_fit_into_postgresql_and_differ_within_a_table():
    for table in (*CATALOG.tables, small("t", Column("c" * 40, ColumnType(Kind.TIME)))):
        names = [name for column in table.columns for name, _ in schema.checks(table, column)]
        assert len(names) == len(set(names))
        assert all(len(name) <= 63 for name in names)


def test_a_quote_in_a_default_or_an_allowed_value_stays_inside_its_literal():
    odd = Column("shift", ColumnType(Kind.TEXT), default="o'clock", values=("o'clock", "x"))
    statement = schema.create_statements(small("tools", odd))[0]
    assert "DEFAULT 'o''clock'" in statement
    assert "shift IN ('o''clock', 'x')" in statement


def test_a_partitioned_table_whose_partitions_would_be_cut_off_is_refused():
    fits = small("t" * schema.PARTITIONED_NAME_MAX, partitioned=True)
    longest = schema.partition_name(fits.name, "S" * 20, "2026-11")
    assert len(longest) == 63
    assert schema.create_statements(fits)
    with pytest.raises(CatalogError, match="shorten it"):
        schema.create_statements(replace(fits, name=fits.name + "t"))


def test_partitions_are_named_by_table_site_and_month():
    assert schema.partition_name("holds", "PLANT_1", "2026-11") == "holds__plant_1__2026_11"
    assert schema.partition_name("holds", "*", "2026-11") == "holds__shared__2026_11"


def test_months_ahead_go_on_into_the_next_year():
    assert list(partitions.months(NOVEMBER_26, 3)) == ["2026-11", "2026-12", "2027-01", "2027-02"]


@pytest.mark.parametrize(
    ("month", "kept"),
    [("1969-12", False), ("1970-01", True), ("2028-11", True), ("2028-12", False)],
)
def test_rows_of_a_month_out_of_all_reason_get_no_partition(month, kept):
    assert (partitions.month_refused(month, NOVEMBER_26) is None) == kept


def test_a_natural_key_with_a_null_in_it_is_no_key():
    assert schema.natural_key(0, ["A", None]) is None


@given(st.lists(st.one_of(st.text(), st.integers()), min_size=1))
def test_a_natural_key_says_its_number_and_its_values(values):
    text = schema.natural_key(3, values)
    assert text is not None
    assert json.loads(text) == [3, *map(str, values)]


@pytest.mark.parametrize("table", CATALOG.tables, ids=lambda table: table.name)
def test_facts_are_refused_and_everything_else_is_captured(table):
    text = capture.capture_text(table)
    captured = set(re.findall(r"CREATE TRIGGER capture_(\w+)", text))
    if table.fact:
        assert captured == set()
        assert "EXECUTE FUNCTION sync.refuse_fact()" in text
    elif table.append_only:
        assert captured == {"insert"}
        assert "EXECUTE FUNCTION sync.refuse_correction()" in text
    else:
        assert captured == {"insert", "update", "delete"}
    assert "BEFORE TRUNCATE" in text
    assert "BEFORE UPDATE OF id, site_id, created_at" in text


@pytest.mark.parametrize("table", CATALOG.tables, ids=lambda table: table.name)
def test_every_capture_function_has_a_fixed_path_and_is_silent_for_the_ingest_alone(table):
    text = capture.capture_text(table)
    functions = text.count("SECURITY DEFINER")
    assert text.count("SET search_path = pg_catalog, pg_temp") == functions
    after = re.findall(r"CREATE TRIGGER capture_[^;]*", text)
    assert len(after) == functions
    assert all("WHEN (current_user <> 'mes_ingest')" in trigger for trigger in after)


def test_bits_of_the_mask_are_those_of_the_catalogue():
    table = CATALOG.table("work_orders")
    text = capture.capture_text(table)
    for column in table.columns:
        written = re.search(
            rf"WHEN o\.{column.name}(?:::text)? IS DISTINCT FROM n\.{column.name}(?:::text)?"
            r" THEN (\d+) ELSE 0",
            text,
        )
        assert written
        assert int(written[1]) == 1 << table.bit(column.name)


def test_the_policy_of_one_site_compares_it_without_a_sub_select():
    for table in CATALOG.tables:
        made = [s for s in roles.table_statements(table) if s.startswith("CREATE POLICY")]
        policies = [s for s in made if "_by_site ON" in s]
        assert len(policies) == 4
        assert not any("select" in policy.lower().split("for select")[-1] for policy in policies)


# --- the plan of a migration -----------------------------------------------------------------


def file(number: int, text: str = "SELECT 1") -> migrate.Migration:
    return migrate.Migration(number, f"{number:04d}_step", text)


def test_files_that_were_applied_are_not_applied_again():
    applied = {1: ("0001_step", file(1).sha256)}
    assert migrate.pending([file(1), file(2)], applied) == [file(2)]


def test_an_applied_file_that_was_changed_since_is_refused():
    applied = {1: ("0001_step", file(1).sha256)}
    with pytest.raises(SchemaMismatch, match=r"0001_step\.sql was changed after"):
        migrate.pending([file(1, "SELECT 2")], applied)


def test_a_database_of_a_later_release_is_refused():
    applied = {2: ("0002_later", "00")}
    with pytest.raises(SchemaMismatch, match=r"later release \(0002_later\); upgrade"):
        migrate.pending([file(1)], applied)


def test_the_packaged_files_are_numbered_without_gaps():
    files = migrate.migrations()
    assert [file.number for file in files] == list(range(1, len(files) + 1))


def test_a_renamed_column_takes_its_rules_along():
    old = Catalog(1, (small("tools", Column("kg", ColumnType(Kind.INTEGER, low=Decimal(0)))),))
    renamed = Column("grams", ColumnType(Kind.INTEGER, low=Decimal(0)), renamed_from=("kg",))
    new = Catalog(2, (small("tools", renamed),))
    step = next(iter(migrate.catalogue_steps(old, new)))
    assert step.what == "tools.kg renamed to grams"
    assert step.statements == (
        "ALTER TABLE mes.tools RENAME COLUMN kg TO grams",
        "ALTER TABLE mes.tools RENAME CONSTRAINT kg_at_least_0 TO grams_at_least_0",
    )


def test_triggers_are_made_again_only_where_their_text_is_another():
    made: dict[str, str] = {}
    steps = list(migrate.generated_steps(CATALOG, made))
    assert len(steps) == len(CATALOG.tables)
    for step in steps:
        noted = re.search(r"VALUES \('(\w+)', '(\w+)'\)", step.statements[-1])
        assert noted
        made[noted[1]] = noted[2]
    assert list(migrate.generated_steps(CATALOG, made)) == []
    made["holds"] = "of another release"
    (step,) = migrate.generated_steps(CATALOG, made)
    assert "holds" in step.what


if __name__ == "__main__":
    for shown in SHOWN:
        golden_file(shown).write_text(capture.capture_text(CATALOG.table(shown)))


def test_locks_of_different_things_have_different_numbers():
    assert len({feed._SEQUENCER_LOCK, backups.MARK_LOCK, lives._LOCK}) == 3
