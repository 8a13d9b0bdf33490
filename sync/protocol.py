"""Numbering and hash chains: where a message stands against what is already known.

Both directions use it: a site's transactions on their way up, and a feed's entries on their way
down. A message may arrive late, twice, or after a gap; what is applied, and in which order, is the
same.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.changes import Position


class Verdict(Enum):
    """What to do with a message."""

    APPLY = "apply"  #: it is the next one
    SKIP = "skip"  #: it is known already
    GAP = "gap"  #: something before it is missing
    FORK = "fork"  #: its number is known or next, but its history is another one


def judge(position: Position, n: int, previous: bytes, own: bytes) -> Verdict:
    """Decide on message ``n`` of a chain, given the last link taken.

    ``previous`` and ``own`` are the hashes that the message carries. Only the link at the position
    itself can be checked among the known ones; older ones are skipped unseen.
    """
    if n == position.n + 1:
        return Verdict.APPLY if previous == position.hash else Verdict.FORK
    if n == position.n:
        return Verdict.SKIP if own == position.hash else Verdict.FORK
    return Verdict.SKIP if n < position.n else Verdict.GAP


def digest(body: bytes) -> bytes:
    """Return the SHA-256 of a part's uncompressed body."""
    return hashlib.sha256(body).digest()


def transaction_hash(
    previous: bytes, epoch: str, n: int, tx_id: str, digests: Iterable[bytes]
) -> bytes:
    """Return H(previous, epoch, n, tx_id, payload); the digests stand for the payload."""
    link = hashlib.sha256(previous)
    link.update(f"{epoch}\x00{n}\x00{tx_id}\x00".encode())
    for each in digests:
        link.update(each)
    return link.digest()


def entry_hash(previous: bytes, scope: str, pos: int, body: bytes) -> bytes:
    """Return the hash of a feed's entry over its uncompressed body."""
    link = hashlib.sha256(previous)
    link.update(f"{scope}\x00{pos}\x00".encode())
    link.update(hashlib.sha256(body).digest())
    return link.digest()
