"""What a site may ask of the control service, field by field. Pure.

Looked at before anybody acts on a question: a number where bytes should be would be taken for that
many zeros, a name that is no UUID would be an error of PostgreSQL's. What else a hello says of its
agent is kept for the status, so it must be plain.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from shared.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Fits = Callable[[Any], bool]

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_NUMBER_END: Final = 1 << 63
#: A year that PostgreSQL and Python have, on either side of 1970.
_MS_MAX: Final = 1 << 47
_PLACE_MAX: Final = (1 << 31) - 1
_TEXT_MAX: Final = 4_000
_LIST_MAX: Final = 10_000
_HASH_BYTES: Final = 32
#: What a hello says of its agent: lists in lists, and values in all.
_DEPTH_MAX: Final = 4
_PLAIN_MAX: Final = 500


def check_question(verb: str, asked: Mapping[str, Any]) -> None:
    """Raise MalformedMessage that names what of a question can't be what is asked for."""
    shape = _SHAPES.get(verb, {})
    for name, (fits, is_needed) in shape.items():
        if name not in asked:
            if is_needed:
                raise MalformedMessage(f"the question {verb} lacks {name}")
        elif not fits(asked[name]):
            raise MalformedMessage(f"the question {verb}: {name} can't be what it says")
    if verb == "hello":
        more = {name: value for name, value in asked.items() if name not in shape}
        if not _is_plain(more):
            raise MalformedMessage("the hello says more of its agent than can be kept")


# --- what a field may be -------------------------------------------------------------------------


def _number(value: Any) -> bool:
    return type(value) is int and 0 <= value < _NUMBER_END


def _place(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _PLACE_MAX


def _time(value: Any) -> bool:
    return type(value) is int and abs(value) <= _MS_MAX


def _flag(value: Any) -> bool:
    return type(value) is bool


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT_MAX and "\x00" not in value


def _uuid(value: Any) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _bytes(value: Any) -> bool:
    return isinstance(value, bytes)


def _hash(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) == _HASH_BYTES


def _position(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _number(value[0]) and _hash(value[1])


def _closure(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and _uuid(value[0])
        and _number(value[1])
        and _number(value[2])
    )


def _row(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and _uuid(value[0])
        and all(_text(each) for each in value[1:])
    )


def _named(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_text(each) for each in value)


def _or_none(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _link(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and _number(value[0])
        and _uuid(value[1])
        and _hash(value[2])
    )


def _list_of(fits: Fits) -> Fits:
    return lambda value: (
        isinstance(value, list) and len(value) <= _LIST_MAX and all(map(fits, value))
    )


def _is_plain(value: Any) -> bool:
    """Return whether PostgreSQL can keep it as JSON, and a person may want to."""
    level, seen = [value], 0
    for _ in range(_DEPTH_MAX):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += [*each, *each.values()]
            elif isinstance(each, list):
                inner += each
            elif not _is_plain_value(each):
                return False
        seen += len(inner)
        if not inner or seen > _PLAIN_MAX:
            return seen <= _PLAIN_MAX
        level = inner
    return False


def _is_plain_value(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, bytes):
        return len(value) <= _TEXT_MAX
    return value is None or isinstance(value, bool | int) or _text(value)


_EPOCH: Final = (_uuid, True)
_N: Final = (_number, True)
#: Verb -> field -> what it may be, and whether it must be there.
_SHAPES: Final[Mapping[str, Mapping[str, tuple[Fits, bool]]]] = {
    "hello": {
        "instance": (_text, True),
        "moved_from": (_or_none(_text), False),
        "epoch": _EPOCH,
        "n": _N,
        "hash": (_hash, True),
        "acked_n": _N,
        "acked_hash": (_or_none(_hash), False),
        "own": (_position, True),
        "shared": (_position, True),
        "lineage": (_list_of(_closure), True),
        "needs_snapshot": (_flag, True),
        "now_ms": (_time, True),
        "sent_n": (_number, False),
        "drained_ms": (_or_none(_time), False),
        "lives": (_list_of(_uuid), True),
        "parted": (_list_of(_or_none(_number)), False),
    },
    "life": {
        "lives": (_list_of(_uuid), True),
        "parted": (_list_of(_or_none(_number)), False),
    },
    "link": {"epoch": _EPOCH, "n": _N},
    "close": {
        "epoch": _EPOCH,
        "n": _N,
        "hash": (_or_none(_hash), True),
        "next": _EPOCH,
        "why": (_text, True),
    },
    "known": {"tx_ids": (_list_of(_uuid), True)},
    "sent": {
        "epoch": _EPOCH,
        "n": _N,
        "after_hlc": (_number, False),
        "rows": (_list_of(_named), True),
    },
    "home": {
        "chunk": (_bytes, True),
        "life": (_uuid, True),
        "held_order": (_number, False),
        "history": (_or_none(_uuid), False),
    },
    "included": {
        "epoch": _EPOCH,
        "links": (_list_of(_link), True),
        "rows": (_list_of(_row), False),
        "home": (_or_none(_uuid), False),
    },
    "again": {"rows": (_list_of(_row), True), "home": (_or_none(_uuid), False)},
    "take_up": {
        "epoch": _EPOCH,
        "included": (_position, True),
        "before_first": (_position, True),
        "lineage": (_list_of(_closure), True),
        "why": (_text, True),
        "rows": _N,
    },
    "feed": {"scope": (_text, True), "after": _N, "offset": (_number, False)},
    "snapshot": {"id": (_or_none(_uuid), False)},
    "compare": {"kind": (_text, True)},
    "chunk": {"id": _EPOCH, "k": (_place, True), "offset": (_number, False)},
}
