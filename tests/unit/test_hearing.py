"""A broker that decides nothing is told from one that lost a message, and from a silent centre."""

from __future__ import annotations

from sync.nats_hearing import Hearing

ACK = b'{"stream":"UP_X","seq":7}'
DECIDED = (
    ACK,
    b'{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 7"}}',
    b'{"error":{"code":404,"err_code":10014,"description":"consumer not found"}}',
)
UNDECIDED = (
    None,
    b'{"error":{"code":503,"err_code":10008,"description":"temporarily unavailable"}}',
    b'{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}',
)


def after(*asked, gap_max_s=20.0):
    hearing = Hearing(gap_max_s)
    for subject, answer, asked_at, now in asked:
        hearing.note(subject, answer, asked_at, now)
    return hearing.deaf_s


def test_a_broker_is_deaf_from_the_first_question_asked_in_vain_to_the_last_given_up():
    for none, again in zip(UNDECIDED, reversed(UNDECIDED), strict=True):
        assert after(("up.X.tx", none, 10, 15), ("hub.API.INFO", again, 18, 23)) == 13


def test_what_jetstream_decides_ends_it_also_where_it_refuses():
    for answer in DECIDED:
        assert after(("up.X.tx", None, 10, 15), ("up.X.tx", answer, 16, 17)) == 0


def test_the_centre_neither_makes_a_broker_deaf_nor_hides_that_it_is():
    assert after(("ctl.X.hello", None, 0, 30)) == 0
    asked = (("up.X.tx", None, 10, 15), ("ctl.X.hello", b"welcome", 16, 17))
    assert after(*asked, ("up.X.tx", None, 20, 25)) == 15


def test_one_question_without_an_answer_is_not_deafness_while_others_are_answered():
    assert after(("up.X.tx", ACK, 28, 29), ("hub.API.INFO", None, 0, 30)) == 1


def test_questions_in_vain_that_lie_far_apart_do_not_add_up():
    assert after(("up.X.tx", None, 0, 5), ("up.X.tx", None, 25, 30)) == 30
    assert after(("up.X.tx", None, 0, 5), ("up.X.tx", None, 26, 31)) == 5
