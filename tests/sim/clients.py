"""Programs of the centre: what they write with plain SQL, and what the oracle hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from shared.errors import WaitsBehind
from tests.sim.catalogue import ORDERS, PARTS, PEOPLE, STEPS
from tests.sim.oracle import Row

if TYPE_CHECKING:
    from collections import Counter
    from random import Random

    from shared.catalog import Table
    from tests.sim.centre import Centre, Database
    from tests.sim.clock import Clock
    from tests.sim.oracle import Change, Key, Oracle, Sent
    from tests.sim.programs import Writer
    from tests.sim.site import Site


class Clients:
    """Writes at the centre."""

    chance: Random
    clock: Clock
    reach: Counter[str]
    database: Database
    centre: Centre
    oracle: Oracle
    writer: Writer
    sites: dict[str, Site]
    trace: list[str]
    undecided: dict[str, list[Sent]]

    def prepare_clients(self) -> None:
        """Begin with no transaction open."""
        self.opened: list[tuple[Key, Row, dict[str, Any], int]] = []

    async def client(self) -> None:
        """A program of the centre commits a statement, often where a site has something to say."""
        busy = [name for name in self.sites if self._under_way(name)]
        if busy and self.chance.random() < 0.7:
            self.clock.site = self.chance.choice(busy)
        table = self._known(self.chance.choice((ORDERS, ORDERS, ORDERS, STEPS, PEOPLE, PARTS)))
        site = "*" if table.name == "parts" else self.clock.site
        keys = [
            key for key, row in self.oracle.rows.items()
            if key[0] == table.name and row.site == site and row.past
        ]  # fmt: skip
        standing = [key for key in keys if self.oracle.rows[key].values is not None]
        under_way = {change.key for change in self._under_way(self.clock.site)}
        if self.chance.random() < 0.8:
            standing = [key for key in standing if key in under_way] or standing
        if not standing or self.chance.random() < 0.2:
            await self._insert(table, site)
        elif self.chance.random() < 0.15:
            await self._delete(table, site, self.chance.choice(standing))
        else:
            await self._update(table, site, self.chance.choice(standing))

    def _under_way(self, site: str) -> list[Change]:
        """Return what a site has changed and the centre has not heard of."""
        return [
            change
            for sent in self.undecided[site] if sent.tx_id not in self.oracle.applied
            for change in sent.changes
        ]  # fmt: skip

    def _known(self, table: Table) -> Table:
        return self.database.catalog.table(table.name)

    async def _insert(self, table: Table, site: str) -> None:
        new = self._new_row(table, site)
        key, row = (table.name, self.writer.id()), Row(site, self.writer.created())
        if await self._execute(site, *insert(table, key, row, new)):
            self.oracle.client(key, "I", row, new, self.clock.now_ms)
            await self.oracle.look()

    def _new_row(self, table: Table, site: str) -> dict[str, Any]:
        orders = [
            row_id for (name, row_id), row in self.oracle.rows.items()
            if name == "orders" and row.site == site and row.past
        ]  # fmt: skip
        new = self.writer.whole(table)
        if table.name == "steps":
            new["order_id"] = self.chance.choice(orders) if orders else None
        if table.name == "people":
            new["home"] = site
        return new

    async def _delete(self, table: Table, site: str, key: Key) -> None:
        text = f"DELETE FROM mes.{table.name} WHERE site_id = %s AND id = %s"
        if await self._execute(site, text, [site, key[1]]):
            self.oracle.client(key, "D", None, {}, self.clock.now_ms)
            await self.oracle.look()

    async def _update(self, table: Table, site: str, key: Key) -> None:
        row = self.oracle.rows[key].values
        assert row is not None
        new = self._change(table, row, key)
        if table.name == "people" and self.chance.random() < 0.2:
            new["home"] = self.chance.choice(list(self.sites))
        listed = ", ".join(f"{name} = %s" for name in new)
        text = f"UPDATE mes.{table.name} SET {listed} WHERE site_id = %s AND id = %s"
        if await self._execute(site, text, [*new.values(), site, key[1]]):
            self.oracle.client(key, "U", None, new, self.clock.now_ms)
            await self.oracle.look()

    def _change(self, table: Table, row: dict[str, Any], key: Key) -> dict[str, Any]:
        """Return a change, often of what a site has changed and the centre has not heard of."""
        under_way = {
            name
            for change in self._under_way(self.clock.site)
            if change.key == key
            for name in change.new
        }
        new = self.writer.change(table, row)
        for _ in range(12):
            if not under_way or not under_way.isdisjoint(new):
                break
            new = self.writer.change(table, row)
        return new

    async def _execute(
        self, site: str, text: str, given: list[Any], *, open_: bool = False
    ) -> bool:
        """Run a statement as a program of the centre; False where PostgreSQL refuses it."""
        connection = self.database.clients[open_]
        try:
            await connection.execute(
                b"SELECT set_config('app.current_site_id', %s, true),"
                b" set_config('app.person', 'planner', true), set_config('sim.now_ms', %s, true)",
                [site, str(self.clock.now_ms)],
            )
            await connection.execute(text.encode(), given)
            if not open_:
                await connection.commit()
        except psycopg.errors.UniqueViolation:
            await connection.rollback()
            self.reach["refused by the centre"] += 1
            return False
        self.trace.append(f"   the centre: {text} {given}")
        self.reach["statement of the centre"] += 1
        return True

    async def client_opens(self) -> None:
        """A program of the centre writes a row that nobody else knows, and commits it later."""
        if self.opened:
            return
        table = self._known(self.chance.choice((ORDERS, PARTS)))
        site = "*" if table.name == "parts" else self.clock.site
        key, row = (table.name, self.writer.id()), Row(site, self.writer.created())
        new = self.writer.whole(table) | {"code": self.writer.mark()}
        if await self._execute(site, *insert(table, key, row, new), open_=True):
            self.opened.append((key, row, new, self.clock.now_ms))

    async def client_ends(self) -> None:
        """That program commits, or gives up."""
        if not self.opened:
            return
        key, row, new, at_ms = self.opened.pop()
        connection = self.database.clients[1]
        if self.chance.random() < 0.2:
            await connection.rollback()
            return
        await connection.commit()
        self.reach["late commit of the centre"] += 1
        self.oracle.client(key, "I", row, new, at_ms)
        self.oracle.late.add(key[1])
        await self.oracle.look()

    async def close_clients(self) -> None:
        """End what is still open."""
        if self.opened:
            await self.client_ends()

    # --- a person looks after what was parked ----------------------------------------------------

    async def retry(self) -> None:
        """A person tries a parked row again."""
        tickets = self._tickets()
        if tickets:
            self.reach["retry"] += 1
            await self.centre.by_hand.retry(self.chance.choice(tickets))

    async def discard(self) -> None:
        """A person lets go of a parked row."""
        tickets = self._tickets()
        if tickets:
            try:
                await self.centre.by_hand.discard(self.chance.choice(tickets), "a person")
                self.reach["discarded"] += 1
            except WaitsBehind:
                self.reach["not discarded before what it waits behind"] += 1

    def _tickets(self) -> list[str]:
        return sorted(
            ticket for ticket, each in self.oracle.tickets.items()
            if each.state in ("parked", "waiting")
        )  # fmt: skip

    async def retry_due(self) -> None:
        """The worker tries what has become due."""
        await self.centre.store.retry_due(self.clock.site)

    async def safe(self) -> None:
        """All that is applied by now stands in every backup."""
        await self.centre.safe()


def insert(table: Table, key: Key, row: Row, new: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the statement that inserts a row at the centre, and its values."""
    names = ", ".join(("id", "site_id", "created_at", *new))
    holes = ", ".join(["%s"] * (len(new) + 3))
    text = f"INSERT INTO mes.{table.name} ({names}) VALUES ({holes})"
    return text, [key[1], row.site, row.created, *new.values()]
