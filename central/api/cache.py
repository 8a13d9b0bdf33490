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
import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter
from starlette.requests import HTTPConnection

from central.access import BadSiteName, NotInScope, NotYourSite, Scope, reached
from central.api.asking import shown_by
from central.api.audit import asked_in
from central.api.kept import ASKED_MAX, ONE_MAX, Keeping, Kept, Key, names, tag_of, unchanged
from central.api.problems import NeedsToken
from central.api.rates import TooOften
from central.api.reach import V1
from central.reports.presets import PRESETS, STATE_PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Asgi

    from central.access import Who
    from central.api.reach import Reach

#: Reports that rest on nothing but rows of their sites: no answer depends on what time it is.
KEPT: Final = frozenset(
    f"{V1}/reports/{name}"
    for name in (
        *(preset.name for preset in (*PRESETS, *STATE_PRESETS)),
        *("throughput-time", "wip", "log", "machine-timeline"),
    )
)
#: Pairs of a token and what it narrows to, of which the sites are remembered: each has some KB.
_ASKERS_MAX: Final = 4_000
#: It may be kept by who asked, who has to ask each time whether it still stands.
_CONTROL: Final = (b"cache-control", b"private, no-cache")
_BEARER: Final = b"bearer "

ANSWERED: Final = Counter(
    "mes_central_api_cache", "Reports, by how they were answered", ["outcome"]
)
_HIT, _SAME, _MISS, _PASSED = (
    ANSWERED.labels(each) for each in ("kept", "not modified", "read", "not kept")
)


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who shows a token and narrows their sites, and of which sites an answer is then."""

    one: Who
    sites: tuple[str, ...]
    group: int
    #: Until when that is so without another look, by the clock of the loop.
    until_s: float


@dataclass(slots=True)
class Cached:
    """Keeps answers in front of an application, in this process."""

    app: ASGIApp
    reach: Reach
    kept: Keeping = field(init=False)
    _askers: dict[tuple[bytes, bytes | None], _Asker] = field(default_factory=dict)
    _groups: dict[tuple[str, ...], int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    #: Answers that are being read: who asks the same meanwhile waits for them.
    _under_way: dict[Key, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kept = Keeping(self.reach.live)

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Answer with what is kept, or have it answered and keep that."""
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or scope["path"] not in KEPT
            or len(headers := dict(scope["headers"])) < len(scope["headers"])  # one came twice
            or len(scope["query_string"]) > ASKED_MAX
            or len(accept := headers.get(b"accept", b"")) > ASKED_MAX
            or (asker := self._asker(scope, headers)) is None
        ):
            await self.app(scope, receive, send)
            return
        known, life = headers.get(b"if-none-match", b""), self.reach.live.life
        key = Key(asker.group, life, scope["raw_path"], scope["query_string"], accept)
        if event := self._under_way.get(key):
            await event.wait()
        if (kept := self.kept.current(key)) is not None and self._may_ask(asker):
            await self._give(scope, send, kept, asker, known)
        elif known and self._has_it(key, asker, known) and self._may_ask(asker):
            await self._tell_same(scope, send, key, asker)
        else:
            await self._read(scope, receive, send, key, asker)

    # --- who asks ----------------------------------------------------------------------------

    def _asker(self, scope: Asgi, headers: Mapping[bytes, bytes]) -> _Asker | None:
        """Return who asks, as far as that is remembered; None where the application has to say."""
        # An empty narrowing is one to nothing, which is refused: it is none where it is absent.
        token, narrowing = headers.get(b"authorization", b""), headers.get(b"x-site-id")
        asker = self._askers.get((token, narrowing))
        if asker is not None and time.monotonic() < asker.until_s:
            return asker
        is_bearer = token[: len(_BEARER)].lower() == _BEARER
        try:
            shown = shown_by(self.reach.guard, HTTPConnection(scope), scope["method"])
            narrowed = None if narrowing is None else narrowing.decode("latin-1")
            asker = self._found(shown, narrowed)
        except (NeedsToken, NotInScope, NotYourSite, BadSiteName):
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

    async def _give(self, scope: Asgi, send: Send, kept: Kept, asker: _Asker, known: bytes) -> None:
        is_same = bool(known) and names(known, kept.tag)
        address = client[0] if (client := scope.get("client")) else ""
        asked = kept.note_of(asker.one.name, address, 304 if is_same else 200)
        self.reach.audit.note(asked)
        (_SAME if is_same else _HIT).inc()
        await send(kept.unchanged if is_same else kept.start)
        await send(_NOTHING if is_same else kept.body)

    def _has_it(self, key: Key, asker: _Asker, known: bytes) -> bool:
        """Return whether who asks has the answer as it is now, though we do not."""
        revisions = self.reach.live.current(asker.sites)
        return revisions is not None and names(known, tag_of(key, asker.sites, revisions))

    async def _tell_same(self, scope: Asgi, send: Send, key: Key, asker: _Asker) -> None:
        scope.setdefault("state", {}).update(who=asker.one.name, sites=asker.sites)
        self.reach.audit.note(replace(asked_in(scope, 304), action=f"GET {scope['path']}"))
        _SAME.inc()
        tag = tag_of(key, asker.sites, self.reach.live.current(asker.sites) or ())
        headers = [(b"etag", tag), _CONTROL]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send(_NOTHING)

    # --- what is not kept yet ----------------------------------------------------------------

    async def _read(
        self, scope: Asgi, receive: Receive, send: Send, key: Key, asker: _Asker
    ) -> None:
        """Have the application answer; tag the answer, and keep it."""
        revisions = self.reach.live.current(asker.sites)
        if revisions is None:
            _PASSED.inc()
            await self.app(scope, receive, send)
            return
        _MISS.inc()
        event = asyncio.Event()
        tagging = _Tagging(send, scope, key, asker, revisions, partial(self.kept.keep, key), event)
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
    _key: Key
    _asker: _Asker
    _revisions: tuple[int, ...]
    _keep: Callable[[Kept], None]
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
        self._tag = tag_of(self._key, self._asker.sites, self._revisions)
        others = (each for each in message["headers"] if each[0] != _CONTROL[0])
        headers = [*others, (b"etag", self._tag), _CONTROL]
        self._start = {**message, "headers": headers}
        await self._send(self._start)

    def whole(self) -> Kept | None:
        """Return the answer to be kept; None where it is none, or too large."""
        if self._start is None or not self._is_whole or self._size > ONE_MAX:
            return None
        body: Message = {"type": "http.response.body", "body": b"".join(self._parts)}
        return Kept(
            self._asker.sites, self._revisions, self._start, body, unchanged(self._start),
            self._tag, asked_in(self._scope, 200),
        )  # fmt: skip


_NOTHING: Final[Message] = {"type": "http.response.body", "body": b""}
