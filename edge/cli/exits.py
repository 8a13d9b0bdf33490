"""How a command ends: exit codes, and an error as the sentence that an operator reads."""

from __future__ import annotations

import sqlite3
from typing import Final

from shared.exits import (
    CRITICAL,
    FAILED,
    INTERRUPTED,
    NOT_ALLOWED,
    OK,
    REJECTED,
    TRY_LATER,
    UNKNOWN,
    UNREACHABLE,
    USAGE,
    first,
    verdict_by_kind,
)

__all__ = [
    "CRITICAL", "FAILED", "INTERRUPTED", "NOT_ALLOWED", "OK", "REJECTED", "TRY_LATER", "UNKNOWN",
    "UNREACHABLE", "USAGE", "verdict_on",
]  # fmt: skip

_BY_SQLITE_CODE: Final = (
    (
        (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
        TRY_LATER,
        "another program holds the store ({}); try again",
    ),
    (
        (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
        NOT_ALLOWED,
        "this account may not write the store: {}",
    ),
    (
        (sqlite3.SQLITE_FULL,),
        FAILED,
        "{}: make room on the store's disk; nothing was lost",
    ),
    (
        (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR),
        CRITICAL,
        "the store's file is damaged: {}. Stop its programs and keep a copy of it",
    ),
    ((sqlite3.SQLITE_CONSTRAINT,), FAILED, "the store refuses it: {}"),
    ((sqlite3.SQLITE_CANTOPEN,), FAILED, "the store can't be opened: {}"),
)


def verdict_on(error: BaseException) -> tuple[int, str] | None:
    """Return exit code and message of an error that an operator can do something about.

    None where the error is a mistake of ours, whose traceback is wanted.
    """
    error = first(error)
    if isinstance(error, PermissionError):
        return NOT_ALLOWED, f"{error}. Run it as the store's owner, or as a member of its group"
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    return verdict_by_kind(error)


def _of_sqlite(error: sqlite3.Error) -> tuple[int, str] | None:
    """Sort the errors that come of the file and not of our SQL."""
    for codes, exit_code, message in _BY_SQLITE_CODE:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in codes:
            return exit_code, message.format(error)
    return None
