"""What the oracle speaks of: rows, what sites sent, and what was parked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shared.catalog import Table
    from tests.sim.verdicts import Past

Key = tuple[str, str]


class Violation(AssertionError):
    """Something that must hold does not."""


def fail(why: str) -> None:
    """Raise a violation."""
    raise Violation(why)


@dataclass
class Row:
    """One row as the centre must have it."""

    site: str
    created: str
    values: dict[str, Any] | None = None
    #: What it held when it was deleted.
    last: dict[str, Any] | None = None
    past: list[Past] = field(default_factory=list)
    #: How many of these the centre was seen to have.
    named: int = 0

    @property
    def head(self) -> str | None:
        """Return the name of the version that stands."""
        return self.past[-1].name if self.past else None

    def since(self, base: str | None) -> list[Past] | None:
        """Return the versions after one; None where nobody knows it."""
        if base is None:
            return list(self.past)
        places = [k for k, version in enumerate(self.past) if version.name == base]
        return self.past[places[-1] + 1 :] if places else None


@dataclass(frozen=True)
class Change:
    """One row of a transaction, as the site sent it."""

    table: str
    id: str
    op: str
    site: str
    created: str
    at: int
    base: str | None
    after: str | None
    new: dict[str, Any]
    old: dict[str, Any]
    times: dict[str, int]

    @property
    def key(self) -> Key:
        """Return the table and the id."""
        return self.table, self.id


@dataclass
class Sent:
    """A transaction that a site drained."""

    site: str
    epoch: str
    n: int
    tx_id: str
    previous: bytes
    hash: bytes
    hlc: int
    offset_ms: int
    schema: int
    parts: int
    changes: list[Change]

    def is_own_again(self, rows: Mapping[Key, Row], parked: Collection[Key]) -> None:
        """Note that a later life of the store has it: a copy was taken before it was sent.

        Of a version with a name of its own that is known where no other of the row has its clock.
        """
        for change in [each for each in self.changes if each.key in rows]:
            made = [p for p in rows[change.key].past if (p.site, p.hlc) == (self.site, self.hlc)]
            for past in made:
                told = len(made) == 1 and past.op == change.op and change.key not in parked
                past.is_lost &= past.name != self.tx_id and not told


@dataclass
class Ticket:
    """A row that was not applied when it came."""

    sent: Sent
    change: Change
    reason: str
    state: str
    message: str
    #: Its site goes on as if it had been applied.
    is_quiet: bool


def changes_of(block: Any, table: Table) -> Iterable[Change]:
    """Return the rows of a block, one by one, in the terms of the centre, whose table is given."""
    names = [_name_now(table, name) for name in block.columns]
    for k, row_id in enumerate(block.ids):
        times = dict[str, int]()
        for mask, at in (block.times[k] or ()) if block.times else ():
            times |= {name: at for bit, name in enumerate(names) if mask >> bit & 1}
        yield Change(
            block.table, row_id, block.op.value, block.sites[k], block.created[k],
            block.at[k] if block.at else 0, block.base[k] if block.base else None,
            block.after[k] if block.after else None,
            {name: column[k] for name, column in zip(names, block.new, strict=True)},
            {name: column[k] for name, column in zip(names, block.old, strict=False)},
            times,
        )  # fmt: skip


def _name_now(table: Table, name: str) -> str:
    """Return what a column is called at the centre; a newer one, which it lacks, as it was sent."""
    return next((c.name for c in table.columns if name in (c.name, *c.renamed_from)), name)
