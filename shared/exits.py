"""How a command ends: exit codes, and an error as the sentence that an operator reads."""

from __future__ import annotations

from typing import Final

from shared.errors import (
    BadSetting,
    BrokerUnreachable,
    NoResponder,
    NotAuthorised,
    StoreDamaged,
    SyncError,
    Transient,
)

OK: Final = 0
#: A command failed; of ``status``: something needs a look.
FAILED: Final = 1
#: Of ``status``: a person is needed before anything goes on.
CRITICAL: Final = 2
#: Of ``check``: nothing can be told.
UNKNOWN: Final = 3
USAGE: Final = 64
#: An import is through, and lines of the file were rejected.
REJECTED: Final = 65
UNREACHABLE: Final = 69
TRY_LATER: Final = 75
NOT_ALLOWED: Final = 77
INTERRUPTED: Final = 130

_BY_ERROR: Final[tuple[tuple[type[Exception], int], ...]] = (
    (BadSetting, USAGE),
    (BrokerUnreachable, UNREACHABLE),
    (NoResponder, UNREACHABLE),
    (NotAuthorised, NOT_ALLOWED),
    (StoreDamaged, CRITICAL),
    (Transient, TRY_LATER),
    (SyncError, FAILED),
    (OSError, FAILED),
)


def first(error: BaseException) -> BaseException:
    """Return the error itself, or the first one of a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def verdict_by_kind(error: BaseException) -> tuple[int, str] | None:
    """Return exit code and message of an error of ours or of the system's; None of any other."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code, str(error)
    return None
