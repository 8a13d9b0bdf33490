"""How a site asks of transactions that came home: none without its rows that did not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge import homecoming
from edge.homecoming import questions


def links(count: int) -> list[tuple[int, str, bytes]]:
    return [(n, f"tx{n}", bytes([n])) for n in range(1, count + 1)]


def rows(of: str, count: int) -> list[tuple[str, str, str]]:
    return [(of, "orders", str(number)) for number in range(count)]


def test_one_that_is_told_alone_is_one_question():
    assert list(questions(links(1), [])) == [
        ("included", {"links": [[1, "tx1", bytes([1])]], "rows": []})
    ]


def test_nothing_is_asked_where_nothing_came_home():
    assert list(questions([], rows("tx9", 3))) == []


@given(st.lists(st.integers(0, 23), max_size=12))
def test_all_rows_of_a_transaction_are_told_before_it_or_with_it(counts):
    told = links(len(counts))
    again = [row for n, count in enumerate(counts, 1) for row in rows(f"tx{n}", count)]
    held = homecoming._LINES_MAX
    homecoming._LINES_MAX = 8
    try:
        asked = list(questions(told, again))
    finally:
        homecoming._LINES_MAX = held
    known: set[tuple[str, ...]] = set()
    included: list[list[object]] = []
    for verb, fields in asked:
        listed = fields["rows"]
        known |= {tuple(row) for row in listed}
        assert len(listed) + len(fields.get("links", ())) <= 8
        if verb == "included":
            included += fields["links"]
            for _, tx_id, _ in fields["links"]:
                assert {row for row in again if row[0] == tx_id} <= known
    assert included == [list(link) for link in told]
    assert known == set(again)
