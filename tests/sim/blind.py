"""An oracle that no longer foretells: the centre went back to an older copy of itself.

What comes home depends on which site comes first and on what each knew, so rows are not foretold
from then on. What stands is read, for programs of the centre to write on; ``tests.sim.afterwards``
checks what must hold all the same.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from central.canonical import column_expressions, key_expressions
from tests.sim import verdicts
from tests.sim.sent import Row, Ticket
from tests.sim.verdicts import By, Past

if TYPE_CHECKING:
    from shared.catalog import Table
    from tests.sim.centre import Database
    from tests.sim.sent import Key, Sent

_SOMEBODY = Past("", "I", frozenset(), By(verdicts.CENTRE, 0))


class Blind:
    """Reads what it can't tell."""

    database: Database
    rows: dict[Key, Row]
    facts: dict[Key, tuple[str, str, dict[str, Any]]]
    sent: dict[str, Sent]
    applied: set[str]
    last_n: Counter[tuple[str, str]]
    tickets: dict[str, Ticket]
    _own: list[Table]

    async def follow(self) -> None:
        """Read what stands at the centre."""
        await self.follow_chains()
        rows = await self.database.rows("SELECT id::text, reason, state FROM mes.sync_parked")
        nobody: Any = None
        self.tickets = {
            ticket: Ticket(nobody, nobody, reason, state, "", is_quiet=False)
            for ticket, reason, state in rows
        }
        self.rows, self.facts = {}, {}
        for table in self._own:
            await self._read_table(table)

    async def follow_chains(self) -> None:
        """Read how far each chain is, and what has had its effect."""
        rows = await self.database.rows(
            "SELECT site, epoch::text, greatest(last_n, included_n) FROM sync.epoch"
        )
        self.last_n = Counter({(site, epoch): n for site, epoch, n in rows})
        known = await self.database.rows("SELECT tx_id::text FROM sync.applied")
        self.applied = {tx_id for (tx_id,) in known}

    async def _read_table(self, table: Table) -> None:
        listed = column_expressions(table.columns)
        rows = await self.database.rows(
            f"SELECT {key_expressions()}, {listed} FROM mes.{table.name} t"
        )
        for site, created, row_id, *values in rows:
            held = dict(zip(table.names, values, strict=True))
            if table.fact:
                self.facts[table.name, row_id] = (site, created, held)
            else:
                self.rows[table.name, row_id] = Row(site, created, held, past=[_SOMEBODY])
