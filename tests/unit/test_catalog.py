from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import (
    COLUMNS_MAX,
    Catalog,
    Column,
    ColumnType,
    Direction,
    Group,
    Kind,
    Policy,
    Table,
    from_json,
    to_json,
)
from shared.catalog_file import load_catalog
from shared.errors import CatalogError, UnknownColumn, UnknownTable

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parent.parent / "golden" / "catalogue.txt"
CATALOG = load_catalog()

tables = st.sampled_from(CATALOG.tables)
tables_and_names = tables.flatmap(
    lambda table: st.tuples(st.just(table), st.sets(st.sampled_from(table.names)))
)


def listing(catalog: Catalog) -> str:
    """Written anew by: python -m tests.unit.test_catalog > tests/golden/catalogue.txt"""
    return "".join(f"{line}\n" for table in catalog.tables for line in table_lines(table))


def table_lines(table: Table) -> Iterator[str]:
    marks = [
        table.direction.value,
        *(["append-only"] if table.append_only else []),
        *(["partitioned"] if table.partitioned else []),
        *(f"key({', '.join(key)})" for key in table.natural_keys),
        *([f"share({', '.join(table.share)})"] if table.is_of_several else []),
        *([f"relaxed by {table.relax_by}"] if table.relax_by else []),
    ]
    yield f"{table.name}: {', '.join(marks)}"
    for group in table.groups:
        for name in group.columns:
            column = table.column(name)
            required = "" if column.nullable else " not null"
            default = "" if column.default is None else f" = {column.default!r}"
            into = f" -> {column.references}{'!' * column.enforced}" if column.references else ""
            codes = f" ({' < '.join(column.order) or '|'.join(column.values)})"
            safe = f" safe={column.safe}" if column.safe else ""
            with_ = f" in {group.name}" if len(group.columns) > 1 else ""
            policy = "writer" if column.writer else column.policy
            yield (
                f"    {name}: {column.type}{required}{default}{into}"
                f"{codes if column.allowed else ''}: {policy}{safe}{with_}"
            )


def test_the_packaged_catalogue_is_the_one_in_the_golden_listing():
    assert listing(CATALOG) == GOLDEN.read_text(encoding="utf-8")


# --- masks and groups ------------------------------------------------------------------------


@given(tables_and_names)
def test_a_mask_made_of_names_gives_these_names_back_in_table_order(drawn):
    table, names = drawn
    back = table.names_of(table.mask(names))
    assert set(back) == names
    assert list(back) == sorted(back, key=table.names.index)


@given(tables.flatmap(lambda t: st.tuples(st.just(t), st.integers(0, (1 << len(t.names)) - 1))))
def test_names_made_of_a_mask_give_this_mask_back(drawn):
    table, mask = drawn
    assert table.mask(table.names_of(mask)) == mask


def test_a_mask_with_a_bit_beyond_the_columns_is_refused():
    table = CATALOG.table("sites")
    for mask in (1 << len(table.names), -1):
        with pytest.raises(UnknownColumn, match="sites"):
            table.names_of(mask)


def test_the_mask_of_a_table_of_the_most_columns_fits_a_signed_64_bit_integer():
    columns = tuple(Column(f"c{n}", ColumnType(Kind.TEXT)) for n in range(COLUMNS_MAX))
    table = Table("wide", Direction.BOTH, columns)
    assert table.mask(table.names) < 1 << 63


@given(tables)
def test_every_column_is_in_exactly_one_group_and_shares_its_policy(table):
    grouped = [name for group in table.groups for name in group.columns]
    assert sorted(grouped) == sorted(table.names)
    for column in table.columns:
        group = table.group_of(column.name)
        assert column.name in group.columns
        assert group.policy is column.policy


def test_columns_left_alone_become_groups_of_their_own_in_the_place_of_their_first_column():
    names = ("a", "b", "c", "d")
    columns = tuple(Column(name, ColumnType(Kind.TEXT), policy=Policy.SITE) for name in names)
    pair = Group("pair", ("b", "d"), Policy.SITE)
    table = Table("t", Direction.BOTH, columns, groups=(pair,))
    assert [group.name for group in table.groups] == ["a", "pair", "c"]
    assert replace(table, help="again").groups == table.groups


def test_an_unknown_table_or_column_is_named():
    table = CATALOG.table("sites")
    with pytest.raises(UnknownTable, match=r"version 1.*no table nonsuch"):
        CATALOG.table("nonsuch")
    for look_up in (table.column, table.bit, table.group_of, table.current_name):
        with pytest.raises(UnknownColumn, match="table sites has no column nonsuch"):
            look_up("nonsuch")
    assert "nonsuch" not in CATALOG


def test_a_column_is_found_by_every_name_that_it_has_had():
    column = Column("bin", ColumnType(Kind.TEXT), renamed_from=("shelf", "place"))
    table = Table("stores", Direction.BOTH, (column,))
    assert {table.current_name(name) for name in ("bin", "shelf", "place")} == {"bin"}


