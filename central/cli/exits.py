"""How a command ends: exit codes, and an error as the sentence that an operator reads."""

from __future__ import annotations

import re
from typing import Final

from shared.errors import (
    BadSetting,
    BrokerUnreachable,
    NoResponder,
    NotAuthorised,
    SyncError,
    Transient,
)

OK: Final = 0
#: A command failed; of ``status``: something needs a look.
FAILED: Final = 1
#: Of ``status``: a person is needed before anything goes on.
CRITICAL: Final = 2
USAGE: Final = 64
UNREACHABLE: Final = 69
TRY_LATER: Final = 75
NOT_ALLOWED: Final = 77
INTERRUPTED: Final = 130

#: What libpq says of a login that the server knows, and does not let in.
_REFUSED: Final = re.compile(r"authentication failed|no password supplied|no pg_hba.conf entry")

_BY_ERROR: Final[tuple[tuple[type[SyncError], int], ...]] = (
    (BadSetting, USAGE),
    (BrokerUnreachable, UNREACHABLE),
    (NoResponder, UNREACHABLE),
    (NotAuthorised, NOT_ALLOWED),
    (Transient, TRY_LATER),
    (SyncError, FAILED),
)


def first(error: BaseException) -> BaseException:
    """Return the error itself, or the first one of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def verdict_on(error: BaseException) -> tuple[int, str] | None:
    """Return exit code and message of an error that an operator can do something about.

    None where the error is a mistake of ours, whose traceback is wanted.
    """
    error = first(error)
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code, str(error)
    if isinstance(error, OSError):
        return FAILED, str(error)
    return _of_database(error)


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
