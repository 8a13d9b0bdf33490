"""A migrated PostgreSQL with a store, sites that send, and programs of the centre that write."""

from __future__ import annotations

import random
import secrets
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central.roles import as_role
from central.store import CentralStore, Incoming, Lease, RunOutcome
from shared.catalog_file import load_catalog
from shared.changes import GENESIS, ChangeBlock, Op, SyncTransaction, Value
from sync.codec import PartBody, encode_body
from sync.protocol import digest, transaction_hash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.catalog import Catalog

#: 2026-11-26T05:00:00Z; all that tests do happens about then.
NOON_MS = 1_795_669_200_000
CREATED = "2026-11-20T08:00:00.000Z"


@asynccontextmanager
async def open_world(url: str, catalog: Catalog | None = None) -> AsyncIterator[World]:
    catalog = catalog or load_catalog()
    async with (
        CentralStore.open(as_role(url, "mes_ingest"), catalog) as store,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as admin,
    ):
        leases = await store.claim("worker", ttl_s=600)
        yield World(url, catalog, store, admin, leases)


@pytest.fixture
async def world(centre: str) -> AsyncIterator[World]:
    """A centre under the packaged catalogue, whose store holds all leases."""
    async with open_world(centre) as opened:
        yield opened


@dataclass
class World:
    """The centre, as a test sees it."""

    url: str
    catalog: Catalog
    store: CentralStore
    admin: psycopg.AsyncConnection[Any]
    leases: dict[str, Lease]

    def site(self, name: str = "SITE_001", **given: Any) -> Site:
        return Site(self, name, **given)

    async def rows(self, query: str, *given: object) -> list[tuple[Any, ...]]:
        cursor = await self.admin.execute(query.encode(), list(given))
        return await cursor.fetchall()

    async def one(self, query: str, *given: object) -> tuple[Any, ...]:
        (row,) = await self.rows(query, *given)
        return row

    async def value(self, query: str, *given: object) -> Any:
        (value,) = await self.one(query, *given)
        return value

    async def head(self, row_id: str) -> str | None:
        found = await self.rows("SELECT version::text FROM sync.head WHERE id = %s", row_id)
        return found[0][0] if found else None

    async def client(self, statement: str, *given: object, site: str = "SITE_001") -> None:
        """Run a statement as a program of the centre would, captured."""
        async with await psycopg.AsyncConnection.connect(as_role(self.url, "mes_app")) as program:
            await program.execute(
                b"SELECT set_config('app.current_site_id', %s, true),"
                b" set_config('app.person', 'planner', true)",
                [site],
            )
            await program.execute(statement.encode(), list(given))

    async def month(self, table: str, site: str = "SITE_001") -> None:
        """Make the partition that rows made at ``CREATED`` go into."""
        await self.admin.execute(
            b"SELECT sync.make_partition(%s, %s, %s::date)", [table, site, CREATED[:10]]
        )

    async def parked(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "SELECT reason, state, table_name, row_id::text, message FROM mes.sync_parked"
            " ORDER BY table_name, row_id"
        )

    async def conflicts(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "SELECT column_group, policy, verdict, result_value::jsonb FROM mes.sync_conflicts"
            " ORDER BY column_group, policy"
        )


