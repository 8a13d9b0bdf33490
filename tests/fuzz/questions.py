"""Questions of a site to the control service: what passes the check can be acted on."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from central.questions import check_question
from shared.errors import MalformedMessage
from sync.handshake import Closed, Hello, read_epochs, read_lineage, read_sent_before
from tests.fuzz.bounds import bounded
from tests.fuzz.plain import ID, anything, changed
from tests.fuzz.target import Target

HASH: Final = bytes(32)
RIGHT: Final[dict[str, dict[str, Any]]] = {
    "hello": {
        "instance": "here:/store.db", "moved_from": None, "epoch": ID, "n": 3, "hash": HASH,
        "acked_n": 2, "acked_hash": HASH, "own": [0, HASH], "shared": [0, HASH],
        "lineage": [[ID, 1, 2]], "needs_snapshot": False, "now_ms": 1_795_669_200_000,
        "sent_n": 3, "drained_ms": 1_795_669_199_000, "lives": [ID],
        "version": "0.1.0", "disk": {"free": 1},
    },
    "link": {"epoch": ID, "n": 2},
    "close": {"epoch": ID, "n": 2, "hash": None, "next": ID[:-1] + "2", "why": "a copy"},
    "known": {"tx_ids": [ID]},
    "sent": {"epoch": ID, "n": 2, "after_hlc": 0, "rows": [["work_orders", "SITE_001", ID]]},
    "life": {"lives": [ID]},
    "home": {"chunk": b"x", "life": ID, "history": None},
    "included": {
        "epoch": ID, "links": [[2, ID, HASH]], "rows": [[ID, "work_orders", ID]], "home": ID,
    },
    "take_up": {
        "epoch": ID, "included": [2, HASH], "before_first": [0, HASH], "lineage": [], "why": "lost",
        "rows": 0,
    },
    "again": {"rows": [[ID, "work_orders", ID]], "home": ID},
    "feed": {"scope": "SITE_001", "after": 0, "offset": 0},
    "snapshot": {"id": None},
    "chunk": {"id": ID, "k": 0, "offset": 0},
    "compare": {"kind": "sums", "tables": {}},
}  # fmt: skip


@st.composite
def questions(draw: Any) -> tuple[str, dict[str, Any]]:
    verb = draw(st.sampled_from(sorted(RIGHT)))
    return verb, changed(draw, RIGHT[verb], anything | traps)


def check_asked(given: tuple[str, dict[str, Any]]) -> None:
    """What passes the check can be read; what does not is refused with the name of the field."""
    verb, asked = given
    with bounded(seconds=5, megabytes=20):
        try:
            check_question(verb, asked)
        except MalformedMessage as why:
            refusal = str(why)
        else:
            refusal = verb
            if verb == "hello":
                check_read(asked)
    assert verb in refusal


#: Of each kind of field the values that Python would take for something else.
traps = st.sampled_from([10**10, 2**31, float("inf"), float("nan"), True, "1" * 5_000, [], {}])


def check_read(said: Any) -> None:
    """Whoever reads a control message refuses what it can't read, and nothing grows of it."""
    fields = said if isinstance(said, dict) else {}
    with bounded(seconds=5, megabytes=20):
        for read, what in (
            (Hello.read, fields),
            (Closed.read, fields),
            (read_lineage, said),
            (read_sent_before, said),
            (lambda listed: read_epochs(listed, 2), said),
        ):
            try:
                read(what)
            except MalformedMessage as why:
                refusal = str(why)
            else:
                refusal = "read"
            assert refusal


@st.composite
def answers(draw: Any) -> Any:
    right = RIGHT["hello"] | {"fork_n": 1, "closed_n": 2, "next": ID, "hlc": 2}
    return draw(anything) if draw(st.booleans()) else changed(draw, right, anything | traps)


QUESTIONS = (
    Target("questions", check_asked, questions(), examples=300),
    Target("hellos", check_read, answers(), examples=300),
)
