"""The oracle, written twice, says of a write that was parked and is tried again what we say."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from central.store.later import unseen, yielded
from shared.changes import Op
from shared.errors import InvalidValue
from sync.decisions import Author, Version, Write
from sync.resolve import resolve
from tests.sim import verdicts
from tests.sim.catalogue import MADE_MAX, ORDERS, STATES
from tests.sim.story import NORTH
from tests.sim.test_verdicts import author, cases, moments, told
from tests.sim.verdicts import CannotHold


def compact(members):
    return json.dumps(members, separators=(",", ":"))


@st.composite
def retries(draw):
    """A case, and those of the versions since that its own site made after the write."""
    table, row, last, since, wish = draw(cases())
    own = [v for v in since or () if v.site == wish.site]
    later = draw(st.lists(st.sampled_from(own), unique=True)) if own else []
    return table, row, last, since, [v for v in own if v in later], wish


def version_of(past):
    return Version(
        past.name, Op(past.op), past.columns, author(past.by), past.overruled, past.contested,
        moments(past.times), lost=past.is_lost,
    )  # fmt: skip


def by_the_product(table, row, last, since, later, wish):
    write = Write(
        Op(wish.op), wish.tx_id, None, wish.new, wish.old, author(wish.by), wish.relaxed,
        moments(wish.times),
    )  # fmt: skip
    versions = None if since is None else [version_of(past) for past in since]
    after = [version_of(past) for past in later]
    left, records = yielded(table, row, after, write)
    if left is None:
        return None, {}, records
    done = resolve(table, row, last, unseen(versions, after), left)
    return dict(left.new), done, (*records, *done.conflicts)


def by_the_oracle(table, row, last, since, later, wish):
    left, notes = verdicts.give_way(table, row, later, wish)
    if left is None:
        return None, {}, notes
    made = verdicts.settle(table, row, last, since, left)
    return left.new, made, [*notes, *made.notes]


def of(decided, args, raised):
    try:
        return decided(*args)
    except raised:
        return None


@settings(max_examples=600)
@given(retries())
def test_the_oracle_decides_on_a_retry_as_the_product_does(case):
    _, row, *_ = case
    theirs = of(by_the_product, case, InvalidValue)
    ours = of(by_the_oracle, case, CannotHold)
    assert (ours is None) == (theirs is None)
    if ours is None:
        return
    left, made, notes = ours
    left_there, done, records = theirs
    assert left == left_there
    assert [(told(n, n.there, n.author), n.verdict) for n in notes] == [
        (told(c, c.central_author, c.here_author), str(c.outcome)) for c in records
    ]
    if left is None:
        return
    assert (made.overruled, made.contested) == (done.overruled, done.contested)
    if row is not None and not done.delete:
        assert made.row == {**row, **done.values}


#: A row of what is joined, and what a write may make of it; a sum is never null.
JOINED = st.fixed_dictionaries(
    {
        "made": st.integers(0, MADE_MAX // 3),
        "state": st.sampled_from(STATES),
        "holds": st.sets(st.sampled_from("abcd")).map(sorted).map(compact),
    }
)


@settings(max_examples=300)
@given(JOINED, JOINED, JOINED)
def test_what_is_joined_comes_to_what_it_would_have_come_to_in_its_time(row, parked, later):
    """Both are made from one row, by one site; in time, the second finds the first's."""
    writes = [
        Write(Op.UPDATE, name, None, new, row, Author(NORTH, None, at, clamped=False))
        for at, (name, new) in enumerate({"parked": parked, "later": later}.items())
    ]
    first, second = writes
    made = [Version(w.tx_id, Op.UPDATE, frozenset(w.new), w.author) for w in writes]

    def over(stands, since, write):
        return {**stands, **resolve(ORDERS, stands, None, since, write).values}

    in_time = over(over(row, [], first), made[:1], second)
    stands = over(row, [], second)
    left, records = yielded(ORDERS, stands, made[1:], first)
    assert (left, records) == (first, ())
    assert over(stands, unseen(made[1:], made[1:]), left) == in_time
    assert in_time["made"] == parked["made"] + later["made"] - row["made"]
