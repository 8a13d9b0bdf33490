from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

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
)
from shared.catalog_rules import TableFile, broken_rules

TEXT = ColumnType(Kind.TEXT, length=9)
FREE, JSON = ColumnType(Kind.TEXT), ColumnType(Kind.JSON)
HALF, LONG = ColumnType(Kind.TEXT, length=499), ColumnType(Kind.TEXT, length=501)
UUID = ColumnType(Kind.UUID)
NUMBER = ColumnType(Kind.INTEGER)
A = Column("a", TEXT, nullable=False, policy=Policy.SITE)
OTHER = Table("machines", Direction.BOTH, (replace(A, name="name"),))


def broken(table: Table, *others: Table, version: int = 1) -> list[str]:
    found = [TableFile("acme.toml", version, table)]
    found += [TableFile("others.toml", 1, other) for other in (OTHER, *others)]
    return broken_rules(found)


def tools(*columns: Column, **rest) -> Table:
    return Table("tools", rest.pop("direction", Direction.BOTH), columns or (A,), **rest)


def test_a_table_that_keeps_every_rule_breaks_none():
    assert broken(tools()) == []


@pytest.mark.parametrize(
    "column",
    [
        replace(A, type=ColumnType(Kind.TEXT, length=500)),
        replace(A, type=FREE, values=("x", "y")),
        replace(A, type=UUID),
        replace(A, type=NUMBER),
    ],
)
def test_a_natural_key_that_an_index_holds_breaks_no_rule(column):
    assert broken(tools(column, natural_keys=(("a",),))) == []


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (replace(tools(), name="Tools"), "not lower-case letters"),
        (replace(tools(), name="t" * 41), "at most 40"),
        (replace(tools(), name="order"), "a word of SQL"),
        (replace(tools(), name="sync_tools"), "are kept"),
        (replace(tools(), name="pg_tools"), "are kept"),
        (replace(tools(), columns=()), "0 columns; 1 to 60"),
        (tools(*(replace(A, name=f"a{n}") for n in range(COLUMNS_MAX + 1))), "61 columns"),
        (tools(direction=Direction.UP), 'direction = "both" and policy = "site"'),
        (tools(replace(A, policy=Policy.APPEND_ONLY), append_only=True), '"up" or "down"'),
        (tools(A, A), "column name a is used twice"),
        (tools(A, replace(A, name="b", renamed_from=("a",))), "column name a is used twice"),
        (tools(since=2), "since = 2, the file has version = 1"),
        (tools(replace(A, since=0)), "since = 0"),
        (tools(replace(A, writer=True), replace(A, name="b", writer=True)), "marked writer"),
        (tools(share=("b",)), "share names column b"),
        (tools(replace(A, type=UUID), share=("a",)), "only text and set can name sites"),
        (tools(share=()), "no site would get a row"),
        (tools(natural_keys=(("b",),)), "natural key column b is not a column"),
        (tools(replace(A, nullable=True), natural_keys=(("a",),)), "a may be null"),
        (tools(natural_keys=(("site_id", "a"),)), "unique within its site already"),
        (tools(natural_keys=((),)), "unique within its site already"),
        (tools(replace(A, type=FREE), natural_keys=(("a",),)), "a is text of any length"),
        (tools(replace(A, type=JSON), natural_keys=(("a",),)), "a is json of any length"),
        (tools(replace(A, type=LONG), natural_keys=(("a",),)), "key a may take 2004 bytes"),
        (
            tools(replace(A, type=HALF), replace(A, name="b"), natural_keys=(("a", "b"),)),
            "key a, b may take 2032 bytes",
        ),
        (tools(groups=(Group("g", ("a", "b"), Policy.SITE),)), "b is not a business column"),
        (tools(groups=(Group("g", ("a", "id"), Policy.SITE),)), "id is not a business column"),
        (tools(relax_by="machines"), "no column is a lattice"),
        (tools(relax_by="machines"), "machines, which is not an append-only table"),
        (tools(relax_by="nothing"), "nothing, which is not an append-only table"),
    ],
)
def test_a_table_that_breaks_a_rule_is_named_with_file_and_rule(table, rule):
    lines = broken(table)
    assert any(line.startswith(f"acme.toml: table {table.name}") for line in lines)
    assert any(rule in line for line in lines), lines


