"""Answers that nothing has changed since are given again as they are, before any route is sought.

An answer is kept under the sites that it is of, what was asked, and the revisions that these sites
had before it was read. While they have them still, nothing was committed that it rests on: it is
current, at the latest look (``live.LOOK_FRESH_S``). Whoever may read the same sites shares it; who
asks, how often and of which sites is found out each time, as it is for any other question, and
noted in the audit log. For the same reason an answer has a tag, by which a browser that has it
already is told so in place of getting it again. Weak tags: an answer says when it was made.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import Counter
from starlette.requests import HTTPConnection

from central.access import NotInScope, NotYourSite, Scope, reached
from central.api.asking import shown_by
from central.api.audit import asked_in
from central.api.problems import NeedsToken
from central.api.rates import TooOften
from central.api.reach import V1
from central.reports.presets import PRESETS, STATE_PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Asgi

    from central.access import Who
    from central.api.reach import Reach
    from central.audit import Asked

#: Reports that rest on nothing but rows of their sites: no answer depends on what time it is.
KEPT: Final = frozenset(
    f"{V1}/reports/{name}"
    for name in (
        *(preset.name for preset in (*PRESETS, *STATE_PRESETS)),
        *("throughput-time", "wip", "log", "machine-timeline"),
    )
)
#: Bytes of all answers that are kept, and of one.
BYTES_MAX: Final = 64 << 20
ONE_MAX: Final = 512 << 10
#: Pairs of a token and what it narrows to, of which the sites are remembered; and people who got
#: one answer.
_ASKERS_MAX: Final = 10_000
_NOTED_MAX: Final = 1_000
#: It may be kept by who asked, who has to ask each time whether it still stands.
_CONTROL: Final = (b"cache-control", b"private, no-cache")
_BEARER: Final = b"bearer "

ANSWERED: Final = Counter(
    "mes_central_api_cache", "Reports, by how they were answered", ["outcome"]
)
_HIT, _SAME, _MISS, _PASSED = (
    ANSWERED.labels(each) for each in ("kept", "not modified", "read", "not kept")
)


class _Key(NamedTuple):
    """What tells one answer from another."""

    #: Number of the sites that it is of.
    group: int
    path: bytes
    query: bytes
    accept: bytes


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who shows a token and narrows their sites, and of which sites an answer is then."""

    one: Who
    sites: tuple[str, ...]
    group: int
    #: Until when that is so without another look, by the clock of the loop.
    until_s: float


