"""Ids: new ones that sort by the time they were made, and texts for those that are none."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from random import Random

    from shared.changes import Value


def uuid7(now_ms: int, chance: Random) -> str:
    """Return a UUIDv7: 48 bits of milliseconds, 74 bits of chance."""
    bits = now_ms << 80 | 0x7 << 76 | chance.getrandbits(12) << 64
    return str(UUID(int=bits | 0b10 << 62 | chance.getrandbits(62)))


def as_text(key: Value) -> str:
    """Return the text by which the centre names a row whose key is none, and parks it.

    Bytes get replacement characters, and a digest, so that no two keys become one.
    """
    if isinstance(key, bytes):
        return f"{key.decode(errors='replace')}#{sha256(key).hexdigest()[:16]}"
    return "" if key is None else str(key)
