"""Rows that come back and meet a trigger of the plant's that rolls all back: they wait, listed.

RAISE(ROLLBACK) does not refuse the one row. It takes back all that the transaction had done: what
it had drained, the entry that it applied, what else had come back. So all of that is done anew, but
for the rows of that table that stand aside: no head of theirs is on its way, so they can wait until
the plant changes its rules. A head that is on its way can't be left out like that: such a trigger
stops the feed still, with the word how to mend it.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from edge.store import aside, position, schema
from edge.store.open import writing
from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.store.applying import Applying
    from edge.store.open import Opened

Result = TypeVar("Result")


class Hindered(Transient):
    """A trigger of the plant's rolled all back; it is done anew without the rows it refuses."""


@contextmanager
def apart(applying: Applying, table: str) -> Iterator[None]:
    """Try rows of one table that stand aside; raises Hindered where a trigger rolls all back.

    The table is left out from then on, which the operator is told, until the schema changes.
    """
    version = schema.version(applying.connection)
    try:
        yield
    except aside.RolledBack as error:
        opened = applying.opened
        with writing(opened.connection):  # the other transaction is no more
            message = f"rows of {table} that are set aside can't be tried again: {error}"
            position.note(opened.connection, "MES-RULE-ROLLS-BACK", message, applying.now_ms)
        opened.seen.hindered[table] = version
        _forget(opened)
        raise Hindered(str(error)) from error


def _forget(opened: Opened) -> None:
    """Forget what is remembered of the store as it would be now, had nothing been rolled back."""
    opened.seen.brought_back = None  # what had come back stands aside again
    opened.seen.version = 0  # the triggers that had been put right, and what was told of them
    opened.knock_on.version = -1  # the temporary triggers are those of before


def is_hindered(applying: Applying, table: str) -> bool:
    """Return whether a trigger has rolled all back for the rows of a table, and stands still."""
    hindered = applying.opened.seen.hindered
    return table in hindered and hindered[table] == schema.version(applying.connection)


def done_anew(work: Callable[[], Result]) -> Result:
    """Do a transaction's work, anew where it was rolled back: each time one table less is tried."""
    while True:
        with suppress(Hindered):
            return work()
