"""The oracle's policies, written twice, say what the product's say."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalog import Group, Policy
from shared.changes import Op
from shared.errors import InvalidValue
from sync.decisions import Author, Moment, Version, Write
from sync.resolve import resolve
from tests.sim import verdicts
from tests.sim.catalogue import GOOD_MAX, MADE_MAX, ORDERS, PEOPLE, STATES, STEPS
from tests.sim.verdicts import By, CannotHold, Past, Wish

AUTHORS = ("*", "NORTH", "SOUTH")
TIMES = st.integers(1, 4)
LIMITS = replace(
    STEPS,
    name="limits",
    columns=(
        *STEPS.columns,
        *(
            replace(STEPS.column("limit_low"), name=name, safe=safe, unit=unit)
            for name, safe, unit in (
                ("target", "keep_site", "uom"), ("least", "larger", "uom"),
                ("most", "smaller", "uom"), ("samples", "larger", None), ("every", "smaller", None),
                ("uom", "keep_site", None),
            )
        ),
    ),
    groups=(
        *STEPS.groups,
        Group("range", ("target", "least", "most", "samples", "every", "uom"), Policy.REVIEW),
    ),
)  # fmt: skip
TABLES = st.sampled_from((ORDERS, STEPS, PEOPLE, LIMITS))


def values(column):
    """A few values each, so that equal ones meet."""
    kind = str(column.type.kind)
    if column.order:
        return st.sampled_from((*STATES, None))
    if kind == "integer":
        high = MADE_MAX if column.name == "made" else GOOD_MAX
        return st.sampled_from((None, 0, 1, 2, 40, high))
    if kind == "set":
        return st.sets(st.sampled_from("abc")).map(lambda s: json.dumps(sorted(s), separators=(",", ":")))  # noqa: E501  # fmt: skip
    return st.sampled_from((None, "x", "y", "z"))


def rows(table, names=None):
    return st.fixed_dictionaries(
        {c.name: values(c) for c in table.columns if names is None or c.name in names}
    )


@st.composite
def pasts(draw, table, name):
    op = draw(st.sampled_from("UUUUID"))
    columns = frozenset(table.names)
    if op == "U":
        columns = draw(st.frozensets(st.sampled_from(table.names), min_size=1))
    some = st.frozensets(st.sampled_from(sorted(columns)))
    return Past(
        name, op, columns, draw(authors()), overruled=draw(some), contested=draw(some),
        times=draw(times(columns)), is_lost=draw(st.sampled_from((False, False, True))),
    )  # fmt: skip


def authors():
    return st.builds(By, st.sampled_from(AUTHORS), TIMES)


def times(columns):
    """Some columns were touched at times of their own."""
    if not columns:
        return st.just({})
    moments = st.tuples(TIMES, st.booleans())
    return st.just({}) | st.dictionaries(st.sampled_from(sorted(columns)), moments, max_size=3)


@st.composite
def cases(draw):
    table = draw(TABLES)
    row = draw(st.none() | rows(table))
    last = draw(st.none() | rows(table)) if row is None else None
    count = draw(st.integers(0, 3))
    since = [draw(pasts(table, f"v{k}")) for k in range(count)]
    op = draw(st.sampled_from("UUUUID"))
    new, old = {}, {}
    if op == "I":
        new = draw(rows(table))
    elif op == "U":
        names = draw(st.frozensets(st.sampled_from(table.names), min_size=1))
        names |= {c for n in names for c in table.group_of(n).columns}
        new, old = draw(rows(table, names)), draw(rows(table, names))
    lattices = frozenset(c.name for c in table.columns if c.order)
    relaxed = draw(st.sampled_from((frozenset(), lattices)))
    wish = Wish(op, "w", draw(authors()), new, old, relaxed, draw(times(new)))
    return table, row, last, draw(st.sampled_from((since, since, None))), wish


def moments(times):
    return tuple((frozenset([name]), Moment(*at)) for name, at in times.items())


def author(by):
    return Author(by.site, by.writer, by.at_ms, by.clamped)


def by_the_product(table, row, last, since, wish):
    versions = None
    if since is not None:
        versions = [
            Version(
                v.name, Op(v.op), v.columns, author(v.by), v.overruled, v.contested,
                moments(v.times),
                lost=v.is_lost,
            )
            for v in since
        ]  # fmt: skip
    write = Write(
        Op(wish.op), wish.tx_id, None, wish.new, wish.old, author(wish.by), wish.relaxed,
        moments(wish.times),
    )  # fmt: skip
    return resolve(table, row, last, versions, write)


def who(some):
    return (some.site, some.at_ms, some.clamped, some.writer) if some else None


def told(note, there, here):
    return (
        note.group, str(note.policy), tuple(note.columns), dict(note.base) if note.base else None,
        dict(note.here), dict(note.central), dict(note.result), who(there), who(here),
    )  # fmt: skip


def test_when_a_column_was_overruled_makes_the_rest_of_its_write_no_later():
    """Hypothesis found the product and the oracle to differ; 600 cases rarely hold one."""
    table = ORDERS
    row = {column.name: column.default for column in table.columns} | {"seat": 4}
    earlier = Past(
        "v0", "U", frozenset({"worker", "seat"}), By("*", 9), overruled=frozenset({"worker"}),
        times={"seat": (1, False)},
    )  # fmt: skip
    wish = Wish("U", "w", By("NORTH", 5), {"seat": 7}, {"seat": 3})
    ours = verdicts.settle(table, row, None, [earlier], wish).row
    theirs = by_the_product(table, row, None, [earlier], wish).values
    assert ours is not None
    assert (ours["seat"], theirs["seat"]) == (7, 7)


@settings(max_examples=600)
@given(cases())
def test_the_oracle_decides_as_the_product_does(case):
    table, row, last, since, wish = case
    try:
        theirs = by_the_product(table, row, last, since, wish)
    except InvalidValue:
        theirs = None
    try:
        ours = verdicts.settle(table, row, last, since, wish)
    except CannotHold:
        ours = None
    assert (ours is None) == (theirs is None)
    if ours is None:
        return
    after = row
    if theirs.delete:
        after = None
    elif theirs.revive:
        after = {c.name: theirs.values.get(c.name, c.default) for c in table.columns}
    elif row is not None:
        after = {**row, **theirs.values}
    assert ours.row == after
    assert ours.overruled == theirs.overruled
    assert ours.contested == theirs.contested
    assert ours.changed == bool(theirs.values or theirs.delete or theirs.revive)
    assert [(told(n, n.there, n.author), n.verdict) for n in ours.notes] == [
        (told(c, c.central_author, c.here_author), str(c.outcome)) for c in theirs.conflicts
    ]
