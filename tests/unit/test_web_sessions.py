"""Sessions of browsers: what a cookie is worth, for how long, and how many there are."""

from __future__ import annotations

from central.api.sessions import (
    AGE_MAX_S,
    COOKIES,
    IDLE_MAX_S,
    OF_ONE_MAX,
    SESSIONS_MAX,
    Sessions,
)


def shown(cookie: str) -> dict[str, str]:
    return {COOKIES[1]: cookie}


def test_a_session_gives_what_was_shown_and_a_token_of_its_own():
    sessions = Sessions()
    one, two = (sessions.open("key", "key a", 0.0) for _ in range(2))
    assert one != two
    found = [sessions.find(shown(each), 1.0) for each in (one, two)]
    assert [each.shown for each in found if each] == ["key", "key"]
    assert len({each.form_token for each in found if each} | {one, two}) == 4
    assert sessions.find(shown(one + "x"), 1.0) is None
    assert sessions.find({"other": one}, 1.0) is None


def test_a_session_ends_when_nobody_uses_it_and_at_the_latest_after_a_week():
    sessions = Sessions()
    idle, busy = sessions.open("key", "a", 0.0), sessions.open("key", "b", 0.0)
    at = 0.0
    while at + IDLE_MAX_S / 2 < AGE_MAX_S:
        at += IDLE_MAX_S / 2
        assert sessions.find(shown(busy), at)
    assert sessions.find(shown(idle), IDLE_MAX_S + 1) is None
    assert sessions.find(shown(busy), AGE_MAX_S + 1) is None
    assert len(sessions) == 0


def test_a_session_that_was_closed_is_worth_nothing():
    sessions = Sessions()
    cookie = sessions.open("key", "a", 0.0)
    sessions.close(shown(cookie))
    assert sessions.find(shown(cookie), 0.0) is None


def test_one_key_signed_in_without_end_pushes_out_its_own_sessions_alone():
    sessions = Sessions()
    other = sessions.open("other", "b", 0.0)
    own = [sessions.open("key", "a", float(at)) for at in range(2 * OF_ONE_MAX)]
    assert len(sessions) == OF_ONE_MAX + 1
    assert sessions.find(shown(other), 100.0)
    assert sessions.find(shown(own[0]), 100.0) is None
    assert sessions.find(shown(own[-1]), 100.0)


def test_there_are_never_more_sessions_than_the_limit():
    sessions = Sessions()
    for at in range(SESSIONS_MAX + 5):
        if at < SESSIONS_MAX - 2:  # filled from within: to open each looks through all
            sessions._known[str(at).encode()] = _session(at)
        else:
            sessions.open("key", f"late {at}", float(at))
    assert len(sessions) == SESSIONS_MAX


def _session(at: int):
    sessions = Sessions()
    cookie = sessions.open("key", f"early {at}", float(at))
    found = sessions.find(shown(cookie), float(at))
    assert found
    return found
