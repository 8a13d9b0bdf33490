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
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import Counter
from starlette.requests import HTTPConnection

from central.access import NotInScope, NotYourSite, Scope, reached
from central.api.asking import shown_by
from central.api.audit import asked_in
from central.api.problems import NeedsToken
from central.api.rates import TooOften
from central.api.reach import V1

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Asgi

    from central.access import Who
    from central.api.reach import Reach
    from central.audit import Asked

#: What rests on nothing but rows of its sites. Of these no answer depends on what time it is.
BELOW: Final = f"{V1}/reports/"
#: Bytes of all answers that are kept, and of one.
BYTES_MAX: Final = 64 << 20
ONE_MAX: Final = 512 << 10
#: Pairs of a token and what it narrows to, of which the sites are remembered.
_REACHES_MAX: Final = 10_000
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

    sites: tuple[str, ...]
    path: bytes
    query: bytes
    accept: bytes


class _Given(NamedTuple):
    """What a request brings that matters here."""

    token: str
    narrowing: str | None
    accept: bytes
    known: bytes


@dataclass(slots=True)
class _Kept:
    revisions: tuple[int, ...]
    start: Message
    body: Message
    unchanged: Message
    tag: bytes
    #: As it is noted, but for who asked and from where.
    asked: Asked

    @property
    def size(self) -> int:
        return len(self.body["body"])


