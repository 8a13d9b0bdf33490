"""One site's real store, a program beside the agent, and the centre's ends of its feeds."""

from __future__ import annotations

import sqlite3
from itertools import count
from uuid import UUID

import pytest

from edge.lanes import StoreThread
from edge.store import EdgeStore
from shared.catalog import Catalog, Column, ColumnType, Direction, Group, Kind, Policy, Table
from shared.changes import SHARED, START, Ack, Fate, HeadBlock, Position
from sync import codec
from sync.protocol import entry_hash

SITE = "SITE_001"
CREATED = "2012-01-02T03:04:05.678Z"
NEVER = "00000000-0000-0000-0000-000000000000"
STATES = ("CREATED", "RELEASED", "IN_PROGRESS", "COMPLETED")


def column(name, kind=Kind.TEXT, policy=Policy.LAST_WRITE, **more):
    return Column(name, ColumnType(kind), policy=policy, **more)


ORDERS = Table(
    "orders",
    Direction.BOTH,
    columns=(
        column("order_no", policy=Policy.SITE),
        column("notes"),
        column("due", policy=Policy.CENTRAL),
        column("state", policy=Policy.LATTICE, order=STATES, default="CREATED"),
        column("made", Kind.INTEGER, Policy.SUM, default=0),
        column("tags", Kind.SET, Policy.ADD_REMOVE_SET, default="[]"),
        column("line"),
        column("slot", Kind.INTEGER),
    ),
    natural_keys=(("order_no",),),
    groups=(Group("place", ("line", "slot"), Policy.LAST_WRITE),),
)
STEPS = Table(
    "steps",
    Direction.BOTH,
    columns=(
        column("order_id", Kind.UUID, references="orders"),
        column("seq", Kind.INTEGER),
        column("notes"),
    ),
    natural_keys=(("order_id", "seq"),),
)
PARTS = Table("parts", Direction.DOWN, columns=(column("code"), column("description")))
REPORTS = Table(
    "reports",
    Direction.UP,
    columns=(column("good", Kind.INTEGER, Policy.APPEND_ONLY),),
    append_only=True,
)
CONFLICTS = Table("sync_conflicts", Direction.DOWN, columns=(column("policy"),))
CATALOG = Catalog(1, (ORDERS, STEPS, PARTS, REPORTS, CONFLICTS))


def uid(number):
    """Return the id of row ``number``; larger numbers sort later, as in UUIDv7."""
    return str(UUID(int=(number << 80) | (7 << 76) | (2 << 62)))


def version(number):
    """Return the id of a version that the centre made."""
    return str(UUID(int=(0xC << 124) | number))


def put(table, *rows, order, site=SITE, fate=Fate.PUT):
    """Return the heads of these rows; their orders follow one another from ``order`` on."""
    names = tuple(name for name in rows[0] if name != "id") if fate is Fate.PUT else ()
    size = len(rows)
    return HeadBlock(
        table=table,
        fate=fate,
        columns=names,
        sites=[site] * size,
        created=[CREATED] * size,
        ids=[row["id"] for row in rows],
        version=[version(order + k) if order else NEVER for k in range(size)],
        order=[order + k if order else 0 for k in range(size)],
        new=[[row[name] for row in rows] for name in names],
    )


def away(table, *ids, order, fate=Fate.GONE):
    """Return the heads of rows that are gone, or left the share."""
    return put(table, *({"id": row_id} for row_id in ids), order=order, fate=fate)


class Feed:
    """The centre's end of one feed: makes entries that follow one another."""

    def __init__(self, scope):
        self.scope = scope
        self.position = START

    def entry(self, *blocks, ack=None, beside=0, more=False, schema=1):
        """Return the next entry as it comes off the wire; ``beside`` is where the other feed is."""
        other = SITE if self.scope == SHARED else SHARED
        body = codec.encode_entry_body(
            beside={other: beside}, schema=schema, ack=ack, blocks=blocks, made_at_ms=0, more=more
        )
        previous, pos = self.position.hash, self.position.n + 1
        own = entry_hash(previous, self.scope, pos, body)
        self.position = Position(pos, own)
        return codec.decode_entry(
            codec.encode_entry(self.scope, pos, previous, own, codec.compress(body))
        )


