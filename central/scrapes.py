"""Who may read the metrics, which name all sites: who shows a token, or asks from this machine.

Without a token only this machine is answered, and nothing that a proxy on it passes on: a proxy
says so in its headers, and is there for others to ask through.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import BadSetting, SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Characters that a token has at least: nobody guesses as many.
TOKEN_MIN: Final = 16
_TOKEN_MAX: Final = 1_000
_PASSED_ON: Final = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class NeedsMetricsToken(SyncError):
    """The metrics want the token of MES_METRICS_TOKEN_FILE as `Authorization: Bearer`."""


class NotFromHere(SyncError):
    """Without MES_METRICS_TOKEN_FILE the metrics are given to this machine alone."""


@dataclass(frozen=True, slots=True)
class Scrapers:
    """Who may read the metrics."""

    #: Empty where only this machine may.
    token: str = ""

    def check(self, address: str, headers: Mapping[str, str]) -> None:
        """Raise NeedsMetricsToken, or NotFromHere; the headers' names are in lower case."""
        if self.token:
            scheme, _, shown = headers.get("authorization", "").partition(" ")
            is_theirs = hmac.compare_digest(shown.strip().encode(), self.token.encode())
            if scheme.lower() != "bearer" or not is_theirs:
                raise NeedsMetricsToken(NeedsMetricsToken.__doc__)
        elif not _is_here(address) or any(name in headers for name in _PASSED_ON):
            raise NotFromHere(NotFromHere.__doc__)


def _is_here(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def read_scrapers(path: Path | None) -> Scrapers:
    """Return who may read the metrics, by the file with their token; raise BadSetting."""
    if path is None:
        return Scrapers()
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise BadSetting(f"MES_METRICS_TOKEN_FILE={path}: {error}") from error
    if not (TOKEN_MIN <= len(token) <= _TOKEN_MAX and token.isprintable() and " " not in token):
        raise BadSetting(
            f"MES_METRICS_TOKEN_FILE={path}: it holds no token of {TOKEN_MIN} characters or more;"
            " `openssl rand -hex 32` makes one"
        )
    return Scrapers(token)
