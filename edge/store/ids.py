"""New ids that sort by the time they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from random import Random


def uuid7(now_ms: int, chance: Random) -> str:
    """Return a UUIDv7: 48 bits of milliseconds, 74 bits of chance."""
    bits = now_ms << 80 | 0x7 << 76 | chance.getrandbits(12) << 64
    return str(UUID(int=bits | 0b10 << 62 | chance.getrandbits(62)))
