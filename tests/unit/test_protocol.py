"""Numbering and hash chains: what is applied is the same however the messages arrive."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.changes import GENESIS, START, Position
from sync.protocol import Verdict, digest, entry_hash, judge, transaction_hash

EPOCH = "018f0000-0000-7000-8000-000000000001"


def tx_id(n):
    return str(UUID(int=n))


def chain(length, epoch=EPOCH, previous=GENESIS, first=1):
    """Return the links (n, previous, own) of a chain."""
    links = []
    for n in range(first, first + length):
        own = transaction_hash(previous, epoch, n, tx_id(n), [digest(b"%d" % n)])
        links.append((n, previous, own))
        previous = own
    return links


def take(links):
    """Return the numbers applied, in order, as a receiver takes what comes."""
    position, applied = START, []
    for n, previous, own in links:
        if judge(position, n, previous, own) is Verdict.APPLY:
            applied.append(n)
            position = Position(n, own)
    return applied


def test_the_next_link_is_applied():
    first, second = chain(2)
    assert judge(START, *first) is Verdict.APPLY
    assert judge(Position(1, first[2]), *second) is Verdict.APPLY


def test_the_link_taken_last_is_skipped_when_it_comes_again():
    [first] = chain(1)
    assert judge(Position(1, first[2]), *first) is Verdict.SKIP


def test_a_link_from_long_ago_is_skipped():
    links = chain(5)
    assert judge(Position(5, links[4][2]), *links[1]) is Verdict.SKIP


def test_a_link_after_a_missing_one_is_a_gap():
    links = chain(3)
    assert judge(START, *links[1]) is Verdict.GAP
    assert judge(Position(1, links[0][2]), *links[2]) is Verdict.GAP


def test_the_next_number_after_another_past_is_a_fork():
    ours, theirs = chain(2), chain(2, epoch="another")
    assert judge(Position(1, ours[0][2]), *theirs[1]) is Verdict.FORK


def test_the_same_number_with_another_content_is_a_fork():
    ours, theirs = chain(1), chain(1, epoch="another")
    assert judge(Position(1, ours[0][2]), *theirs[0]) is Verdict.FORK


def test_a_store_restored_to_its_beginning_that_writes_anew_is_a_fork_or_known():
    links, anew = chain(3), chain(4, epoch="restored")
    position = Position(3, links[2][2])
    verdicts = [judge(position, *link) for link in anew]
    assert verdicts == [Verdict.SKIP, Verdict.SKIP, Verdict.FORK, Verdict.FORK]


@given(st.integers(0, 12), st.randoms(use_true_random=False))
def test_links_that_come_late_twice_or_reordered_are_applied_once_and_in_order(length, chance):
    links = chain(length)
    noise = links * 2
    chance.shuffle(noise)
    # A sender repeats from the first that is missing, so in the end everything comes in order.
    assert take(noise + links) == list(range(1, length + 1))
    applied = take(noise)
    assert applied == list(range(1, len(applied) + 1))


@given(st.integers(1, 8), st.data())
def test_after_a_fork_nothing_of_the_other_chain_is_ever_applied(length, data):
    common = data.draw(st.integers(0, length - 1))
    ours = chain(length)
    previous = ours[common - 1][2] if common else GENESIS
    theirs = chain(length - common + 3, epoch="other", previous=previous, first=common + 1)
    position = Position(length, ours[-1][2])
    assert Verdict.APPLY not in {judge(position, *link) for link in theirs}


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32), st.integers(-5, 5))
def test_every_message_gets_exactly_the_verdict_of_its_number(last, at, step):
    position = Position(last, at)
    verdict = judge(position, last + step, at, at)
    expected = Verdict.APPLY if step == 1 else Verdict.SKIP if step <= 0 else Verdict.GAP
    assert verdict is expected


PARTS = ["previous", "epoch", "n", "tx_id", "digests"]
LINK = st.fixed_dictionaries(
    {
        "previous": st.binary(min_size=32, max_size=32),
        "epoch": st.uuids().map(str),
        "n": st.integers(1, 2**62),
        "tx_id": st.uuids().map(str),
        "digests": st.lists(st.binary(min_size=32, max_size=32), max_size=4),
    }
)


@given(LINK, LINK)
def test_transactions_that_differ_in_anything_have_different_hashes(one, other):
    assert (transaction_hash(**one) == transaction_hash(**other)) == (one == other)


@pytest.mark.parametrize("part", PARTS)
@given(LINK, LINK)
def test_each_part_of_a_transaction_goes_into_its_hash(part, one, other):
    changed = one | {part: other[part]}
    assert (transaction_hash(**one) == transaction_hash(**changed)) == (one == changed)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_single_digest_of_a_transaction_goes_into_its_hash(place):
    digests = [digest(b"a"), digest(b"b"), digest(b"c")]
    changed = [*digests[:place], digest(b"x"), *digests[place + 1 :]]
    one, other = (transaction_hash(GENESIS, EPOCH, 1, tx_id(1), d) for d in (digests, changed))
    assert one != other


def test_the_hash_of_a_transaction_does_not_depend_on_how_its_digests_are_handed_over():
    digests = [digest(b"a"), digest(b"b")]
    as_list = transaction_hash(GENESIS, EPOCH, 1, tx_id(1), digests)
    assert transaction_hash(GENESIS, EPOCH, 1, tx_id(1), iter(digests)) == as_list
    assert transaction_hash(GENESIS, EPOCH, 1, tx_id(1), digests[::-1]) != as_list


@given(st.binary(), st.sampled_from(["*", "S1", "S2"]), st.integers(1, 2**62))
def test_an_entry_is_tied_to_its_feed_its_place_and_its_past(body, scope, pos):
    own = entry_hash(GENESIS, scope, pos, body)
    assert own != entry_hash(own, scope, pos, body)
    assert own != entry_hash(GENESIS, scope + "X", pos, body)
    assert own != entry_hash(GENESIS, scope, pos + 1, body)
    assert own != entry_hash(GENESIS, scope, pos, body + b"\x00")


def test_hashes_are_the_ones_that_stores_of_earlier_releases_hold():
    body = hashlib.sha256(b"body").digest()
    link = GENESIS + b"e\x001\x00t\x00" + body
    assert (
        transaction_hash(GENESIS, "e", 1, "t", [digest(b"body")]) == hashlib.sha256(link).digest()
    )
    feed = GENESIS + b"S1\x001\x00" + body
    assert entry_hash(GENESIS, "S1", 1, b"body") == hashlib.sha256(feed).digest()
