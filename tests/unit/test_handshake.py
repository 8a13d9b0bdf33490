"""Who went back, and who has to look: judged from what an edge says and what the centre knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.changes import GENESIS, Position
from shared.errors import MalformedMessage
from sync import codec
from sync.handshake import (
    Closed,
    Closure,
    Hello,
    Known,
    KnownChain,
    KnownFeed,
    Met,
    Welcome,
    judge,
    read_lineage,
    read_met,
)

SITE, EPOCH, OLD = "SITE_001", "epoch-2", "epoch-1"
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
HELLO = Hello(
    instance="host:/a", moved_from=None, epoch=EPOCH, n=5, hash=A, acked_n=5, acked_hash=A,
    own=Position(7, B), shared=Position(3, C), lives=(Met("life-1"),),
)  # fmt: skip
KNOWN = Known(
    instance="host:/a",
    chains={EPOCH: KnownChain(Position(5, A), acked_hash=A)},
    own=KnownFeed(Position(7, B), B),
    shared=KnownFeed(Position(3, C), C),
)


def chain(**changed: Any) -> Known:
    return replace(KNOWN, chains={EPOCH: replace(KNOWN.chains[EPOCH], **changed)})


def verdict(said: Hello = HELLO, known: Known = KNOWN) -> Welcome:
    return judge(SITE, said, known)[0]


def test_two_that_have_the_same_agree() -> None:
    assert judge(SITE, HELLO, KNOWN) == (Welcome.OK, "")


def test_a_site_that_has_more_than_was_applied_agrees() -> None:
    assert verdict(replace(HELLO, n=9, hash=C)) is Welcome.OK


def test_a_site_that_the_centre_has_never_heard_of_agrees() -> None:
    fresh = Hello("host:/a", None, EPOCH, 0, GENESIS, 0, GENESIS, Position(0, GENESIS),
                  Position(0, GENESIS))  # fmt: skip
    assert verdict(fresh, Known()) is Welcome.OK


CENTRE_WENT_BACK: dict[str, tuple[Hello, Known]] = {
    "fewer transactions": (HELLO, chain(last=Position(4, B), acked_hash=None)),
    "no such epoch": (HELLO, replace(KNOWN, chains={})),
    "a shorter own feed": (HELLO, replace(KNOWN, own=KnownFeed(Position(6, A)))),
    "a shorter shared feed": (HELLO, replace(KNOWN, shared=KnownFeed(Position(2, A)))),
    "another entry": (HELLO, replace(KNOWN, own=KnownFeed(Position(8, A), A))),
    "an epoch that was closed": (replace(HELLO, lineage=(Closure(OLD, 2, 3),)), KNOWN),
}


@pytest.mark.parametrize("case", CENTRE_WENT_BACK)
def test_a_centre_that_went_back_is_found_by_what_the_site_has_of_it(case: str) -> None:
    said, known = CENTRE_WENT_BACK[case]
    assert verdict(said, known) is Welcome.LOST


def test_two_transactions_of_one_number_that_both_were_decided_are_two_lives_of_a_store() -> None:
    said = replace(HELLO, acked_n=4)
    assert verdict(said, chain(acked_hash=C)) is Welcome.STOP
    assert verdict(said, chain(acked_hash=None)) is Welcome.OK  # it is not remembered


@pytest.mark.parametrize("feed", ["own", "shared"])
def test_what_no_feed_vouches_for_is_told_whole_after_a_start_of_the_server(feed: str) -> None:
    started = replace(KNOWN, held_order=10)
    said = replace(HELLO, max_order=11)
    pruned = replace(started, **{feed: replace(getattr(started, feed), hash_there=None)})
    assert verdict(said, pruned) is Welcome.LOST
    assert verdict(replace(said, needs_snapshot=True), started) is Welcome.LOST
    assert verdict(replace(said, max_order=10), pruned) is Welcome.OK


def test_a_site_that_met_a_life_which_is_lost_brings_home_what_it_knows() -> None:
    """The feeds may fit by chance of where they end; orders of two histories can't be compared."""
    other = replace(KNOWN, held_order=10, is_other_history=True)
    assert verdict(replace(HELLO, max_order=11), other) is Welcome.LOST
    assert verdict(replace(HELLO, max_order=10), other) is Welcome.OK  # it has nothing of it


def test_as_many_orders_as_lives_are_told_or_none() -> None:
    assert read_met({"lives": ["a", "b"]}) == (Met("a"), Met("b"))
    assert read_met({"lives": ["a", "b"], "parted": [None, 7]}) == (Met("a"), Met("b", 7))
    with pytest.raises(MalformedMessage, match="not each has an order"):
        read_met({"lives": ["a", "b"], "parted": [7]})