def test_an_older_column_after_a_newer_one_is_refused():
    table = tools(replace(A, since=2, nullable=True), replace(A, name="b"))
    (line,) = broken(table, version=2)
    assert "column b is older than a before it; append new columns" in line


def test_two_groups_do_not_share_a_column_or_a_name():
    b = replace(A, name="b")
    shared = (Group("g", ("a", "b"), Policy.SITE), Group("h", ("b",), Policy.SITE))
    assert any("column b is in two groups" in line for line in broken(tools(A, b, groups=shared)))
    spaced = (Group("a b", ("a",), Policy.SITE),)
    assert any("group name 'a b'" in line for line in broken(tools(A, b, groups=spaced)))
    named = (Group("b", ("a",), Policy.SITE),)
    assert any("group name b is used twice" in line for line in broken(tools(A, b, groups=named)))


@pytest.mark.parametrize("policy", [Policy.SUM, Policy.ADD_REMOVE_SET])
def test_columns_that_are_merged_one_by_one_form_no_group(policy):
    columns = (replace(A, policy=policy), replace(A, name="b", policy=policy))
    lines = broken(tools(*columns, groups=(Group("g", ("a", "b"), policy),)))
    assert any("is decided column by column; drop the group" in line for line in lines)


def test_the_writer_goes_with_any_write_and_so_with_no_group():
    who = replace(A, name="who", writer=True)
    lines = broken(tools(A, who, groups=(Group("g", ("a", "who"), Policy.SITE),)))
    assert any("group g: who is marked writer" in line for line in lines)


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        (replace(A, name="created_at"), "every table has this column already"),
        (replace(A, name="select"), "a word of SQL"),
        (replace(A, name="sync_note"), "are kept"),
        (replace(A, type=ColumnType(Kind.TEXT, length=0)), "text(0) holds nothing"),
        (replace(A, type=ColumnType(Kind.TEXT, length=4_000_001)), "leave the length out"),
        (replace(A, values=("a\0",)), "holds a NUL"),
        (replace(A, type=ColumnType(Kind.DECIMAL, None, 3, 4)), "decimal(3,4): write"),
        (replace(A, type=ColumnType(Kind.DECIMAL, None, 39, 4)), "38 digits at most"),
        (replace(A, type=replace(TEXT, low=Decimal(1))), "low and high are for numbers"),
        (
            replace(A, type=replace(NUMBER, low=Decimal(2), high=Decimal(1))),
            "low 2 is above high 1",
        ),
        (replace(A, type=NUMBER, values=("1",)), "values and order are for text"),
        (replace(A, values=("much too long",)), "'much too long' is longer than text(9)"),
        (replace(A, values=("x", "x")), "'x' is listed twice"),
        (replace(A, policy=Policy.SUM), "policy sum can't decide on text"),
        (replace(A, policy=Policy.MAX), "policy max can't decide on text"),
        (replace(A, type=NUMBER, policy=Policy.LATTICE), "lattice can't decide on integer"),
        (replace(A, policy=Policy.ADD_REMOVE_SET), "add_remove_set can't decide on text"),
        (replace(A, type=ColumnType(Kind.BYTES), policy=Policy.REVIEW), "bytes can't be read"),
        (replace(A, policy=Policy.APPEND_ONLY), "append_only in a table with append_only = false"),
        (replace(A, order=("x", "y")), "order is for policy lattice"),
        (
            replace(A, policy=Policy.LATTICE, order=("x", "y"), values=("x",)),
            "takes the place of values",
        ),
        (replace(A, policy=Policy.LATTICE, order=("x",)), "add order"),
        (replace(A, type=NUMBER, policy=Policy.SUM), "required = true and default = 0"),
        (replace(A, safe="keep_site"), "safe is for policy review"),
        (replace(A, policy=Policy.REVIEW, safe="softer"), "one of keep_site, smaller, larger"),
        (replace(A, policy=Policy.REVIEW, safe="larger"), "text has no smaller and larger"),
        (replace(A, enforced=True), "enforced needs references"),
        (replace(A, type=UUID, references="racks"), "racks, which no file declares"),
        (replace(A, references="machines"), 'write type = "uuid"'),
        (replace(A, type=UUID, references="tools", enforced=True), "can't wait for its own rows"),
        (replace(A, default="much too long"), "the default breaks the column's own rule"),
        (replace(A, default="x", values=("y",)), "one of y is expected"),
        (replace(A, since=2), "required but has no default for the rows there are"),
        (replace(A, type=NUMBER, writer=True), "a writer column holds a name"),
    ],
)
def test_a_column_that_breaks_a_rule_is_named_with_file_table_column_and_rule(column, rule):
    lines = broken(tools(column), version=2)
    place = f"acme.toml: table tools, column {column.name}: "
    assert any(line.startswith(place) and rule in line for line in lines), lines


