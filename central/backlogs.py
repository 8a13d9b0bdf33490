"""What the broker holds of sites for the ingest."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.errors import SyncError
from sync.streams import APPLY, up_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sync.transport import Link

_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What the broker holds of a site for the ingest."""

    messages: int
    #: Share of the stream's room that is taken, 0 to 1.
    filled: float


async def read_backlogs(link: Link | None, sites: Sequence[str]) -> tuple[dict[str, Backlog], str]:
    """Return what the broker holds of each site, and why it could not be asked, if so."""
    if link is None:
        return {}, "not asked"
    try:
        await link.wait_connected(_TIMEOUT_S)
        found = await asyncio.gather(*(_backlog(link, site) for site in sites))
    except SyncError as why:
        return {}, str(why)
    return {s: each for s, each in zip(sites, found, strict=True) if each is not None}, ""


async def _backlog(link: Link, site: str) -> Backlog | None:
    """Return what waits in a site's stream; None where the broker has no such stream."""
    stream = await _ask(link, f"STREAM.INFO.{up_stream(site)}")
    durable = await _ask(link, f"CONSUMER.INFO.{up_stream(site)}.{APPLY}")
    if stream is None or durable is None:
        return None
    room = stream["config"].get("max_bytes", -1)
    return Backlog(
        messages=int(durable["num_pending"]) + int(durable["num_ack_pending"]),
        filled=stream["state"]["bytes"] / room if room > 0 else 0.0,
    )


async def _ask(link: Link, subject: str) -> dict[str, Any] | None:
    answer: dict[str, Any] = json.loads(
        await link.request(f"$JS.API.{subject}", b"", timeout_s=_TIMEOUT_S)
    )
    return None if "error" in answer else answer