def test_what_came_home_counts_as_known() -> None:
    known = chain(last=Position(4, B), acked_hash=None, included=Position(5, A))
    assert verdict(HELLO, known) is Welcome.OK


def test_a_store_that_begins_with_a_snapshot_has_followed_nothing() -> None:
    anew = replace(HELLO, own=Position(9, A), needs_snapshot=True)
    assert verdict(anew) is Welcome.OK


def test_a_server_that_was_started_since_asks_for_the_highest_order_once() -> None:
    started = replace(KNOWN, held_order=10)
    assert verdict(HELLO, started) is Welcome.TELL
    assert verdict(replace(HELLO, max_order=10), started) is Welcome.OK
    # It may have followed the feed since, or know what an older copy of the centre does not.
    assert verdict(replace(HELLO, max_order=11), started) is Welcome.SHOW


EDGE_WENT_BACK: dict[str, tuple[Hello, Known]] = {
    "fewer transactions": (replace(HELLO, n=4, acked_n=4, acked_hash=B), chain(acked_hash=B)),
    "another transaction": (replace(HELLO, hash=C, acked_n=4, acked_hash=B), chain(acked_hash=B)),
    "fewer than came home": (
        replace(HELLO, acked_n=4, acked_hash=B), chain(acked_hash=B, included=Position(6, C))
    ),
    "a closed epoch": (HELLO, chain(is_closed=True)),
    "a new store": (
        replace(HELLO, epoch="epoch-3", n=0, acked_n=0, own=Position(0, GENESIS),
                shared=Position(0, GENESIS), needs_snapshot=True),
        KNOWN,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EDGE_WENT_BACK)
def test_a_store_that_went_back_is_found_by_its_chain(case: str) -> None:
    assert verdict(*EDGE_WENT_BACK[case]) is Welcome.BEHIND


def test_where_both_went_back_the_centre_is_healed_first() -> None:
    both = replace(HELLO, n=4, acked_n=4, acked_hash=B)
    known = replace(chain(acked_hash=B), own=KnownFeed(Position(6, A)))
    assert verdict(both, known) is Welcome.LOST


def test_a_copy_is_sent_away_until_a_person_says_that_it_was_moved() -> None:
    copy = replace(HELLO, instance="other:/b")
    welcome, why = judge(SITE, copy, KNOWN)
    assert welcome is Welcome.STOP
    assert "mes-edge moved" in why
    assert verdict(replace(copy, moved_from="host:/a")) is Welcome.OK
    assert verdict(replace(copy, moved_from="third:/c")) is Welcome.STOP


def test_nothing_else_counts_for_a_site_that_a_person_has_to_look_at() -> None:
    assert judge(SITE, HELLO, replace(KNOWN, stopped_because="x")) == (Welcome.STOP, "x")


hashes = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**62)
positions = st.builds(Position, numbers, hashes)
lives = st.builds(Met, st.text(max_size=9), st.none() | numbers)
hellos = st.builds(
    Hello, instance=st.text(max_size=40), moved_from=st.none() | st.text(max_size=40),
    epoch=st.text(max_size=40), n=numbers, hash=hashes, acked_n=numbers,
    acked_hash=st.none() | hashes, own=positions, shared=positions,
    lineage=st.lists(st.builds(Closure, st.text(max_size=9), numbers, numbers), max_size=4).map(
        tuple
    ),
    needs_snapshot=st.booleans(), lives=st.lists(lives, max_size=4).map(tuple),
    max_order=st.none() | numbers,
)  # fmt: skip


@given(hellos)
def test_a_hello_is_read_as_it_was_said(said: Hello) -> None:
    assert Hello.read(codec.decode_control(codec.encode_control(said.fields()))) == said


@given(st.builds(Closed, st.builds(Closure, st.text(), numbers, numbers), st.text(), numbers))
def test_a_closure_is_read_as_it_was_said(closed: Closed) -> None:
    assert Closed.read(codec.decode_control(codec.encode_control(closed.fields()))) == closed


@pytest.mark.parametrize("name", ["epoch", "n", "hash", "own", "lineage", "lives", "instance"])
def test_a_hello_that_lacks_something_is_refused(name: str) -> None:
    said = HELLO.fields()
    del said[name]
    with pytest.raises(MalformedMessage, match=name):
        Hello.read(said)


@pytest.mark.parametrize("wrong", [None, 3, [1], [["e", "x", 1]], [["e", 1]]])
def test_a_lineage_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(MalformedMessage):
        read_lineage(wrong)
