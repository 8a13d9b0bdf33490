"""How one process reaches the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Where the broker is, who asks, and how patient this end is."""

    #: Addresses like `nats://host:4222` or `tls://host:443`; one is picked at random each time.
    servers: tuple[str, ...]
    #: Shown in the broker's monitoring: the site, or the program at the centre.
    name: str
    #: User JWT and seed; None only against a server without authentication.
    creds_file: Path | None = None
    #: `hub.API` at an edge (its account imports the API under this name), `$JS.API` at the centre.
    prefix: str = "$JS.API"
    #: Limit for each direction, or None.
    bytes_per_s_max: int | None = None
    tls: ssl.SSLContext | None = None
    connect_timeout_s: float = 5.0
    ping_every_s: float = 10.0
    #: Without any sign of life for so long, the connection is dropped and a new one built.
    silence_max_s: float = 25.0
    #: With several brokers: one that has decided nothing for so long is left for another. It may
    #: be cut off from the others, and would go on answering pings, and that it is busy.
    deaf_max_s: float = 20.0
    #: After a loss a client waits up to this long, so that a thousand sites do not come at once.
    reconnect_spread_s: float = 1.0
    reconnect_wait_max_s: float = 30.0
