from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.catalog_file import load_catalog
from shared.catalog_steps import (
    AddColumn,
    AddTable,
    RenameColumn,
    WidenType,
    differences,
)
from shared.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = ColumnType(Kind.TEXT, length=40)
COLUMNS = (
    Column("code", TEXT, nullable=False, policy=Policy.SITE),
    Column("weight", ColumnType(Kind.DECIMAL, None, 9, 3, Decimal(0), Decimal(99))),
    Column("state", TEXT, order=("NEW", "WORN", "SCRAP"), policy=Policy.LATTICE),
    Column("kind", TEXT, values=("DRILL", "MILL")),
    Column("machine_id", ColumnType(Kind.UUID), references="machines"),
)
TOOLS = Table("tools", Direction.BOTH, COLUMNS, natural_keys=(("code",),), share=("site_id",))
MACHINES = Table("machines", Direction.BOTH, (Column("name", TEXT),))
OLD = Catalog(1, (TOOLS, MACHINES))


def grown(table: Table = TOOLS, *more: Table, version: int = 2) -> Catalog:
    return Catalog(version, (table, MACHINES, *more))


def with_column(name: str, /, **changes) -> Table:
    columns = tuple(replace(c, **changes) if c.name == name else c for c in TOOLS.columns)
    return replace(TOOLS, columns=columns, groups=(), natural_keys=((columns[0].name,),))


def typed(name: str, **limits) -> Table:
    return with_column(name, type=replace(TOOLS.column(name).type, **limits))


def with_columns(*columns: Column) -> Table:
    return replace(TOOLS, columns=columns, groups=())


NEW = Column("vendor", TEXT, since=2)


def test_a_catalogue_does_not_differ_from_itself():
    catalog = load_catalog()
    assert differences(catalog, catalog) == []


def test_a_new_table_is_a_step_and_parents_come_first():
    parent = Table("racks", Direction.BOTH, (Column("name", TEXT),))
    child = Table(
        "bins", Direction.BOTH, (Column("rack_id", ColumnType(Kind.UUID), references="racks"),)
    )
    steps = differences(OLD, grown(TOOLS, child, parent))
    assert [step.table.name for step in steps if isinstance(step, AddTable)] == ["racks", "bins"]


def test_a_new_column_at_the_end_is_a_step():
    assert differences(OLD, grown(with_columns(*COLUMNS, NEW))) == [AddColumn("tools", NEW)]


def test_a_column_renamed_in_its_place_is_a_step_and_keys_follow_it():
    table = with_column("code", name="tool_no", renamed_from=("code",))
    assert table.natural_keys == (("tool_no",),)
    assert differences(OLD, grown(table)) == [RenameColumn("tools", "code", "tool_no")]


def test_a_column_renamed_and_widened_at_once_is_renamed_first():
    table = with_column("kind", name="tool_kind", renamed_from=("kind",), values=())
    steps = differences(OLD, grown(table))
    assert steps == [
        RenameColumn("tools", "kind", "tool_kind"),
        WidenType("tools", TOOLS.column("kind"), table.column("tool_kind")),
    ]


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(typed("code", length=60), id="longer text"),
        pytest.param(typed("code", length=None), id="text without limit"),
        pytest.param(typed("weight", precision=10), id="more digits before the point"),
        pytest.param(typed("weight", precision=12, scale=6), id="more digits after the point"),
        pytest.param(typed("weight", low=None, high=Decimal(100)), id="wider range"),
        pytest.param(with_column("code", nullable=True), id="may be null now"),
        pytest.param(with_column("kind", values=("DRILL", "SAW", "MILL")), id="more codes"),
        pytest.param(
            with_column("state", order=("NEW", "USED", "WORN", "SCRAP")), id="state between"
        ),
        pytest.param(with_column("kind", default="MILL"), id="another default"),
    ],
)
def test_a_column_that_takes_more_than_it_took_is_a_step(table):
    (step,) = differences(OLD, grown(table))
    assert isinstance(step, WidenType)
    assert step.before == TOOLS.column(step.after.name)
    assert step.after == table.column(step.after.name)