@dataclass(slots=True)
class _Kept:
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

    @property
    def size(self) -> int:
        return len(self.body["body"])

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
class Cached:
    """Keeps answers in front of an application, in this process."""

    app: ASGIApp
    reach: Reach
    _kept: OrderedDict[_Key, _Kept] = field(default_factory=OrderedDict)
    _size: int = 0
    _askers: dict[tuple[bytes, bytes], _Asker] = field(default_factory=dict)
    _groups: dict[tuple[str, ...], int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    #: Answers that are being read: who asks the same meanwhile waits for them.
    _under_way: dict[_Key, asyncio.Event] = field(default_factory=dict)

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Answer with what is kept, or have it answered and keep that."""
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or scope["path"] not in KEPT
            or len(headers := dict(scope["headers"])) < len(scope["headers"])  # one came twice
            or (asker := self._asker(scope, headers)) is None
        ):
            await self.app(scope, receive, send)
            return
        accept, known = headers.get(b"accept", b""), headers.get(b"if-none-match", b"")
        key = _Key(asker.group, scope["raw_path"], scope["query_string"], accept)
        if event := self._under_way.get(key):
            await event.wait()
        if (kept := self._current(key, asker)) is not None and self._may_ask(asker):
            await self._give(scope, send, kept, asker, known)
        elif known and self._has_it(key, asker, known) and self._may_ask(asker):
            await self._tell_same(scope, send, key, asker)
        else:
            await self._read(scope, receive, send, key, asker)

    # --- who asks ----------------------------------------------------------------------------

    def _asker(self, scope: Asgi, headers: Mapping[bytes, bytes]) -> _Asker | None:
        """Return who asks, as far as that is remembered; None where the application has to say."""
        token, narrowing = headers.get(b"authorization", b""), headers.get(b"x-site-id", b"")
        asker = self._askers.get((token, narrowing))
        if asker is not None and time.monotonic() < asker.until_s:
            return asker
        is_bearer = token[: len(_BEARER)].lower() == _BEARER
        try:
            shown = shown_by(self.reach.guard, HTTPConnection(scope), scope["method"])
            asker = self._found(shown, narrowing.decode("latin-1") or None)
        except (NeedsToken, NotInScope, NotYourSite):
            return None
        if asker is not None and is_bearer:  # a session may be ended at any moment
            if len(self._askers) >= _ASKERS_MAX:
                self._askers.clear()
            self._askers[token, narrowing] = asker
        return asker

    def _found(self, shown: str, narrowing: str | None) -> _Asker | None:
        found, registered = self.reach.guard.remembered(shown), self.reach.guard.remembered_sites()
        if found is None or registered is None:
            return None
        one, until_s = found
        sites = reached(one, Scope.READ, registered[0], narrowing)
        if not sites:
            return None
        if (group := self._groups.get(sites)) is None:
            if len(self._groups) >= _ASKERS_MAX:
                self._groups.clear()  # what is kept under their numbers is asked for no more
            self._groups[sites] = group = next(self._numbers)
        return _Asker(one, sites, group, min(until_s, registered[1]))

    def _may_ask(self, asker: _Asker) -> bool:
        """Take a request from who asks; the application refuses whoever asks too often."""
        try:
            self.reach.guard.rates.take(asker.one.name, time.monotonic())
        except TooOften:
            return False
        return True

    # --- what is kept ------------------------------------------------------------------------

    def _current(self, key: _Key, asker: _Asker) -> _Kept | None:
        """Return what is kept of an answer if it is current."""
        live, kept = self.reach.live, self._kept.get(key)
        if kept is None or not live.is_fresh:
            return None
        if kept.looked is not live.revisions:
            if kept.revisions != live.current(asker.sites):
                return None
            kept.looked = live.revisions
        self._kept.move_to_end(key)
        return kept

    async def _give(
        self, scope: Asgi, send: Send, kept: _Kept, asker: _Asker, known: bytes
    ) -> None:
        is_same = bool(known) and _names(known, kept.tag)
        address = client[0] if (client := scope.get("client")) else ""
        asked = kept.note_of(asker.one.name, address, 304 if is_same else 200)
        self.reach.audit.note(asked)
        (_SAME if is_same else _HIT).inc()
        await send(kept.unchanged if is_same else kept.start)
        await send(_NOTHING if is_same else kept.body)

    def _has_it(self, key: _Key, asker: _Asker, known: bytes) -> bool:
        """Return whether who asks has the answer as it is now, though we do not."""
        revisions = self.reach.live.current(asker.sites)
        return revisions is not None and _names(known, _tag(key, asker, revisions))

    async def _tell_same(self, scope: Asgi, send: Send, key: _Key, asker: _Asker) -> None:
        scope.setdefault("state", {}).update(who=asker.one.name, sites=asker.sites)
        self.reach.audit.note(replace(asked_in(scope, 304), action=f"GET {scope['path']}"))
        _SAME.inc()
        tag = _tag(key, asker, self.reach.live.current(asker.sites) or ())
        headers = [(b"etag", tag), _CONTROL]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send(_NOTHING)

    def _keep(self, key: _Key, kept: _Kept) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._size -= old.size
        self._kept[key] = kept
        self._size += kept.size
        while self._size > BYTES_MAX:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size

    # --- what is not kept yet ----------------------------------------------------------------

    async def _read(
        self, scope: Asgi, receive: Receive, send: Send, key: _Key, asker: _Asker
    ) -> None:
        """Have the application answer; tag the answer, and keep it."""
        revisions = self.reach.live.current(asker.sites)
        if revisions is None:
            _PASSED.inc()
            await self.app(scope, receive, send)
            return
        _MISS.inc()
        event = asyncio.Event()
        tagging = _Tagging(send, scope, key, asker, revisions, partial(self._keep, key), event)
        is_first = self._under_way.setdefault(key, event) is event
        try:
            await self.app(scope, receive, tagging.send)
        finally:
            event.set()
            if is_first:
                del self._under_way[key]


@dataclass(slots=True)
class _Tagging:
    """Passes an answer on with its tag, and holds on to it."""

    _send: Send
    _scope: Asgi
    _key: _Key
    _asker: _Asker
    _revisions: tuple[int, ...]
    _keep: Callable[[_Kept], None]
    #: Set as soon as it is known that nobody need wait for the answer.
    _event: asyncio.Event
    _start: Message | None = None
    _tag: bytes = b""
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0
    _is_whole: bool = False

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        if self._start is not None:
            self._size += len(message.get("body", b""))
            if self._size <= ONE_MAX:
                self._parts.append(message.get("body", b""))
            else:
                self._parts.clear()
            self._is_whole = not message.get("more_body", False)
            if (kept := self.whole()) is not None:
                self._keep(kept)
            # Before it is sent: nobody waits for somebody else's slow line.
            self._event.set()
        await self._send(message)

    async def _begin(self, message: Message) -> None:
        sites = self._scope.get("state", {}).get("sites")
        if message["status"] != 200 or sites != self._asker.sites:
            await self._send(message)
            return
        self._tag = _tag(self._key, self._asker, self._revisions)
        others = (each for each in message["headers"] if each[0] != _CONTROL[0])
        headers = [*others, (b"etag", self._tag), _CONTROL]
        self._start = {**message, "headers": headers}
        await self._send(self._start)

    def whole(self) -> _Kept | None:
        """Return the answer to be kept; None where it is none, or too large."""
        if self._start is None or not self._is_whole or self._size > ONE_MAX:
            return None
        body: Message = {"type": "http.response.body", "body": b"".join(self._parts)}
        return _Kept(
            self._revisions, self._start, body, _unchanged(self._start), self._tag,
            asked_in(self._scope, 200),
        )  # fmt: skip


_NOTHING: Final[Message] = {"type": "http.response.body", "body": b""}
#: What tells of a body, which one that is not sent again does not have.
_OF_BODY: Final = frozenset({b"content-length", b"content-type"})


def _unchanged(start: Message) -> Message:
    headers = [each for each in start["headers"] if each[0] not in _OF_BODY]
    return {**start, "status": 304, "headers": headers}


def _tag(key: _Key, asker: _Asker, revisions: Iterable[int]) -> bytes:
    told = repr((asker.sites, key[1:], tuple(revisions))).encode()
    return f'W/"{hashlib.blake2b(told, digest_size=12).hexdigest()}"'.encode()


def _names(known: bytes, tag: bytes) -> bool:
    """Return whether an If-None-Match header names a tag; weak or strong is the same (RFC 9110)."""
    tags = {each.strip().removeprefix(b"W/") for each in known.split(b",")}
    return tag.removeprefix(b"W/") in tags or known.strip() == b"*"
