"""The overlay: what a site sees is the centre's head with its own undecided writes over it."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from edge.store.overlay import OwnWrite, shown
from shared.changes import Fate, Op
from shared.values import canonical
from tests.unit.resolve_cases import TABLE, Row, head, seeing, set_of, update

PLAIN = ("notes", "due", "shelf", "line")
SUMS = ("count", "stock")


def numbers(name):
    if name == "count":
        return st.integers(-(2**40), 2**40)
    decimals = st.decimals(-(10**12), 10**12, places=6)
    return decimals.map(lambda number: canonical(TABLE.column(name).type, number))


def value_of(name):
    if name in SUMS:
        return numbers(name)
    if name == "tags":
        return st.frozensets(st.sampled_from("abcdef")).map(set_of)
    return st.sampled_from(["x", "y", "z", None])


def changes(names, **sizes):
    columns = {name: value_of(name) for name in names}
    return st.fixed_dictionaries({}, optional=columns).filter(bool)


@st.composite
def rows(draw):
    names = (*PLAIN, *SUMS, "tags")
    return head(**draw(st.fixed_dictionaries({name: value_of(name) for name in names})))


OWN = ("notes", "due", "count", "stock", "tags")
THEIRS = ("shelf", "line", "count", "stock", "tags")


def written(base, new_values):
    """Return the row as its writer sees it, and the writes as the drain keeps them."""
    local, writes = dict(base), []
    for n, new in enumerate(new_values, 1):
        merged = [name for name in new if name in (*SUMS, "tags")]
        deltas = {name: (local[name], new[name]) for name in merged}
        writes.append(OwnWrite(n, Op.UPDATE, frozenset(new), deltas))
        local |= new
    return local, writes


def overlay(head_row, local, writes, fate=Fate.PUT):
    return shown(TABLE, fate, head_row, local=local, undecided=writes)


@given(rows(), rows())
def test_without_undecided_writes_the_head_is_shown(head_row, local):
    assert overlay(head_row, local, []) == head_row
    assert overlay(head_row, None, []) == head_row


@given(rows(), rows(), st.lists(changes(OWN), min_size=1, max_size=4))
def test_the_ack_of_all_writes_uncovers_the_head(base, head_row, news):
    local, writes = written(base, news)
    for decided in range(len(writes)):
        local = overlay(head_row, local, writes[decided:])
    assert overlay(head_row, local, []) == head_row


@given(rows(), rows(), st.lists(changes(PLAIN), min_size=1, max_size=4))
def test_own_values_stay_visible_until_they_are_decided(base, head_row, news):
    local, writes = written(base, news)
    for decided in range(len(writes)):
        seen = overlay(head_row, local, writes[decided:])
        undecided = {name for write in writes[decided:] for name in write.columns}
        for name in PLAIN:
            assert seen[name] == (local[name] if name in undecided else head_row[name])
        local = seen


@given(rows(), rows(), st.lists(changes(SUMS), min_size=1, max_size=4))
def test_a_sum_shows_the_head_and_every_undecided_difference(base, head_row, news):
    local, writes = written(base, news)
    seen = overlay(head_row, local, writes)
    for name in SUMS:
        own = sum(
            Decimal(new) - Decimal(old)
            for write in writes
            for column, (old, new) in write.deltas.items()
            if column == name
        )
        assert Decimal(seen[name]) == Decimal(head_row[name]) + own


@given(
    rows(), st.lists(changes(OWN), min_size=1, max_size=4), st.lists(changes(THEIRS), max_size=3)
)
def test_a_site_sees_beforehand_what_the_centre_will_make_of_its_writes(base, news, theirs):
    centre = Row(head=dict(base))
    for at, new in enumerate(theirs, 1):
        centre.take(update("S2", at, old={name: centre.head[name] for name in new}, **new))
    local, writes = written(base, news)
    seen = overlay(centre.head, local, writes)
    values = dict(base)
    for at, new in enumerate(news, 100):
        centre.take(seeing(update("S1", at, old={name: values[name] for name in new}, **new), "v0"))
        values |= new
    assert seen == centre.head


@given(rows(), rows(), st.sampled_from(["line", "slot"]))
def test_columns_of_one_group_are_never_torn_apart(base, head_row, touched):
    local, writes = written(base, [{touched: "own"}])
    seen = overlay(head_row, local, writes)
    assert (seen["line"], seen["slot"]) == (local["line"], local["slot"])


@given(rows(), rows())
def test_an_undecided_insert_shows_the_sites_row_and_a_delete_none(local, head_row):
    insert, delete = (
        OwnWrite(2, Op.INSERT, frozenset(), {}),
        OwnWrite(1, Op.DELETE, frozenset(), {}),
    )
    for fate in (Fate.PUT, Fate.GONE):
        assert overlay(head_row, local, [insert], fate) == local
        assert overlay(head_row, None, [delete], fate) is None
        assert overlay(head_row, local, [delete, insert], fate) == local


@given(rows(), st.lists(changes(OWN), min_size=1, max_size=3))
def test_a_row_deleted_at_the_centre_stays_in_sight_while_own_updates_are_undecided(base, news):
    local, writes = written(base, news)
    assert overlay({}, local, writes, Fate.GONE) == local
    assert overlay({}, local, [], Fate.GONE) is None


@given(rows(), st.lists(changes(OWN), max_size=3))
def test_a_row_that_left_the_share_is_not_shown_whatever_was_written(base, news):
    local, writes = written(base, news)
    assert overlay({}, local, writes, Fate.LEFT) is None


@given(rows(), rows(), st.lists(changes(OWN), min_size=1, max_size=3))
def test_columns_that_an_older_centre_does_not_send_are_left_out(base, head_row, news):
    local, writes = written(base, news)
    sent = {name: value for name, value in head_row.items() if name not in ("notes", "count")}
    assert set(overlay(sent, local, writes)) == set(sent)


def test_a_sum_that_the_column_can_not_hold_shows_the_sites_own_value():
    top = 2**63 - 1
    local, writes = written(head(count=top - 5), [{"count": top}])
    assert overlay(head(count=top - 1), local, writes)["count"] == top


def test_a_delta_that_is_no_number_shows_the_sites_own_value():
    local, writes = written(head(), [{"stock": "a dozen"}])
    assert overlay(head(stock="7"), local, writes)["stock"] == "a dozen"