@pytest.mark.parametrize(
    "table",
    [
        with_column("weight", policy=Policy.MAX),
        with_column("weight", help="kilograms", unit="kg"),
        with_column("machine_id", enforced=True),
        replace(TOOLS, help="what wears"),
    ],
)
def test_what_no_database_has_to_know_is_no_step(table):
    assert differences(OLD, grown(table)) == []


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (with_columns(*COLUMNS[1:]), "column code: it is gone"),
        (with_columns(*COLUMNS[:-1]), "column machine_id: it is gone"),
        (with_columns(COLUMNS[1], COLUMNS[0], *COLUMNS[2:]), "column code: it moved"),
        (with_columns(NEW, *COLUMNS), "column code: it moved"),
        (with_column("code", name="tool_no"), "column code: it is gone"),
        (with_columns(*COLUMNS, replace(NEW, since=1)), "column vendor: .*since = 2"),
        (
            with_columns(*COLUMNS, replace(NEW, nullable=False)),
            "column vendor: it is required; give it a default",
        ),
        (typed("code", length=39), "column code: .*only grow longer"),
        (typed("weight", precision=8), "column weight: .*digits may only be added"),
        (typed("weight", scale=2), "column weight: .*digits may only be added"),
        (typed("weight", scale=4), "column weight: .*digits may only be added"),
        (typed("weight", low=Decimal(1)), "column weight: values below low = 1"),
        (typed("weight", high=Decimal(98)), "column weight: values above high = 98"),
        (typed("weight", kind=Kind.FLOAT), "column weight: its type was .*add a new column"),
        (with_column("weight", nullable=False, default="0"), "column weight: it may hold null"),
        (with_column("kind", values=("DRILL",)), "column kind: the values MILL"),
        (with_column("code", values=("A",)), "column code: it may hold other values"),
        (with_column("state", order=("WORN", "NEW", "SCRAP")), "column state: .*their order"),
        (with_column("machine_id", references="tools"), "column machine_id: it refers to rows"),
        (replace(TOOLS, direction=Direction.DOWN), "table tools: direction was both, is down"),
        (replace(TOOLS, append_only=True), "table tools: append_only was False"),
        (replace(TOOLS, partitioned=True), "table tools: partitioned was False"),
        (replace(TOOLS, share=("kind",)), "table tools: share was"),
        (replace(TOOLS, natural_keys=()), "table tools: natural_keys was"),
    ],
)
def test_a_step_that_would_lose_something_is_refused_by_table_column_and_rule(table, rule):
    with pytest.raises(CatalogError, match=f"(?s)version 1 to 2.*- table tools.*{rule}|- {rule}"):
        differences(OLD, grown(table))


def test_a_name_that_a_column_had_is_kept_for_what_was_sent_under_it():
    first = with_column("kind", name="sort", renamed_from=("kind",))
    for name, earlier in (("sort", ()), ("class", ("sort",))):
        forgets = with_column("kind", name=name, renamed_from=earlier)
        with pytest.raises(CatalogError, match=r"column sort: it was called kind once"):
            differences(grown(first), grown(forgets, version=3))
    back = with_column("kind", name="kind", renamed_from=("sort",))
    assert differences(grown(first), grown(back, version=3)) == [
        RenameColumn("tools", "sort", "kind")
    ]


def test_a_table_that_is_gone_is_refused():
    with pytest.raises(CatalogError, match="table tools: it is gone"):
        differences(OLD, Catalog(2, (MACHINES,)))


def test_all_losses_are_told_at_once():
    table = with_columns(*COLUMNS[:-1])
    with pytest.raises(CatalogError) as caught:
        differences(OLD, Catalog(2, (table,)))
    assert str(caught.value).count("\n- ") == 2


def test_a_step_without_a_later_version_is_refused_with_what_to_raise():
    table = with_columns(*COLUMNS, NEW)
    with pytest.raises(CatalogError, match=r"tools, column vendor: .*raise `version`"):
        differences(OLD, grown(table, version=1))


def test_a_store_of_a_later_release_is_not_taken_back():
    later = grown(with_columns(*COLUMNS, NEW))
    with pytest.raises(CatalogError, match="vendor"):
        differences(later, OLD)


# --- the law: whatever is not refused loses nothing, and a way there is a way ------------------

growths: list[Callable[[Table, int], Table]] = [
    lambda t, n: replace(t, columns=(*t.columns, Column(f"more_{n}", TEXT, since=n)), groups=()),
    lambda t, n: replace(
        t,
        columns=(
            replace(
                t.columns[0],
                name=f"name_{n}",
                renamed_from=(*t.columns[0].renamed_from, t.columns[0].name),
            ),
            *t.columns[1:],
        ),
        natural_keys=((f"name_{n}",),),
        groups=(),
    ),
    lambda t, n: replace(
        t,
        columns=(
            replace(t.columns[0], type=ColumnType(Kind.TEXT, length=40 + n)),
            *t.columns[1:],
        ),
        groups=(),
    ),
]


@given(st.lists(st.sampled_from(growths), min_size=1, max_size=6))
def test_growing_step_by_step_or_at_once_ends_in_the_same_columns(steps):
    tables = [TOOLS]
    for number, grow in enumerate(steps, 2):
        tables.append(grow(tables[-1], number))
    catalogs = [grown(table, version=n) for n, table in enumerate(tables, 1)]
    for before, after in itertools.pairwise(catalogs):
        applied = follow(before.table("tools"), differences(before, after))
        assert applied == after.table("tools").columns
    at_once = follow(TOOLS, differences(catalogs[0], catalogs[-1]))
    assert [(c.name, c.type) for c in at_once] == [(c.name, c.type) for c in tables[-1].columns]
    with pytest.raises(CatalogError):
        differences(catalogs[-1], replace(catalogs[0], version=99))


def follow(table: Table, steps) -> tuple[Column, ...]:
    columns = list(table.columns)
    for step in steps:
        match step:
            case AddColumn(column=column):
                columns.append(column)
            case RenameColumn(before=before, after=after):
                place = [c.name for c in columns].index(before)
                earlier = (*columns[place].renamed_from, before)
                columns[place] = replace(columns[place], name=after, renamed_from=earlier)
            case WidenType(after=after):
                columns[[c.name for c in columns].index(after.name)] = after
    return tuple(columns)
