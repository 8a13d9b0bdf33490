"""Keys by which programs ask the API.

A key is ``mes_<id>_<secret>``: the beginning lets scanners of source code find one that was
committed, the id names it in lists and logs, and the secret has 256 bits of chance. So its SHA-256
is enough to keep: nobody can try them all, and a slow hash would only slow down each request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.access import Scope, who
from central.sites import UnknownSite
from shared.errors import BadSetting, SyncError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from central.access import Who

DAYS_MAX: Final = 3650
_KEY: Final = re.compile(r"mes_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


class UnknownKey(SyncError):
    """No key of this name stands; `mes-central api-keys list` names those that do."""


class KeyStands(SyncError):
    """A key of this name stands already; revoke it first, or choose another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, without its secret."""

    id: str
    name: str
    grants: tuple[str, ...]
    scopes: tuple[Scope, ...]
    added_at: datetime
    #: None for never.
    expires_at: datetime | None
    revoked_at: datetime | None
    #: Last seen, to about a minute; None for never.
    used_at: datetime | None
    #: It is accepted at this moment.
    stands: bool


def looks_like_one(text: str) -> bool:
    """Tell whether a text may be a key, so that other tokens cost no question."""
    return _KEY.fullmatch(text) is not None


def hash_of(key: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


async def add(
    connection: AsyncConnection[Any], name: str, grants: Sequence[str], *,
    scopes: Collection[Scope] = tuple(Scope), days: int | None = None,
) -> str:  # fmt: skip
    """Make a key that is accepted for so many days, and return it; it can't be shown again.

    Raise BadSetting where the name, a grant or the days can't be, UnknownSite, and KeyStands.
    """
    if not _NAME.fullmatch(name):
        raise BadSetting(f"{name!r} can't name a key: use 1 to 40 of a-z, 0-9, '.', '_' and '-'")
    if days is not None and not 1 <= days <= DAYS_MAX:
        raise BadSetting(f"a key is accepted for 1 to {DAYS_MAX} days, or without an end")
    one = who(name, grants, scopes)
    if not one.reach:
        raise BadSetting(f"none of {', '.join(grants)} allows {', '.join(scopes)}")
    await _check_sites(connection, one)
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
    key = f"mes_{key_id}_{secrets.token_urlsafe(32)}"
    try:
        await connection.execute(
            """INSERT INTO sync.api_key (id, name, hash, grants, scopes, expires_at)
               VALUES (%s, %s, %s, %s, %s, now() + make_interval(days => %s))""",
            [key_id, name, hash_of(key), list(grants), sorted(one.reach), days],
        )
    except psycopg.errors.UniqueViolation as error:
        raise KeyStands(
            f"a key named {name} stands already; `mes-central api-keys revoke {name}` first"
        ) from error
    return key


async def _check_sites(connection: AsyncConnection[Any], one: Who) -> None:
    named = {name for sites in one.reach.values() for name in sites.names}
    cursor = await connection.execute("SELECT site FROM sync.site")
    missing = named - {site for (site,) in await cursor.fetchall()}
    if missing:
        raise UnknownSite(
            f"site {min(missing)} is not registered; `mes-central sites list` names those that are"
        )


_LISTED: Final = """
SELECT id, name, grants, scopes, added_at, expires_at, revoked_at, used_at,
       revoked_at IS NULL AND coalesce(expires_at > now(), true) AS stands
FROM sync.api_key"""


async def listed(connection: AsyncConnection[Any]) -> list[ApiKey]:
    """Return all keys that were ever made, those that stand first."""
    cursor = await connection.execute(f"{_LISTED} ORDER BY stands DESC, name, added_at".encode())
    return [_api_key(row) for row in await cursor.fetchall()]


async def revoke(connection: AsyncConnection[Any], name: str) -> None:
    """Have a key refused from now on; raise UnknownKey where none of this name stands."""
    cursor = await connection.execute(
        "UPDATE sync.api_key SET revoked_at = now() WHERE name = %s AND revoked_at IS NULL", [name]
    )
    if not cursor.rowcount:
        raise UnknownKey(f"no key named {name} stands; see `mes-central api-keys list`")


async def find(connection: AsyncConnection[Any], key: str) -> ApiKey | None:
    """Return the key if it is accepted, noting that it was used; else None."""
    digest = hash_of(key)
    cursor = await connection.execute(f"{_LISTED} WHERE hash = %s".encode(), [digest])
    row = await cursor.fetchone()
    found = _api_key(row) if row else None
    if found is None or not found.stands:
        return None
    await connection.execute(
        """UPDATE sync.api_key SET used_at = now()
           WHERE hash = %s AND coalesce(used_at < now() - interval '1 minute', true)""",
        [digest],
    )
    return found


def _api_key(row: Sequence[Any]) -> ApiKey:
    key_id, name, grants, scopes, added_at, expires_at, revoked_at, used_at, stands = row
    return ApiKey(
        id=key_id, name=name, grants=tuple(grants), scopes=tuple(map(Scope, scopes)),
        added_at=added_at, expires_at=expires_at, revoked_at=revoked_at, used_at=used_at,
        stands=stands,
    )  # fmt: skip
