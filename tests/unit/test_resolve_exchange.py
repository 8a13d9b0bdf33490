"""Sums and sets through an exchange: sites write, send and hear of one another in any order."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidValue
from shared.values import canonical
from sync.policies import merge_both
from tests.unit.resolve_cases import TABLE, Row, seeing, set_of, update


class Edge:
    """One site's view of a column: the head it heard last, and its own undecided writes."""

    def __init__(self, site, column, row):
        self.site, self.column, self.row = site, column, row
        self.base, self.shadow = row.version, row.head[column]
        self.undecided, self.sent, self.number = [], 0, 0

    def seen(self):
        value = self.shadow
        for write in self.undecided:
            value = merge_both(
                TABLE.column(self.column), value, write.new[self.column], write.old[self.column]
            )
        return value

    def write(self, make):
        self.number += 1
        old = self.seen()
        asked = update(self.site, self.number, old={self.column: old}, **{self.column: make(old)})
        self.undecided.append(seeing(asked, self.base))

    def send(self):
        if self.sent < len(self.undecided):
            self.row.take(self.undecided[self.sent])
            self.sent += 1

    def hear(self):
        self.base, self.shadow = self.row.version, self.row.head[self.column]
        self.undecided, self.sent = self.undecided[self.sent :], 0


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["S1", "S2"]),
        st.sampled_from(["write", "send", "hear"]),
        st.integers(-9, 9),
    ),
    max_size=40,
)


def exchange(column, acts, make):
    row = Row()
    edges = {site: Edge(site, column, row) for site in ("S1", "S2")}
    for site, act, amount in acts:
        if act == "write":
            edges[site].write(lambda old, amount=amount, site=site: make(old, amount, site))
        else:
            getattr(edges[site], act)()
    for edge in edges.values():
        while edge.sent < len(edge.undecided):
            edge.send()
    for edge in edges.values():
        edge.hear()
    assert {edge.seen() for edge in edges.values()} == {row.head[column]}
    return row


@given(ACTS)
def test_sums_count_each_difference_exactly_once(acts):
    total = sum(amount for _, act, amount in acts if act == "write")
    assert exchange("count", acts, lambda old, amount, _: old + amount).head["count"] == total


@given(ACTS)
def test_decimal_sums_count_each_difference_exactly_once(acts):
    def add(old, amount, _):
        return canonical(TABLE.column("stock").type, Decimal(old) + Decimal(amount) / 8)

    total = sum((Decimal(amount) / 8 for _, act, amount in acts if act == "write"), Decimal(0))
    assert Decimal(exchange("stock", acts, add).head["stock"]) == total


@given(ACTS)
def test_whatever_is_put_into_a_set_and_never_taken_out_is_in_it(acts):
    def change(old, amount, site):
        members = set(json.loads(old or "[]"))
        # Each site takes out only what it has put in.
        return set_of(
            members - {f"{site}{-amount}"} if amount < 0 else members | {f"{site}{amount}"}
        )

    expected = set()
    for site, act, amount in acts:
        if act == "write":
            expected = (
                expected - {f"{site}{-amount}"} if amount < 0 else expected | {f"{site}{amount}"}
            )
    assert json.loads(exchange("tags", acts, change).head["tags"] or "[]") == sorted(expected)


# --- forms of values -----------------------------------------------------------------------------


@given(*[st.decimals(-(10**20), 10**20, places=6) for _ in range(3)])
def test_a_summed_decimal_is_exact_and_in_canonical_form(stands, new, old):
    column = TABLE.column("stock")
    forms = [canonical(column.type, value) for value in (stands, new, old)]
    assert merge_both(column, *forms) == canonical(column.type, stands + (new - old))


@given(*[st.integers(-(2**63), 2**63 - 1) for _ in range(3)])
def test_a_summed_integer_is_exact_or_refused(stands, new, old):
    exact = stands + new - old
    if -(2**63) <= exact < 2**63:
        assert merge_both(TABLE.column("count"), stands, new, old) == exact
    else:
        with pytest.raises(InvalidValue):
            merge_both(TABLE.column("count"), stands, new, old)


@given(*[st.frozensets(st.text('ab"\\é', max_size=3)) for _ in range(3)])
def test_a_merged_set_is_in_canonical_form(stands, new, old):
    column = TABLE.column("tags")
    merged = merge_both(column, set_of(stands), set_of(new), set_of(old))
    assert merged == canonical(column.type, merged)
