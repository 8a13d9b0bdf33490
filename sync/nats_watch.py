"""The watch over one session: it decides when a connection that still looks open is dead.

A ping is sent and waited for without a time limit, because a ping of the client that times out
kills its reading loop. What is limited is silence: seconds in which neither the pong came nor any
byte moved. On a slow link ping and pong stand behind large messages, and that is not silence.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from sync.nats_motion import Outgoing
from sync.nats_session import NEVER_S

if TYPE_CHECKING:
    from sync.nats_session import Session

_TICK_S: Final = 1.0


async def watch(
    session: Session, *, ping_every_s: float, silence_max_s: float, deaf_max_s: float = math.inf
) -> str:
    """Return the reason when the session has ended; end it when it shows no sign of life.

    Also end it when JetStream has decided nothing for so long, where there is another broker.
    """
    while not session.lost.done():
        asked_at = asyncio.get_running_loop().time()
        ping = asyncio.ensure_future(session.nc.rtt(timeout=NEVER_S))
        try:
            why = await _await_pong(session, ping, silence_max_s)
            session.pong_of = session.pong_of if why else asked_at
        finally:
            # Only now that the session is over, or the pong is there, may the ping be cancelled.
            ping.cancel()
            await asyncio.gather(ping, return_exceptions=True)
        if not why and session.hearing.deaf_s > deaf_max_s:
            why = f"the broker has decided nothing for {session.hearing.deaf_s:.0f} s"
        if why:
            session.drop(why)
        await asyncio.wait({session.lost}, timeout=min(ping_every_s, deaf_max_s / 4))
    return session.lost.result()


async def _await_pong(session: Session, ping: asyncio.Future[float], silence_max_s: float) -> str:
    """Return nothing when the pong came, else why the session is dead."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)  # lets the ping be written, so that it counts as on its way
    outgoing, alive_at = Outgoing(session), loop.time()
    _, received = session.bytes_moved()
    any_of: tuple[asyncio.Future[Any], ...] = (ping, session.lost)
    while loop.time() - alive_at <= silence_max_s:
        before = loop.time()
        await asyncio.wait(any_of, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
        if ping.done() and ping.exception() is None:
            session.rtt_ms = ping.result() * 1000
            return ""
        if ping.done() or session.lost.done() or not session.nc.is_connected:
            return "the connection was closed"
        previous, (_, received) = received, session.bytes_moved()
        stood_still = loop.time() - before > 2 * _TICK_S  # this process did: the silence was ours
        if received > previous or outgoing.is_moving() or stood_still:
            alive_at = loop.time()
    return f"no sign of life for {silence_max_s:g} s"