def test_a_lattice_ranks_its_states_and_null_before_the_first():
    state = CATALOG.table("work_orders").column("exec_state")
    ranks = [state.rank(value) for value in (None, "CREATED", "RELEASED", "CLOSED")]
    assert ranks == [-1, 0, 1, 4]
    cancel = CATALOG.table("work_orders").column("cancel_requested")
    assert cancel.rank(0) < cancel.rank(1)


# --- the whole -------------------------------------------------------------------------------


def test_no_table_comes_before_one_that_it_refers_to():
    seen: set[str] = set()
    for table in CATALOG.parents_first():
        parents = {column.references for column in table.columns} - {None, table.name}
        assert parents <= seen
        seen.add(table.name)
    assert len(seen) == len(CATALOG.tables)


def test_tables_that_refer_to_one_another_in_a_circle_are_refused():
    def table(name, parent):
        column = Column("parent_id", ColumnType(Kind.UUID), references=parent)
        return Table(name, Direction.BOTH, (column,))

    with pytest.raises(CatalogError, match="in a circle: chicken, egg"):
        Catalog(1, (table("egg", "chicken"), table("chicken", "egg"), table("farm", "farm")))


def test_a_catalogue_comes_back_from_its_text_unchanged():
    again = from_json(to_json(CATALOG))
    assert again == CATALOG
    assert again.digest == CATALOG.digest
    assert to_json(again) == to_json(CATALOG)


def test_every_field_of_a_column_survives_the_text():
    number = ColumnType(Kind.DECIMAL, None, 9, 3, Decimal("-0.5"), Decimal(7))
    columns = (
        Column("a", number, nullable=False, default="1.5", policy=Policy.REVIEW, since=2,
               renamed_from=("z",), safe="larger", unit="kg", help="?"),
        Column("b", ColumnType(Kind.BYTES), default=b"\0\xff"),
        Column("c", ColumnType(Kind.FLOAT), default=0.1),
        Column("d", ColumnType(Kind.TEXT, length=3), values=("x", "y"), writer=True),
        Column("e", ColumnType(Kind.UUID), references="t", order=("0", "1")),
    )  # fmt: skip
    catalog = Catalog(3, (Table("t", Direction.BOTH, columns, share=("d",), since=2),))
    assert from_json(to_json(catalog)) == catalog


def test_what_a_later_release_adds_to_the_text_is_left_out():
    plain = json.loads(to_json(CATALOG))
    plain["tables"][0]["sharded_by"] = "moon"
    plain["tables"][0]["columns"][0]["colour"] = "red"
    plain["tables"][0]["columns"][0]["type"]["endian"] = "big"
    assert from_json(json.dumps(plain)) == CATALOG


def test_the_digest_changes_with_any_shape_and_not_with_a_help_text():
    table = CATALOG.table("sites")
    others = tuple(other for other in CATALOG.tables if other is not table)
    reworded = Catalog(CATALOG.version, (*others, replace(table, help="other words")))
    reshaped = Catalog(CATALOG.version, (*others, replace(table, partitioned=True)))
    assert reworded.digest == CATALOG.digest
    assert reshaped.digest != CATALOG.digest
    assert Catalog(2, CATALOG.tables).digest != CATALOG.digest


# --- what the plants were promised -----------------------------------------------------------


def test_every_two_way_table_names_the_person_who_wrote():
    for table in CATALOG.tables:
        assert (table.writer_column is not None) is table.two_way, table.name


def test_every_policy_is_used_by_the_packaged_tables():
    assert {column.policy for table in CATALOG.tables for column in table.columns} == set(Policy)


def test_every_quantity_is_an_exact_decimal_with_a_unit_beside_it():
    for table in CATALOG.tables:
        for column in table.columns:
            assert column.type.kind is not Kind.FLOAT, (table.name, column.name)
            if column.name.startswith("qty") or column.unit == "uom":
                assert column.type.kind is Kind.DECIMAL, (table.name, column.name)
                assert column.unit == "uom", (table.name, column.name)
                assert "uom" in table.names


def test_sums_of_facts_are_columns_of_no_order_and_no_lot():
    assert not {"qty_good", "qty_scrap", "qty_rework"} & set(CATALOG.table("work_orders").names)
    assert "qty_on_hand" not in CATALOG.table("material_lots").names


def test_every_table_is_written_in_plain_sql_without_quotes():
    with closing(sqlite3.connect(":memory:")) as file:
        for table in CATALOG.tables:
            names = ", ".join(table.names)
            file.execute(f"CREATE TABLE {table.name} ({names})")
            file.execute(f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {table.name}")


def test_the_busy_facts_and_the_orders_are_partitioned_and_nothing_else():
    assert {table.name for table in CATALOG.tables if table.partitioned} == {
        "work_orders", "job_orders", "job_responses", "equipment_state_events",
        "downtime_annotations", "inventory_movements", "inspection_results", "measurements",
        "audit_log",
    }  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(listing(CATALOG))
