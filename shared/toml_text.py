"""Reads TOML that a person wrote, within bounds.

What neither tomllib nor Python can hold (a thousand brackets, numbers of thousands of digits) is
refused in words like any other mistake, and nothing that is returned is too deep or too long to be
walked over or written into a message.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

#: Far above any file that a person writes.
BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 32
#: A key of more parts, a.b.c and so on: tomllib takes memory by the square of their number.
_LONG_KEY: Final = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEPTH_MAX}}}""",
    re.ASCII,
)
_NUMBER_BITS_MAX: Final = 64


def parse_toml(content: bytes) -> dict[str, Any]:
    """Return what a file says; raise ValueError with the reason where it says nothing."""
    if len(content) > BYTES_MAX:
        raise ValueError(f"{len(content)} bytes are no file of settings; {BYTES_MAX} are allowed")
    text = content.decode("utf-8-sig")  # editors of some systems begin a file with a mark
    if _LONG_KEY.search(text):
        raise ValueError(f"a key has more parts than {DEPTH_MAX}")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("brackets are nested too deep") from None
    except ValueError:  # Python's own, of a text of thousands of digits
        raise ValueError("a number has too many digits") from None
    _check(document)
    return document


def _check(document: dict[str, Any]) -> None:
    """Refuse what is deeper or longer than anything that is meant."""
    left: list[tuple[Any, int]] = [(document, 0)]
    while left:
        value, depth = left.pop()
        if depth > DEPTH_MAX:
            raise ValueError(f"values are nested deeper than {DEPTH_MAX}")
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            left += [(each, depth + 1) for each in inner]
        elif isinstance(value, int) and value.bit_length() > _NUMBER_BITS_MAX:
            raise ValueError(f"a number has {value.bit_length()} bits, at most 64 are allowed")
