"""What holds for every write, whatever the row, the history and the order of arrival."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.catalog import Kind, Policy
from shared.changes import Op
from shared.values import canonical
from sync.policies import same
from sync.resolve import CENTRE, Outcome, Version, Write, resolve
from tests.unit.resolve_cases import TABLE, Row, author, head, set_of, update

SITES = ("S1", "S2", CENTRE)
PERSONS = {column.name for column in TABLE.columns if column.writer}
BUSINESS = [name for name in TABLE.names if name not in PERSONS]
#: Their result is the same in whatever order the writes arrive.
ORDER_FREE = [
    "notes",
    "count",
    "stock",
    "severity",
    "peak",
    "started",
    "state",
    "tags",
    "lsl",
    "usl",
]

TEXTS = st.sampled_from(["a", "b", "c"])
DECIMALS = st.integers(-300, 300).map(
    lambda n: canonical(TABLE.column("stock").type, Decimal(n) / 4)
)
TIMES = st.integers(10, 20).map(lambda hour: f"2026-01-01T{hour}:00:00.000Z")
SETS = st.frozensets(TEXTS).map(set_of)
OF_KIND = {
    Kind.TEXT: TEXTS,
    Kind.INTEGER: st.integers(-5, 5),
    Kind.DECIMAL: DECIMALS,
    Kind.TIMESTAMP: TIMES,
    Kind.SET: SETS,
}


def values_of(name):
    """Return a strategy of canonical values of a column."""
    column = TABLE.column(name)
    values = st.sampled_from(column.order) if column.order else OF_KIND[column.type.kind]
    return st.none() | values if column.nullable else values


ROWS = st.fixed_dictionaries({name: values_of(name) for name in TABLE.names})
SOME = st.fixed_dictionaries({}, optional={name: values_of(name) for name in TABLE.names})
COLUMNS = st.frozensets(st.sampled_from(TABLE.names), min_size=1)
AUTHORS = st.builds(
    author, st.sampled_from(SITES), st.integers(90, 110), st.sampled_from(["Ann", "Bo"])
)


@st.composite
def histories(draw):
    """Return the versions since a base, or None where they are unknown."""
    versions = []
    for number in range(draw(st.integers(0, 4))):
        op = draw(st.sampled_from([Op.UPDATE, Op.UPDATE, Op.UPDATE, Op.INSERT, Op.DELETE]))
        columns = draw(COLUMNS) if op is Op.UPDATE else frozenset(TABLE.names)
        overruled = draw(st.frozensets(st.sampled_from(sorted(columns))))
        contested = draw(st.frozensets(st.sampled_from(sorted(columns)), max_size=2))
        who = draw(AUTHORS)
        versions.append(Version(f"v{number}", op, columns, who, overruled, contested))
    return draw(st.sampled_from([versions, versions, versions, None]))


@st.composite
def writes(draw):
    op = draw(st.sampled_from([Op.UPDATE, Op.UPDATE, Op.INSERT, Op.DELETE]))
    new = draw(SOME) if op is not Op.DELETE else {}
    assume(new or op is Op.DELETE)
    old = {name: draw(values_of(name)) for name in new} if op is Op.UPDATE else {}
    return Write(op, "tx", "v", new, old, draw(AUTHORS))


def result_of(stands, done):
    """Return what the row holds afterwards; None where it does not stand."""
    if done.delete or (stands is None and not done.revive):
        return None
    return head(**done.values) if stands is None else stands | done.values


def recorded(done, column, side, value):
    """Return whether a conflict holds this value of a column on that side."""
    return any(
        column in conflict.columns
        and column in getattr(conflict, side)
        and same(getattr(conflict, side)[column], value)
        for conflict in done.conflicts
    )


# --- nothing is lost unrecorded ----------------------------------------------------------------


@given(ROWS | st.none(), ROWS | st.none(), histories(), writes())
def test_what_a_write_asked_for_stands_or_is_in_a_conflict_with_its_author(
    stands, last, since, write
):
    done = resolve(TABLE, stands, last, since, write)
    row = result_of(stands, done) or {}
    for column, value in write.new.items():
        if column in PERSONS or (column in row and same(row[column], value)):
            continue
        assert recorded(done, column, "here", value), column
    assert all(conflict.here_author == write.author for conflict in done.conflicts)


@given(ROWS, histories(), writes())
def test_what_a_write_displaces_unseen_is_in_a_conflict_with_its_author(stands, since, write):
    done = resolve(TABLE, stands, None, since, write)
    row = result_of(stands, done) or {}
    others = [
        v for v in since or () if v.author.site != write.author.site or v.author.site == CENTRE
    ]
    for column in BUSINESS:
        if column in row and same(row[column], stands[column]):
            continue
        wrote = [v for v in since or () if column in v.columns - v.overruled]
        if since is None or (wrote and wrote[-1] in others):
            assert recorded(done, column, "central", stands[column]), column
            assert since is None or all(
                c.central_author for c in done.conflicts if column in c.columns
            )


@given(ROWS, histories(), writes())
def test_a_conflict_holds_what_the_writer_saw_and_what_came_out(stands, since, write):
    done = resolve(TABLE, stands, None, since, write)
    row = result_of(stands, done) or {}
    for conflict in done.conflicts:
        base = conflict.base or {}
        assert base.keys() == write.old.keys() & set(conflict.columns)
        assert all(same(base[name], write.old[name]) for name in base)
        if row:
            for name in set(conflict.columns) & conflict.result.keys() - PERSONS:
                assert same(row[name], conflict.result[name])


@given(ROWS, histories(), writes())
def test_overruled_names_exactly_the_columns_that_did_not_take_effect(stands, since, write):
    assume(write.op is Op.UPDATE)
    done = resolve(TABLE, stands, None, since, write)
    row = result_of(stands, done)
    merged = {
        c
        for conflict in done.conflicts
        if conflict.outcome is Outcome.MERGED
        for c in conflict.columns
    }
    missed = {c for c, value in write.new.items() if not same(row[c], value)}
    assert done.overruled == missed - merged


@given(ROWS, histories(), writes())
def test_no_review_is_silently_resolved(stands, since, write):
    done = resolve(TABLE, stands, None, since, write)
    touched = set(write.new) if write.op is Op.UPDATE else set(BUSINESS)
    for group in TABLE.groups:
        if group.policy is not Policy.REVIEW or touched.isdisjoint(group.columns):
            continue
        unseen = since is None or any(
            v.columns & set(group.columns)
            for v in since
            if v.author.site != write.author.site or v.author.site == CENTRE
        )
        equal = write.op is not Op.DELETE and all(
            same(stands[c], write.new[c]) for c in group.columns if c in write.new
        )
        if unseen and not equal:
            reviews = [c for c in done.conflicts if c.outcome is Outcome.REVIEW]
            assert any(set(group.columns) <= set(c.columns) for c in reviews)
            assert not done.delete


# --- nothing concurrent ------------------------------------------------------------------------


@given(ROWS, SOME, st.booleans())
def test_a_write_with_nothing_concurrent_takes_effect_but_for_a_lattice(stands, new, own):
    write = Write(Op.UPDATE, "tx", "v", new, {c: stands[c] for c in new}, author("S1", 100))
    since = [Version("v1", Op.UPDATE, frozenset(TABLE.names), author("S1", 999))] if own else []
    done = resolve(TABLE, stands, None, since, write)
    row = result_of(stands, done)
    back = {
        c.name
        for c in TABLE.lattice_columns
        if c.name in new and c.rank(new[c.name]) < c.rank(stands[c.name])
    }
    assert {c.group for c in done.conflicts} == done.overruled - PERSONS == back
    assert all(same(row[c], new[c]) for c in new if c not in back | PERSONS)
    if not back:
        assert done.conflicts == ()
        assert row == stands | new


@given(ROWS, histories(), writes())
def test_columns_that_nobody_else_wrote_merge_silently(stands, since, write):
    assume(write.op is Op.UPDATE and since is not None)
    written = {c for v in since for c in v.columns}
    done = resolve(TABLE, stands, None, since, write)
    for column in set(write.new) - PERSONS - {c.name for c in TABLE.lattice_columns}:
        group = TABLE.group_of(column)
        if written.isdisjoint(group.columns) and group.policy not in (
            Policy.SUM,
            Policy.ADD_REMOVE_SET,
        ):
            assert same((stands | done.values)[column], write.new[column])
            assert all(conflict.group != group.name for conflict in done.conflicts)


# --- joins -------------------------------------------------------------------------------------


JOINS = ["severity", "peak", "started", "state", "quality", "lsl", "usl", "tags"]


def join(name, one, other):
    """Return what two concurrent writes of a column make, the second arriving last."""
    since = [Version("v1", Op.UPDATE, frozenset({name}), author("S2", 100))]
    done = resolve(TABLE, head(**{name: one}), None, since, update("S1", 100, **{name: other}))
    return done.values.get(name, one)


@pytest.mark.parametrize("name", JOINS)
@given(st.data())
def test_joins_are_commutative_associative_and_idempotent(name, data):
    one, two, three = (data.draw(values_of(name)) for _ in range(3))
    if name == "tags":  # no set and the empty set hold the same
        one, two, three = (value or "[]" for value in (one, two, three))
    assert join(name, one, two) == join(name, two, one)
    assert join(name, join(name, one, two), three) == join(name, one, join(name, two, three))
    assert join(name, one, one) == one


@st.composite
def rivals(draw):
    """Return a row, and what three sites make of it without having seen one another."""
    base = draw(ROWS)
    asked = []
    for site in ("S1", "S2", "S3"):
        new = draw(st.fixed_dictionaries({}, optional={n: values_of(n) for n in ORDER_FREE}))
        if new.keys() & {"lsl", "usl"}:  # a group is captured whole
            new = {"lsl": base["lsl"], "usl": base["usl"]} | new
        seen = {name: base[name] for name in new}
        asked.append(update(site, draw(st.integers(98, 102)), old=seen, **new))
    return base, asked


@given(rivals())
def test_any_order_of_arrival_gives_the_same_row(case):
    base, asked = case
    ends = []
    for order in permutations(asked):
        row = Row(head=dict(base))
        for write in order:
            row.take(write)
        ends.append({n: row.head[n] for n in ORDER_FREE} | {"tags": row.head["tags"] or "[]"})
    assert all(end == ends[0] for end in ends)
