"""Sums of row contents: how both ends tell that they hold the same rows without sending them.

Each end has its database write a row as one text, in which equal rows of canonical values are equal
and others differ: the values one after the other, parted by ``|``. Null is nothing; a text has its
length in bytes before it, ``5:hello``; bytes are ``x`` and hexadecimal digits; a float is the bits
of its IEEE form; all else is the value as ``shared.values`` has it. The hash of a row is the first
64 bits of the MD5 of that text, which PostgreSQL and Python have built in, and the sum of a bucket
is that of its rows' hashes, modulo 2^64: no order has to be agreed upon. None of it is meant
against an enemy, who may as well send rows.

Rows are cut into buckets by what never changes in them. Those of tables whose rows change go by the
last digits of their ids, which are chance. Facts go by the day on which they were created, and
those of the last hours by the minute, so that what is on its way touches few buckets.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HASH_BYTES: Final = 8
_MODULUS: Final = 1 << (8 * HASH_BYTES)
#: Kinds whose texts may hold any character.
FREE: Final = frozenset({Kind.TEXT, Kind.JSON, Kind.SET})
#: Stands between values; none of a kind that is not free has it.
SEPARATOR: Final = "|"
#: Before the digits of bytes, so that none are not taken for null.
BYTES_MARK: Final = "x"

DAY_CHARACTERS: Final = len("2026-11-26")
MINUTE_CHARACTERS: Final = len("2026-11-26T10:45")
#: Rows of a table up to which each number of digits is enough.
_DIGITS: Final = ((2_000, 1), (50_000, 2))
DIGITS_MAX: Final = 3


class Sum(NamedTuple):
    """What a bucket holds."""

    rows: int
    #: Of the rows' hashes, modulo 2^64.
    sum: int


Sums = dict[str, Sum]


@dataclass(frozen=True, slots=True)
class Cut:
    """How rows are cut into buckets, and which of them are meant."""

    #: By so many of the id's last hexadecimal digits; 0 for facts, which go by created_at.
    digits: int = 0
    #: Facts created from then on go by the minute, earlier ones by the day; "" for days only.
    minutes_from: str = ""
    #: Only facts created since then, and before then; "" for no bound.
    since: str = ""
    before: str = ""
    #: Only rows whose ids end so; empty for all.
    endings: tuple[str, ...] = ()


def float_text(value: float) -> str:
    """Return a float's bits in hexadecimal; -0.0 is 0.0."""
    return struct.pack(">d", value + 0.0).hex()


def hash_of(text: bytes) -> int:
    """Return the hash of a row's text."""
    return int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[:HASH_BYTES], "big")


def folded(total: int) -> int:
    """Return a sum of hashes, which may be signed ones, as 64 bits without a sign."""
    return total % _MODULUS


def added(sums: Mapping[str, Sum], more: Mapping[str, Sum]) -> Sums:
    """Return the sums of both together."""
    found = dict(sums)
    for bucket, each in more.items():
        before = found.get(bucket, Sum(0, 0))
        found[bucket] = Sum(before.rows + each.rows, folded(before.sum + each.sum))
    return found


def differing(one: Mapping[str, Sum], other: Mapping[str, Sum]) -> list[str]:
    """Return the buckets that do not hold the same, in order."""
    return sorted(b for b in one.keys() | other.keys() if one.get(b) != other.get(b))


# --- buckets ---------------------------------------------------------------------------------


def digits_for(rows: int) -> int:
    """Return how many digits cut a table of so many rows into buckets of some hundreds."""
    return next((digits for most, digits in _DIGITS if rows <= most), DIGITS_MAX)


def is_time(bucket: str) -> bool:
    """Return whether a text is a day or a minute; a mistaken created_at begins with neither."""
    try:
        return _end(bucket) > bucket
    except (ValueError, OverflowError):
        return False


def span(bucket: str, cut: Cut) -> Cut:
    """Return the cut of one bucket of facts alone, into minutes."""
    end = _end(bucket)
    if len(bucket) == DAY_CHARACTERS and bucket <= cut.minutes_from < end:
        end = cut.minutes_from
    return replace(cut, since=bucket, before=end, minutes_from=bucket)


def _end(bucket: str) -> str:
    step = timedelta(days=1) if len(bucket) == DAY_CHARACTERS else timedelta(minutes=1)
    return (datetime.fromisoformat(bucket) + step).isoformat()[: len(bucket)]


def instant_at(bound: str) -> str:
    """Return a day or a minute as a canonical timestamp, its first moment."""
    return f"{datetime.fromisoformat(bound).isoformat(timespec='milliseconds')}Z"


def pieces(days: Iterable[tuple[str, int]], rows_max: int) -> list[tuple[str, str]]:
    """Return since and before of pieces that hold about so many rows each, of all time together.

    ``days`` are days in order with their rows.
    """
    cuts, held = [""], 0
    for day, rows in days:
        if held and held + rows > rows_max:
            cuts.append(day)
            held = 0
        held += rows
    return list(zip(cuts, [*cuts[1:], ""], strict=True))
