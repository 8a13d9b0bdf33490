"""What is kept of answers: how much at most, for how long, and by which tag each is known."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import central
import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.types import Message

    from central.api.live import Live
    from central.audit import Asked

#: Bytes of all answers that are kept, and of the body of one; and how many there are.
BYTES_MAX: Final = 64 << 20
ONE_MAX: Final = 512 << 10
ENTRIES_MAX: Final = 4_000
#: Bytes of a query, and of what is accepted, beyond which an answer is not kept.
ASKED_MAX: Final = 4 << 10
#: What an answer takes beside its body and what was asked: its headers, and how it is noted.
OVERHEAD: Final = 8 << 10
#: Seconds between two looks for answers that were superseded, so that they need no room.
PURGE_S: Final = 1.0
#: People who got one answer, of whom it is remembered how that is noted.
_NOTED_MAX: Final = 20


class Key(NamedTuple):
    """What tells one answer from another."""

    #: Number of the sites that it is of.
    group: int
    #: Life of the database that it was read from (``Live.life``).
    life: str
    path: bytes
    query: bytes
    accept: bytes


@dataclass(slots=True)
class Kept:
    """An answer, with the revisions that its sites had before it was read."""

    sites: tuple[str, ...]
    revisions: tuple[int, ...]
    start: Message
    body: Message
    unchanged: Message
    tag: bytes
    #: As it is noted, but for who asked, from where, and how it was answered.
    asked: Asked
    #: What the last look found at which the answer was current.
    looked: Mapping[str, int] | None = None
    noted: dict[tuple[str, str, int], Asked] = field(default_factory=dict)

    def note_of(self, name: str, address: str, status: int) -> Asked:
        """Return the answer as the audit log tells it."""
        place = (name, address, status)
        if (asked := self.noted.get(place)) is None:
            if len(self.noted) >= _NOTED_MAX:
                self.noted.clear()
            asked = replace(self.asked, who=name, address=address, status=status)
            self.noted[place] = asked
        return asked


@dataclass(slots=True)
class Keeping:
    """Answers by their keys, the one that was asked for least lately first."""

    live: Live
    _kept: OrderedDict[Key, Kept] = field(default_factory=OrderedDict)
    size: int = 0
    #: At which look, and when, superseded ones were dropped the last time.
    _purged: Mapping[str, int] | None = None
    _purged_at_s: float = float("-inf")

    def __len__(self) -> int:
        return len(self._kept)

    def current(self, key: Key) -> Kept | None:
        """Return what is kept of an answer if it is current; what is no more is dropped."""
        kept = self._kept.get(key)
        if kept is None or not self.live.is_fresh:
            return None
        if kept.looked is not self.live.revisions:
            if kept.revisions != self.live.current(kept.sites):
                self._drop(key)
                return None
            kept.looked = self.live.revisions
        self._kept.move_to_end(key)
        return kept

    def keep(self, key: Key, kept: Kept) -> None:
        """Keep an answer, and no more of the others than there is room for."""
        self._drop(key)
        self._purge()
        self._kept[key] = kept
        self.size += size_of(key, kept)
        while self.size > BYTES_MAX or len(self._kept) > ENTRIES_MAX:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self.size -= size_of(key, old)

    def _purge(self) -> None:
        """Drop what was superseded, once after a look, and not more often than each second."""
        live, now_s = self.live, time.monotonic()
        if self._purged is live.revisions or now_s - self._purged_at_s < PURGE_S:
            return
        self._purged, self._purged_at_s = live.revisions, now_s
        stand: dict[tuple[str, ...], tuple[int, ...] | None] = {}
        for key, kept in list(self._kept.items()):
            if kept.sites not in stand:
                stand[kept.sites] = live.current(kept.sites)
            if key.life != live.life or kept.revisions != stand[kept.sites]:
                self._drop(key)


def size_of(key: Key, kept: Kept) -> int:
    """Return the bytes that an answer takes, with its key."""
    asked = len(key.path) + len(key.query) + len(key.accept)
    return len(kept.body["body"]) + asked + OVERHEAD


# --- tags -----------------------------------------------------------------------------------------

#: What tells of a body, which one that is not sent again does not have.
_OF_BODY: Final = frozenset({b"content-length", b"content-type"})


def unchanged(start: Message) -> Message:
    """Return how an answer begins that tells a browser that it has it already."""
    headers = [each for each in start["headers"] if each[0] not in _OF_BODY]
    return {**start, "status": 304, "headers": headers}


def tag_of(key: Key, sites: tuple[str, ...], revisions: Iterable[int]) -> bytes:
    """Return the tag of an answer: the same in every process of one release on one database."""
    told = repr((release(), sites, key[1:], tuple(revisions))).encode()
    return f'W/"{hashlib.blake2b(told, digest_size=12).hexdigest()}"'.encode()


def names(known: bytes, tag: bytes) -> bool:
    """Return whether an If-None-Match header names a tag; weak or strong is the same (RFC 9110)."""
    tags = {each.strip().removeprefix(b"W/") for each in known.split(b",")}
    return tag.removeprefix(b"W/") in tags or known.strip() == b"*"


@cache
def release() -> str:
    """Return what tells this program from any that may answer otherwise: a digest of its source.

    A number of a version would not tell of a formula that was mended on the spot.
    """
    return digest_of((Path(central.__file__).parent, Path(shared.__file__).parent), Path.read_bytes)


def digest_of(folders: Iterable[Path], read: Callable[[Path], bytes]) -> str:
    """Return a digest of all modules and statements in some folders, with their names."""
    digest = hashlib.blake2b(digest_size=12)
    for folder in folders:
        for path in sorted((*folder.rglob("*.py"), *folder.rglob("*.sql"))):
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(hashlib.blake2b(read(path)).digest())
    return digest.hexdigest()