class Plant:
    """A site: its store, a program beside the agent, and what the centre sends."""

    def __init__(self, path, catalog=CATALOG, *, needs_snapshot=False):
        self.path = path
        self.clock = count(1_700_000_000_000, 10)
        self.open(catalog)
        if not needs_snapshot:
            self.program.execute("UPDATE _sync_site SET needs_snapshot = 0")
        self.own, self.shared = Feed(SITE), Feed(SHARED)

    def open(self, catalog=CATALOG):
        self.store = EdgeStore.open(
            self.path, catalog, site=SITE, now_ms=next(self.clock), host="here"
        )
        self.program = sqlite3.connect(self.path, isolation_level=None, timeout=10)

    def close(self):
        self.program.close()
        self.store.close()

    # --- what a program does ---------------------------------------------------------------

    def write(self, statement, *given):
        self.program.execute(statement, given)

    def insert(self, table, **row):
        row = {"created_at": CREATED, **row}
        marks = ", ".join("?" * len(row))
        self.write(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def update(self, table, row_id, **changes):
        listed = ", ".join(f"{name} = ?" for name in changes)
        self.write(f"UPDATE {table} SET {listed} WHERE id = ?", *changes.values(), row_id)

    def delete(self, table, row_id):
        self.write(f"DELETE FROM {table} WHERE id = ?", row_id)

    # --- what the agent does -----------------------------------------------------------------

    def drain(self):
        """Drain and return n, or the last one where there was nothing new."""
        self.store.drain(next(self.clock))
        return self.last_n

    def receive(self, *entries):
        return self.store.apply_entries(entries, next(self.clock))

    def take(self, *blocks, **more):
        """Receive one entry of the own feed with these blocks, which must be applied."""
        outcome = self.receive(self.own.entry(*blocks, **more))
        assert outcome.applied == 1, outcome
        return outcome

    def ack(self, n, safe_n=0):
        return Ack(self.epoch, n, safe_n)

    # --- what stands --------------------------------------------------------------------------

    def rows(self, query, *given):
        cursor = self.program.execute(query, given)
        names = [each[0] for each in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def row(self, table, row_id):
        """Return a row as any program sees it, None where there is none."""
        found = self.rows(f"SELECT * FROM {table} WHERE id = ?", row_id)
        return found[0] if found else None

    def value(self, query, *given):
        return self.program.execute(query, given).fetchone()[0]

    @property
    def epoch(self):
        return self.value("SELECT epoch FROM _sync_site")

    @property
    def last_n(self):
        return self.value("SELECT last_n FROM _sync_site")

    def tx_id(self, n):
        return self.value("SELECT tx_id FROM _sync_out WHERE n = ?", n)

    def base(self, table, row_id):
        """Return the version that the next write on a row is based on, and its order."""
        found = self.rows(
            "SELECT version, ord FROM _sync_row JOIN _sync_table ON no = table_no"
            " WHERE name = ? AND id = ?",
            table,
            row_id,
        )
        return (found[0]["version"], found[0]["ord"]) if found else None

    def sent(self, n):
        """Return the blocks of a transaction in the outbox."""
        parts = self.store.outbox((n - 1, 1 << 30), bytes_max=1 << 30)
        return [block for part in parts if part.n == n for block in codec.open_body(part).blocks]

    def owed(self):
        """Return what is still undecided, drained or not: (table, id, op)."""
        self.drain()
        pending = self.rows(
            "SELECT name, id, op FROM _sync_pending JOIN _sync_table ON no = table_no ORDER BY n"
        )
        return [tuple(each.values()) for each in pending]

    def asides(self):
        listed = self.rows("SELECT table_name, id, code FROM _sync_aside ORDER BY id, code")
        return [tuple(each.values()) for each in listed]

    def events(self):
        return [each["code"] for each in self.rows("SELECT code FROM _sync_event ORDER BY no")]

    def shadows(self):
        return [each["id"] for each in self.rows("SELECT id FROM _sync_shadow ORDER BY id")]


@pytest.fixture
def plant(tmp_path):
    """A site that has followed its feeds from the beginning."""
    plant = Plant(tmp_path / "store.db")
    yield plant
    plant.close()


@pytest.fixture
def thread():
    """The thread in which an agent's lanes work on the store."""
    thread = StoreThread()
    yield thread
    thread.close()
