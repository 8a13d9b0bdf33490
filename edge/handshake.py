"""The edge's side of the handshake: say where the store stands, and mend what does not agree.

Nothing is sent before the centre has answered that both agree. Where the store is an older copy of
itself, it begins a new epoch; where the centre is, it is told what the store knows of the history
that it lost. All of it may be cut off anywhere and begun again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from edge import homecoming
from edge.lanes import DownLane, StoreThread, now_ms
from edge.store.ids import uuid7
from edge.store.sent import earliest
from shared.clock import clock_offset_ms
from shared.errors import ForkedHistory, Transient
from shared.observe import note
from sync import codec
from sync.handshake import ANY_DRAIN, Closed, Hello, Met, Welcome

if TYPE_CHECKING:
    from edge.store import EdgeStore
    from edge.store.epochs import Begun
    from sync.transport import Link

_log = logging.getLogger(__name__)

#: Pause before the centre is asked again for what is still under way.
_WAIT_S = 0.3
#: To close an epoch the centre may have to look through all versions.
_ANSWER_S = 30.0
#: So many hellos are said in a row; whoever calls goes on after a pause.
_HELLOS_MAX = 20
#: So often all is brought home in a row. That the centre still lacks it is then no restore of it.
_HOMECOMINGS_MAX = 3


@dataclass(frozen=True, slots=True)
class Agreed:
    """Both ends agree on what each of them has."""

    answer: dict[str, Any]
    #: One of them had gone back, and was healed.
    healed: bool
    #: Our clock minus the centre's was measured as this, in milliseconds.
    offset_ms: int
    #: After this n the centre is owed again what it had decided and lost; None where it has all.
    owed_from: int | None = None


@dataclass(slots=True)
class Handshake:
    """Says hello for one site."""

    site: str
    store: EdgeStore
    thread: StoreThread
    link: Link
    #: What else the agent says of itself.
    about: dict[str, Any]
    #: What comes down; it waits while the two don't agree, and nothing may be sent.
    down: DownLane
    #: Why the two do not agree, as the last hello was answered; empty where they do, or none was.
    apart_because: str = ""
    #: Something was healed since both last agreed.
    _healed: bool = False

    async def agree(self, sent_n: int) -> Agreed:
        """Say hello until both ends agree, mending what does not.

        Raises ForkedHistory where a person has to look, and Transient where one hello after the
        other finds something to mend.
        """
        tell, lost, why = False, 0, ""
        for _ in range(_HELLOS_MAX):
            # Before the store says its n: what is drained in between is more than is claimed.
            drained_ms = await self.thread.run(self.store.drained_through, now_ms())
            said = await self.thread.run(self.store.hello, with_order=tell)
            about = {"sent_n": sent_n, "drained_ms": drained_ms}
            answer, offset_ms = await self._say(said, about)
            welcome, why = Welcome(answer["verdict"]), str(answer["why"])
            if welcome is Welcome.TELL:
                # What a lost centre gave must not be written after the store said its order.
                self.down.agreed.clear()
                tell = True
            elif welcome in (Welcome.OK, Welcome.SNAPSHOT) and await self._has(answer):
                await self._meet(said, answer)
                applied_n = int(answer["applied_n"])
                owed_from = applied_n if applied_n < said.acked_n else None
                healed, self._healed = self._healed, False
                self.apart_because = ""
                return Agreed(answer, healed, offset_ms, owed_from)
            else:
                lost += welcome is Welcome.LOST
                if lost > _HOMECOMINGS_MAX:
                    raise ForkedHistory(f"{why}, also after all was brought home")
                self.apart_because = why or "the centre has other transactions of this store"
                self._healed |= await self._mend(said, answer)
        raise Transient(f"no agreement with the centre by {_HELLOS_MAX} hellos: {why}")

    async def _meet(self, said: Hello, answer: dict[str, Any]) -> None:
        if answer["verdict"] == Welcome.SNAPSHOT:
            await self.thread.run(self.store.want_snapshot, str(answer["why"]), now_ms())
        await self._note_life(said, answer)
        self.down.made_from_ms = int(answer["noted_ms"])
        self.down.agreed.set()

    async def _mend(self, said: Hello, answer: dict[str, Any]) -> bool:
        """Do what is to be done before both can agree; return whether anything was."""
        welcome, why = Welcome(answer["verdict"]), str(answer["why"])
        applied_n = int(answer["applied_n"])
        if welcome is Welcome.STOP:
            raise ForkedHistory(why)
        if welcome in (Welcome.LOST, Welcome.SHOW):
            self.down.agreed.clear()
            return await self._bring_home(said, answer, is_lost=welcome is Welcome.LOST)
        if await self._was_overtaken(said, applied_n):
            return False
        self.down.agreed.clear()
        why = why or f"the store of {self.site} has another n {applied_n} than the centre"
        # What came home is common, too, though it is not applied.
        await self._begin_epoch(said, max(applied_n, int(answer["included"][0])), why)
        return True

    async def _say(self, said: Hello, about: dict[str, Any]) -> tuple[dict[str, Any], int]:
        asked_at = now_ms()
        fields = said.fields() | self.about | about | {"now_ms": asked_at}
        try:
            answer = await self._ask("hello", fields)
        except Transient:
            self.apart_because = ""
            raise
        answered_at = now_ms()
        known_ms = (await self.thread.run(self.store.position)).offset_ms
        offset_ms = clock_offset_ms(asked_at, int(answer["now_ms"]), answered_at, known_ms)
        await self.thread.run(self.store.set_offset, offset_ms, answered_at)
        return answer, offset_ms

    async def _has(self, answer: dict[str, Any]) -> bool:
        """Return whether the last transactions that the centre knows are the store's own."""
        known = [(int(answer["applied_n"]), answer["applied_hash"]), tuple(answer["included"])]
        own = [await self.thread.run(self.store.link_hash, n) for n, _ in known]
        return all(
            each in (None, bytes(there)) for each, (_, there) in zip(own, known, strict=True)
        )

    async def _was_overtaken(self, said: Hello, applied_n: int) -> bool:
        """Tell whether the centre only had more than a hello said because we sent it meanwhile."""
        position = await self.thread.run(self.store.position)
        return said.n < applied_n <= position.last_n and said.epoch == position.epoch

    async def _bring_home(self, said: Hello, answer: dict[str, Any], *, is_lost: bool) -> bool:
        """Show the centre what it may have lost; return whether it had."""
        home = homecoming.Homecoming(self.link, self.store, self.thread, self.site, answer)
        unknown = await home.show(whole=is_lost)
        if unknown and not is_lost:
            unknown += await home.show(whole=True)
        if unknown or is_lost:
            await home.begin_anew(unknown)
        # Else all of it was decided since the server was started: it was started as it was.
        await self._note_life(said, answer)
        return bool(unknown or is_lost)

    async def _note_life(self, said: Hello, answer: dict[str, Any]) -> None:
        """Remember that we agreed in this life of the server, and which one it follows."""
        life = Met(str(answer["life"]), answer.get("parted_order"))
        if all(each.life != life.life for each in said.lives):
            await self.thread.run(self.store.meet, life, answer.get("after"))

    # --- the store went back ---------------------------------------------------------------------

    async def _begin_epoch(self, said: Hello, known_n: int, why: str) -> None:
        note(_log, "went back", level=logging.WARNING, why=why)
        fork_n = await self._fork_n(said, known_n)
        asked = {
            "epoch": said.epoch,
            "n": fork_n,
            "hash": await self.thread.run(self.store.link_hash, fork_n),
            "next": uuid7(now_ms(), SystemRandom()),
            "why": why,
        }
        while "wait" in (answer := await self._ask("close", asked)):
            note(_log, "waiting for what is under way", messages=answer["wait"])
            await asyncio.sleep(_WAIT_S)
        if "stop" in answer:
            raise ForkedHistory(str(answer["stop"]))
        begun = await self._begin(Closed.read(answer), said)
        note(
            _log, "new epoch", level=logging.WARNING, fork_n=fork_n, moved=begun.transactions,
            sent_before=begun.sent_before,
        )  # fmt: skip

    async def _begin(self, closed: Closed, said: Hello) -> Begun:
        """Go on in the next epoch, without what the lost life of the store has sent before."""
        fork_n, run = closed.closure.fork_n, self.thread.run
        if closed.next_epoch == said.epoch:
            return await run(self.store.begin_epoch, closed, now_ms())
        known_n = await self._known_n(said.acked_n)
        first = await run(self.store.first_change, fork_n, known_n, now_ms())
        if first is None:
            return await run(self.store.begin_epoch, closed, now_ms(), None, known_n)
        hlc, answers = ANY_DRAIN, []
        asked = {"epoch": said.epoch, "n": fork_n, "after_hlc": first.after_hlc}
        asking = self.store.questions(first)
        while (rows := await run(next, asking, None)) is not None:
            answers.append(await self._answer("sent", asked | {"rows": [*map(list, rows)]}))
            hlc = earliest(hlc, answers[-1])
        taken = await run(self.store.take_out, first, answers, hlc)
        with contextlib.closing(taken):
            return await run(self.store.begin_epoch, closed, now_ms(), taken, known_n)

    async def _known_n(self, n: int) -> int:
        """Return up to where the centre has all after n: an earlier life may have moved it, too."""
        while some := await self.thread.run(self.store.ids_after, n):
            asked = {"tx_ids": [tx_id for _, tx_id in some]}
            known = set((await self._ask("known", asked))["tx_ids"])
            for each, tx_id in some:
                if tx_id not in known:
                    return n
                n = each
        return n

    async def _fork_n(self, said: Hello, known_n: int) -> int:
        """Return the last transaction that both have: equal hashes tell that all before are equal.

        What was decided is common: the centre is known not to have gone back. ``known_n`` is the
        last of the epoch that it has applied, or whose rows came home.
        """
        low, high = said.acked_n, max(said.acked_n, min(said.n, known_n))
        while low < high:
            middle = (low + high + 1) // 2
            own = await self.thread.run(self.store.link_hash, middle)
            theirs = (await self._ask("link", {"epoch": said.epoch, "n": middle}))["hash"]
            if own is not None and theirs is None:
                raise ForkedHistory(f"the centre no longer remembers n {middle} of {self.site}")
            low, high = (middle, high) if own in (None, theirs) else (low, middle - 1)
        return low

    async def _ask(self, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
        return codec.decode_control(await self._answer(verb, fields))

    async def _answer(self, verb: str, fields: dict[str, Any]) -> bytes:
        asked = codec.encode_control(fields)
        return await self.link.request(f"ctl.{self.site}.{verb}", asked, timeout_s=_ANSWER_S)
