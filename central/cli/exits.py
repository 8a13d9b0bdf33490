"""How a command ends: exit codes, and an error as the sentence that an operator reads."""

from __future__ import annotations

import re
from typing import Final

from shared.exits import (
    CRITICAL,
    FAILED,
    INTERRUPTED,
    NOT_ALLOWED,
    OK,
    TRY_LATER,
    UNREACHABLE,
    USAGE,
    first,
    verdict_by_kind,
)

__all__ = [
    "CRITICAL", "FAILED", "INTERRUPTED", "NOT_ALLOWED", "OK", "TRY_LATER", "UNREACHABLE", "USAGE",
    "first", "verdict_on",
]  # fmt: skip

#: What libpq says of a login that the server knows, and does not let in.
_REFUSED: Final = re.compile(r"authentication failed|no password supplied|no pg_hba.conf entry")

_LOGIN: Final = (
    "Check user and password of MES_DATABASE_URL, or of MES_ADMIN_URL (a password stands in the"
    " .pgpass of this account), and the server's pg_hba.conf"
)
_RIGHTS: Final = (
    "MES_DATABASE_URL is to be of mes_ingest, MES_ADMIN_URL of a role that may migrate;"
    " `mes-central migrate` grants what a release needs"
)
_LATER: Final = "Try again in a minute; if it stays so, the server's log says why"


def verdict_on(error: BaseException) -> tuple[int, str] | None:
    """Return exit code and message of an error that an operator can do something about.

    None where the error is a mistake of ours, whose traceback is wanted.
    """
    error = first(error)
    return verdict_by_kind(error) or _of_database(error)


def _of_database(error: BaseException) -> tuple[int, str] | None:
    # Loaded only now: a command that needs no database starts without its driver.
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    full = str(error).strip() or type(error).__name__
    # libpq's further lines only guess at the reason, which the next step does too.
    message = f"PostgreSQL: {full.splitlines()[0].rstrip(' .?')}"
    code, what_next = _sorted(error, full)
    return (code, f"{message}. {what_next}") if what_next else (code, f"PostgreSQL: {full}")


def _sorted(error: BaseException, full: str) -> tuple[int, str]:
    """Return exit code and what to do next; a pool that waited in vain has no server either."""
    import psycopg

    match error:
        case psycopg.ProgrammingError(sqlstate=None):
            return USAGE, "Is MES_DATABASE_URL, or MES_ADMIN_URL, an address?"
        case psycopg.OperationalError(sqlstate=None) if _REFUSED.search(full) is None:
            return UNREACHABLE, "Is the server up, and MES_DATABASE_URL right?"
        case (
            psycopg.errors.InvalidAuthorizationSpecification()
            | psycopg.OperationalError(sqlstate=None)
        ):
            return NOT_ALLOWED, _LOGIN
        case psycopg.errors.InsufficientPrivilege():
            return NOT_ALLOWED, _RIGHTS
        case psycopg.OperationalError():
            return TRY_LATER, _LATER
        case _:
            return FAILED, ""
