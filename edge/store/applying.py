"""One transaction's work on what came from the centre: what it may rely on, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.capture import has_log
from edge.store import position
from edge.store.stirred import stirred_tables
from edge.store.target import Target
from edge.store.watch import losses

if TYPE_CHECKING:
    import sqlite3

    from edge.store.open import Opened


@dataclass(slots=True)
class Applying:
    """The state of one write transaction that applies entries or a chunk, after its drain."""

    opened: Opened
    epoch: str
    #: Own transactions up to it are decided by what is being applied.
    decided_n: int
    now_ms: int
    #: Number of the snapshot that is being loaded; 0 for a feed.
    snapshot: int = 0
    rows: int = 0
    #: (table, code, reason) -> ids of the rows that were set aside.
    set_aside: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    _targets: dict[str, Target | None] = field(default_factory=dict)

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the store's connection."""
        return self.opened.connection

    def target(self, name: str) -> Target | None:
        """Return the table of that name; None where our catalogue doesn't have it."""
        if name not in self._targets:
            self._targets[name] = self._find(name)
        return self._targets[name]

    def _find(self, name: str) -> Target | None:
        opened = self.opened
        if name not in opened.catalog or name not in opened.numbers:
            return None
        table = opened.catalog.table(name)
        form = opened.forms[name]
        return Target(
            table, opened.numbers[name], has_log=has_log(table, form),
            stirred=name in stirred_tables(opened), keeps_dates=form.created_zone is not None,
            loss=losses(opened.connection).get(name, 0),
        )  # fmt: skip

    def target_of(self, number: int) -> Target | None:
        """Return the table of that number; None where our catalogue no longer has it."""
        names = {no: name for name, no in self.opened.numbers.items()}
        return self.target(names[number]) if number in names else None

    @property
    def touched(self) -> set[str]:
        """Return the tables of which something was applied."""
        return {name for name, target in self._targets.items() if target is not None}

    def note_asides(self) -> None:
        """Tell the operator what was set aside, one event for each table and reason."""
        for (table, code, reason), ids in self.set_aside.items():
            message = f"{table} {position.named(ids)} set aside ({code}): {reason}"
            position.note(self.connection, "MES-ROW-ASIDE", message, self.now_ms)
