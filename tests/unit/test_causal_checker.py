"""The causal checker finds each kind of violation, and none in what a good store shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.causal import (
    PAIRS,
    Event,
    Kind,
    Saw,
    Tried,
    Wrote,
    check,
    newest,
    state_after,
)

WRITER, OTHER, READER = "writer", "other", "reader"


def wrote(k: int) -> list[Event]:
    return [Tried(k), Wrote(k)]


def look(**newest_of: int) -> Saw:
    return Saw({session: state_after(k) for session, k in newest_of.items()})


def kinds(histories: dict[str, list[Event]]) -> set[Kind]:
    return {each.kind for each in check(histories)}


def three() -> list[Event]:
    return [*wrote(1), *wrote(2), *wrote(3)]


def test_the_state_after_a_transaction_holds_the_last_of_each_pair():
    assert [state_after(k) for k in range(4)] == [
        ((0, 0), (0, 0)),
        ((0, 0), (1, 1)),
        ((2, 2), (1, 1)),
        ((2, 2), (3, 3)),
    ]
    assert [newest(state_after(k)) for k in range(9)] == list(range(9))


@pytest.mark.parametrize(
    ("kind", "saw"),
    [
        (Kind.TORN, Saw({WRITER: ((2, 0), (1, 1))})),
        (Kind.TORN, Saw({WRITER: ((2, 2), (1, 3))})),
        (Kind.OVERTAKEN, Saw({WRITER: ((2, 2), (0, 0))})),
        (Kind.OVERTAKEN, Saw({WRITER: ((0, 0), (3, 3))})),
        (Kind.INVENTED, look(writer=4)),
        (Kind.INVENTED, Saw({WRITER: ((1, 1), (1, 1))})),
        (Kind.INVENTED, Saw({"nobody": state_after(1)})),
    ],
)
def test_a_single_look_that_no_order_explains_is_found(kind, saw):
    assert kinds({WRITER: three(), READER: [saw]}) == {kind}


def test_a_session_that_does_not_see_its_own_write_is_found():
    assert kinds({WRITER: [*three(), look(writer=2)]}) == {Kind.OWN_WRITE_GONE}
    assert kinds({WRITER: [*wrote(1), Tried(2), look(writer=1)]}) == set()


def test_a_look_that_goes_back_is_found_also_where_the_newest_is_as_new():
    back = [look(writer=3), look(writer=2)]
    assert kinds({WRITER: three(), READER: back}) == {Kind.BACKWARDS}
    older_pair = [look(writer=3), Saw({WRITER: ((0, 0), (3, 3))})]
    assert kinds({WRITER: three(), READER: older_pair}) == {Kind.BACKWARDS, Kind.OVERTAKEN}


def test_a_write_seen_without_what_its_writer_had_seen_is_found():
    histories: dict[str, list[Event]] = {
        OTHER: wrote(1),
        WRITER: [*wrote(1), look(other=1), *wrote(2)],
    }
    assert kinds(histories | {READER: [look(writer=1, other=0)]}) == set()
    assert kinds(histories | {READER: [look(writer=2, other=1)]}) == set()
    assert kinds(histories | {READER: [look(writer=2)]}) == set(), "not of this store's share"
    assert kinds(histories | {READER: [look(writer=2, other=0)]}) == {Kind.CAUSE_MISSING}


def test_what_was_seen_after_the_first_try_is_no_cause_of_the_write():
    retried: list[Event] = [Tried(1), look(other=1), *wrote(1)]
    histories = {OTHER: wrote(1), WRITER: retried, READER: [look(writer=1, other=0)]}
    assert kinds(histories) == set()


def test_a_violation_tells_who_saw_what_of_whom():
    (found,) = check({WRITER: three(), READER: [look(writer=1), Saw({WRITER: ((2, 0), (1, 1))})]})
    assert str(found) == "part of a transaction: reader event 1, of writer: pair 0 holds (2, 0)"


SESSIONS = ("a", "b", "c")
steps = st.lists(st.tuples(st.sampled_from(SESSIONS), st.sampled_from(["look", "write", "retry"])))


def serial(script: list[tuple[str, str]]) -> dict[str, list[Event]]:
    """Let sessions act one after the other on one store, which is what no store can better."""
    at = dict.fromkeys(SESSIONS, 0)
    histories: dict[str, list[Event]] = {session: [] for session in SESSIONS}
    for session, step in script:
        if step == "look":
            histories[session].append(look(**at))
            continue
        k = at[session] + 1
        histories[session] += [Tried(k)] * (2 if step == "retry" else 1) + [Wrote(k)]
        at[session] = k
    return histories


@given(steps)
def test_nothing_is_found_in_what_a_serial_store_shows(script):
    assert check(serial(script)) == []


@given(steps, st.data())
def test_a_torn_pair_is_found_anywhere_in_a_good_history(script, data):
    histories = serial([*script, ("a", "write"), ("b", "look")])
    session = data.draw(st.sampled_from(SESSIONS))
    places = [at for at, event in enumerate(histories[session]) if isinstance(event, Saw)]
    if not places:
        session, places = "b", [len(histories["b"]) - 1]
    place = data.draw(st.sampled_from(places))
    shown = dict(histories[session][place].pairs)
    pairs = list(shown["a"])
    number = data.draw(st.integers(0, PAIRS - 1))
    pairs[number] = (pairs[number][0], pairs[number][1] + PAIRS)
    histories[session][place] = Saw(shown | {"a": tuple(pairs)})
    assert Kind.TORN in kinds(histories)