def test_columns_that_go_with_the_first_of_a_group_may_be_of_any_kind():
    when = Column("at", ColumnType(Kind.TIMESTAMP), policy=Policy.MIN)
    who = Column("by", TEXT, policy=Policy.MIN)
    assert broken(tools(when, who, groups=(Group("ack", ("at", "by"), Policy.MIN),))) == []
    (line,) = broken(tools(when, who, groups=(Group("ack", ("by", "at"), Policy.MIN),)))
    assert "column by: policy min can't decide on text" in line


def test_a_table_that_relaxes_a_lattice_needs_the_row_and_both_states():
    state = Column("state", TEXT, order=("OK", "BAD"), policy=Policy.LATTICE)
    signed = Table(
        "pardons",
        Direction.UP,
        (replace(A, policy=Policy.APPEND_ONLY),),
        append_only=True,
    )
    lines = broken(tools(state, relax_by="pardons"), signed)
    assert [line.split("relax_by: ")[1] for line in lines] == [
        "pardons has no column that references tools; add one",
        "pardons has no column from_state; add it",
        "pardons has no column to_state; add it",
    ]


def test_a_table_declared_twice_is_named_with_both_files():
    lines = broken(tools(), tools())
    assert any("others.toml: table tools: already declared in acme.toml" in x for x in lines)


def test_references_that_go_in_a_circle_are_named_with_their_files():
    to_racks = Column("rack_id", UUID, references="racks", policy=Policy.SITE)
    to_tools = Column("tool_id", UUID, references="tools", policy=Policy.SITE)
    racks = Table("racks", Direction.BOTH, (to_tools,))
    (line,) = broken(tools(to_racks), racks)
    assert line.startswith("acme.toml, others.toml: ")
    assert "in a circle: racks, tools" in line


names = st.text("ab_1O", max_size=3)
wild_columns = st.builds(
    Column,
    names,
    st.builds(
        ColumnType,
        st.sampled_from(Kind),
        st.none() | st.integers(0, 3),
        st.none() | st.integers(-1, 40),
        st.none() | st.integers(-1, 40),
        st.none() | st.decimals(-2, 2, places=1),
        st.none() | st.decimals(-2, 2, places=1),
    ),
    nullable=st.booleans(),
    default=st.none() | st.integers(-2, 2) | st.text(max_size=2),
    policy=st.sampled_from(Policy),
    since=st.integers(-1, 3),
    renamed_from=st.lists(names, max_size=1).map(tuple),
    references=st.none() | st.sampled_from(["t", "u", "machines"]),
    enforced=st.booleans(),
    values=st.lists(names, max_size=2).map(tuple),
    order=st.lists(names, max_size=2).map(tuple),
    safe=st.none() | st.sampled_from(["keep_site", "larger", "x"]),
    writer=st.booleans(),
)
wild_tables = st.builds(
    Table,
    st.sampled_from(["t", "u", "in", "T"]),
    st.sampled_from(Direction),
    st.lists(wild_columns, max_size=3).map(tuple),
    append_only=st.booleans(),
    share=st.lists(names, max_size=1).map(tuple),
    natural_keys=st.lists(st.lists(names, max_size=2).map(tuple), max_size=1).map(tuple),
    relax_by=st.none() | st.sampled_from(["t", "u"]),
)


@given(st.lists(wild_tables, max_size=3))
def test_whatever_is_declared_is_a_catalogue_or_is_told_what_to_mend(wild):
    lines = broken_rules([TableFile("wild.toml", 1, table) for table in wild])
    assert all(line.startswith("wild.toml: ") for line in lines)
    if not lines:
        assert len(Catalog(1, tuple(wild)).tables) == len(wild)
