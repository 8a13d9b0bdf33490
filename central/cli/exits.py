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


def verdict_on(error: BaseException) -> tuple[int, str] | None:
    """Return exit code and message of an error that an operator can do something about.

    None where the error is a mistake of ours, whose traceback is wanted.
    """
    error = first(error)
    return verdict_by_kind(error) or _of_database(error)


def _of_database(error: BaseException) -> tuple[int, str] | None:
    # Loaded only now: a command that needs no database starts without its driver.
    import psycopg
    import psycopg_pool

    if not isinstance(error, (psycopg.Error, psycopg_pool.PoolTimeout)):
        return None
    message = f"PostgreSQL: {str(error).strip() or type(error).__name__}"
    match error:
        case psycopg.ProgrammingError(sqlstate=None):
            return USAGE, f"{message}. Is MES_DATABASE_URL, or MES_ADMIN_URL, an address?"
        case psycopg.OperationalError(sqlstate=None) if _REFUSED.search(message) is None:
            return UNREACHABLE, f"{message}. Is the server up, and MES_DATABASE_URL right?"
        case (
            psycopg.errors.InsufficientPrivilege()
            | psycopg.errors.InvalidAuthorizationSpecification()
            | psycopg.OperationalError(sqlstate=None)
        ):
            return NOT_ALLOWED, message
        case psycopg.OperationalError() | psycopg_pool.PoolTimeout():
            return TRY_LATER, message
        case _:
            return FAILED, message
