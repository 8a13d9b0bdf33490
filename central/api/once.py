"""A request that names itself is done once (draft-ietf-httpapi-idempotency-key-header).

Its answer is kept in the transaction that does it. Who comes again, having heard nothing, is given
the answer of the first time; who comes at the same time waits for it. What was refused changed
nothing, and its key is free again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import psycopg
from fastapi import Header

from central.documents import to_json
from shared.errors import SyncError

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from starlette.requests import Request

HOURS: Final = 24
_CHARS: Final = r"[!#-\[\]-~]{1,200}"

#: Quoted as the draft has it, or as most programs send it.
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=f'^(?:"{_CHARS}"|{_CHARS})$',
        description=(
            "A name for this request, such as a UUID. Sent again under it within"
            f" {HOURS} hours, it is not done again, and has the same answer."
        ),
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]


class KeyReused(SyncError):
    """The Idempotency-Key stands for another request; take a new one."""


class UnderWay(SyncError):
    """The same request is being carried out at this moment; send it again."""


@dataclass(frozen=True, slots=True)
class Named:
    """A request that named itself."""

    who: str
    key: str
    #: Of all that it asks.
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered the first time."""

    status: int
    text: str


async def named(request: Request, who: str, key: str | None) -> Named | None:
    """Return a request as it names itself; None where it does not."""
    if key is None:
        return None
    said = (request.method, request.scope["raw_path"].decode("latin-1"), request.url.query)
    asked = "\n".join(said).encode() + b"\n" + await request.body()
    return Named(who, key.strip('"'), hashlib.sha256(asked).digest())


# Who is second waits in it for the first to end: for that row there is one.
_BEGIN: Final = """
INSERT INTO sync.answer AS a (who, key, fingerprint, expires_at)
VALUES (%(who)s, %(key)s, %(fingerprint)s, now() + make_interval(hours => %(hours)s))
ON CONFLICT (who, key) DO UPDATE
SET fingerprint = excluded.fingerprint, expires_at = excluded.expires_at, status = NULL,
    answer = NULL, made_at = excluded.made_at
WHERE a.expires_at <= now()
RETURNING true"""


async def begin(connection: AsyncConnection[Any], asked: Named | None) -> Answer | None:
    """Return what was answered before; with None, it is to be done now, in this transaction.

    Raise KeyReused where the key stands for another request, UnderWay where another process took
    too long to answer this one.
    """
    if asked is None:
        return None
    given = {
        "who": asked.who, "key": asked.key, "fingerprint": asked.fingerprint, "hours": HOURS,
    }  # fmt: skip
    try:
        cursor = await connection.execute(_BEGIN, given)
    except psycopg.errors.LockNotAvailable as error:
        raise UnderWay(UnderWay.__doc__) from error
    if await cursor.fetchone():
        return None
    found = await connection.execute(
        "SELECT fingerprint, status, answer FROM sync.answer WHERE who = %(who)s AND key = %(key)s",
        given,
    )
    row = await found.fetchone()
    if row is None:  # it was forgotten between the two statements
        raise UnderWay(UnderWay.__doc__)
    fingerprint, status, text = row
    if fingerprint != asked.fingerprint:
        raise KeyReused(KeyReused.__doc__)
    return Answer(status, text)


async def keep(
    connection: AsyncConnection[Any], asked: Named | None, document: object, status: int = 200
) -> None:
    """Keep the answer, in the transaction that did it."""
    if asked is not None:
        await connection.execute(
            "UPDATE sync.answer SET status = %s, answer = %s WHERE who = %s AND key = %s",
            [status, to_json(document), asked.who, asked.key],
        )