@dataclass(slots=True)
class Cached:
    """Keeps answers in front of an application, in this process."""

    app: ASGIApp
    reach: Reach
    _kept: OrderedDict[_Key, _Kept] = field(default_factory=OrderedDict)
    _size: int = 0
    _reaches: dict[tuple[str, str | None], tuple[Who, frozenset[str], tuple[str, ...]]] = field(
        default_factory=dict
    )
    #: Answers that are being read: who asks the same meanwhile waits for them.
    _under_way: dict[_Key, asyncio.Event] = field(default_factory=dict)

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Answer with what is kept, or have it answered and keep that."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        given = self._given(scope) if scope["path"].startswith(BELOW) else None
        if given is None or (found := self._known(given)) is None:
            await self.app(scope, receive, send)
            return
        one, sites = found
        key = _Key(sites, scope["raw_path"], scope["query_string"], given.accept)
        if (kept := await self._current(key)) is not None and self._may_ask(one):
            await self._give(scope, send, kept, one, given.known)
        elif self._has_it(key, given.known) and self._may_ask(one):
            await self._tell_same(scope, send, key, one)
        else:
            await self._read(scope, receive, send, key)

    # --- who asks ----------------------------------------------------------------------------

    def _given(self, scope: Asgi) -> _Given | None:
        """Return what a request brings; None of one that is for the application to judge."""
        headers = dict(scope["headers"])
        if len(headers) < len(scope["headers"]):
            return None  # one came twice
        token = headers.get(b"authorization", b"")
        if token[: len(_BEARER)].lower() == _BEARER:
            shown = token[len(_BEARER) :].decode("latin-1").strip()
        else:
            try:
                shown = shown_by(self.reach.guard, HTTPConnection(scope), scope["method"])
            except NeedsToken:
                return None
        narrowing = headers.get(b"x-site-id")
        return _Given(
            shown, None if narrowing is None else narrowing.decode("latin-1"),
            headers.get(b"accept", b""), headers.get(b"if-none-match", b""),
        )  # fmt: skip

    def _known(self, given: _Given) -> tuple[Who, tuple[str, ...]] | None:
        """Return who asks and the sites of the answer, as far as both are remembered."""
        guard = self.reach.guard
        one, registered = guard.remembered(given.token), guard.remembered_sites()
        if one is None or registered is None:
            return None
        place = (given.token, given.narrowing)
        known = self._reaches.get(place)
        if known is not None and known[0] is one and known[1] is registered:
            return one, known[2]
        try:
            sites = reached(one, Scope.READ, registered, given.narrowing)
        except (NotInScope, NotYourSite):
            return None
        if not sites:
            return None
        if len(self._reaches) >= _REACHES_MAX:
            self._reaches.clear()
        self._reaches[place] = (one, registered, sites)
        return one, sites

    def _may_ask(self, one: Who) -> bool:
        """Take a request from who asks; the application refuses whoever asks too often."""
        try:
            self.reach.guard.rates.take(one.name, time.monotonic())
        except TooOften:
            return False
        return True

    # --- what is kept ------------------------------------------------------------------------

    async def _current(self, key: _Key) -> _Kept | None:
        """Return what is kept of an answer if it is current; wait for it where it is being read."""
        if (event := self._under_way.get(key)) is not None:
            await event.wait()
        kept = self._kept.get(key)
        if kept is None or kept.revisions != self.reach.live.current(key.sites):
            return None
        self._kept.move_to_end(key)
        return kept

    async def _give(self, scope: Asgi, send: Send, kept: _Kept, one: Who, known: bytes) -> None:
        is_same = bool(known) and _names(known, kept.tag)
        client = scope.get("client")
        self.reach.audit.note(
            replace(
                kept.asked, who=one.name, address=client[0] if client else "",
                status=304 if is_same else 200,
            )
        )  # fmt: skip
        if is_same:
            _SAME.inc()
            await send(kept.unchanged)
            await send(_NOTHING)
            return
        _HIT.inc()
        await send(kept.start)
        await send(kept.body)

    def _has_it(self, key: _Key, known: bytes) -> bool:
        """Return whether who asks has the answer as it is now, though we do not."""
        revisions = self.reach.live.current(key.sites) if known else None
        return revisions is not None and _names(known, _tag(key, revisions))

    async def _tell_same(self, scope: Asgi, send: Send, key: _Key, one: Who) -> None:
        scope.setdefault("state", {}).update(who=one.name, sites=key.sites)
        self.reach.audit.note(replace(asked_in(scope, 304), action=f"GET {scope['path']}"))
        _SAME.inc()
        revisions = self.reach.live.current(key.sites) or ()
        tag = (b"etag", _tag(key, revisions))
        await send({"type": "http.response.start", "status": 304, "headers": [tag, _CONTROL]})
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

    async def _read(self, scope: Asgi, receive: Receive, send: Send, key: _Key) -> None:
        """Have the application answer; tag the answer, and keep it."""
        revisions = self.reach.live.current(key.sites)
        if revisions is None:
            _PASSED.inc()
            await self.app(scope, receive, send)
            return
        _MISS.inc()
        tagging = _Tagging(send, scope, key, revisions)
        is_first = key not in self._under_way
        event = self._under_way.setdefault(key, asyncio.Event())
        try:
            await self.app(scope, receive, tagging.send)
            if (kept := tagging.whole()) is not None:
                self._keep(key, kept)
        finally:
            if is_first:
                event.set()
                del self._under_way[key]


@dataclass(slots=True)
class _Tagging:
    """Passes an answer on with its tag, and holds on to it."""

    _send: Send
    _scope: Asgi
    _key: _Key
    _revisions: tuple[int, ...]
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
            self._is_whole = not message.get("more_body", False)
        await self._send(message)

    async def _begin(self, message: Message) -> None:
        sites = self._scope.get("state", {}).get("sites")
        if message["status"] != 200 or sites != self._key.sites:
            await self._send(message)
            return
        self._tag = _tag(self._key, self._revisions)
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


def _tag(key: _Key, revisions: Iterable[int]) -> bytes:
    told = repr((key, tuple(revisions))).encode()
    return f'W/"{hashlib.blake2b(told, digest_size=12).hexdigest()}"'.encode()


def _names(known: bytes, tag: bytes) -> bool:
    """Return whether an If-None-Match header names a tag; weak or strong is the same (RFC 9110)."""
    tags = {each.strip().removeprefix(b"W/") for each in known.split(b",")}
    return tag.removeprefix(b"W/") in tags or known.strip() == b"*"