@dataclass
class Site:
    """A site's chain of sync transactions, made as an edge makes them."""

    world: World
    name: str
    epoch: str = field(default_factory=lambda: str(uuid.uuid4()))
    n: int = 0
    hash: bytes = GENESIS
    at_ms: int = NOON_MS
    offset_ms: int = 0
    schema: int = 0

    def sends(
        self, *blocks: ChangeBlock, tx_id: str | None = None, stored_at_ms: int | None = None
    ) -> SyncTransaction:
        """Return the next transaction of the chain."""
        self.at_ms += 1000
        tx_id = tx_id or str(uuid.uuid4())
        schema = self.schema or self.world.catalog.version
        hlc = self.at_ms << 16
        body = encode_body(PartBody(schema, hlc, self.offset_ms, tuple(blocks)))
        previous, self.n = self.hash, self.n + 1
        self.hash = transaction_hash(previous, self.epoch, self.n, tx_id, [digest(body)])
        for block in blocks:
            block.at = block.at or [self.at_ms] * len(block)
            if block.table in self.world.catalog and self.world.catalog.table(block.table).fact:
                block.at = block.base = block.after = []
        return SyncTransaction(
            site=self.name, epoch=self.epoch, n=self.n, tx_id=tx_id, previous=previous,
            hash=self.hash, schema=schema, hlc=hlc, offset_ms=self.offset_ms, blocks=blocks,
            stored_at_ms=stored_at_ms or self.at_ms + 50,
        )  # fmt: skip

    async def apply(self, *run: SyncTransaction) -> RunOutcome:
        incoming = [Incoming(sent, self.world.catalog) for sent in run]
        return await self.world.store.apply_run(incoming, lease=self.world.leases[self.name])

    async def writes(self, *blocks: ChangeBlock) -> str:
        """Send a transaction, have it applied in full, and return its id."""
        sent = self.sends(*blocks)
        outcome = await self.apply(sent)
        assert (outcome.parked, outcome.conflicts) == (0, {}), outcome
        return sent.tx_id

    def insert(self, table: str, *rows: dict[str, Value], created: str = CREATED) -> ChangeBlock:
        """Return whole new rows; ids are made where none are given."""
        columns = self.world.catalog.table(table).columns
        return ChangeBlock(
            table=table,
            op=Op.INSERT,
            columns=tuple(c.name for c in columns),
            sites=[self.name] * len(rows),
            created=[created] * len(rows),
            ids=[str(row.get("id") or uuid.uuid4()) for row in rows],
            base=[None] * len(rows),
            after=[None] * len(rows),
            new=[[row.get(c.name, c.default) for row in rows] for c in columns],
        )

    def update(
        self,
        table: str,
        row_id: str,
        *,
        base: str | None,
        after: str | None = None,
        created: str = CREATED,
        **changes: tuple[Value, Value],
    ) -> ChangeBlock:
        """Return an update; each change is the old and the new value."""
        return ChangeBlock(
            table=table,
            op=Op.UPDATE,
            columns=tuple(changes),
            sites=[self.name],
            created=[created],
            ids=[row_id],
            base=[base],
            after=[after],
            new=[[new] for _, new in changes.values()],
            old=[[old] for old, _ in changes.values()],
        )

    def delete(
        self, table: str, row_id: str, *, base: str | None, after: str | None = None,
        created: str = CREATED,
    ) -> ChangeBlock:  # fmt: skip
        return ChangeBlock(
            table=table, op=Op.DELETE, columns=(), sites=[self.name], created=[created],
            ids=[row_id], base=[base], after=[after],
        )  # fmt: skip

    def order(self, **values: Value) -> dict[str, Value]:
        """Return a work order's values with an id and a number of its own."""
        return {"id": str(uuid.uuid4()), "order_no": f"WO-{secrets.token_hex(8)}", **values}

    def report(self, **values: Value) -> dict[str, Value]:
        """Return a production report's values."""
        return {
            "id": str(uuid.uuid4()),
            "equipment_id": str(uuid.UUID(int=random.Random(1).getrandbits(128))),
            "report_type": "PRODUCTION",
            "qty_good": "5",
            **values,
        }


#: A time long before and one long after anything the centre writes in tests.
EARLY_MS, LATE_MS = 1_000_000_000_000, int(1.5 * NOON_MS)


@dataclass
class Row:
    """A row that both ends have, and that the centre then writes alone."""

    world: World
    site: Site
    table: str
    id: str
    base: str

    async def central(self, **values: Value) -> None:
        """Write at the centre, as a program there does."""
        sets = ", ".join(f"{name} = %s" for name in values)
        statement = f"UPDATE mes.{self.table} SET {sets} WHERE id = %s"
        await self.world.client(statement, *values.values(), self.id)

    async def here(self, at_ms: int | None = None, **changes: tuple[Value, Value]) -> RunOutcome:
        """Write at the site on what stood before the centre's write, and apply it."""
        change = self.site.update(self.table, self.id, base=self.base, **changes)
        if at_ms is not None:
            change.at = [at_ms]
        return await self.site.apply(self.site.sends(change, stored_at_ms=2 * NOON_MS))

    async def holds(self, *names: str) -> tuple[Any, ...]:
        columns = ", ".join(f"{name}::text" for name in names)
        return await self.world.one(
            f"SELECT {columns} FROM mes.{self.table} WHERE id = %s", self.id
        )


async def shared_row(world: World, table: str, **values: Value) -> Row:
    site = world.site()
    row_id = str(uuid.uuid4())
    base = await site.writes(site.insert(table, {"id": row_id, **values}))
    return Row(world, site, table, row_id, base)


async def an_order(world: World, **values: Value) -> Row:
    return await shared_row(world, "work_orders", order_no="WO-1", **values)
