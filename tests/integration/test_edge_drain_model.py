"""Any plain SQL, drained at any time: the sent rows, applied to a copy, give the table exactly."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from tests.integration.edge_drain_world import Site, uid

ITEMS = Table(
    "items",
    Direction.BOTH,
    (
        Column("code", ColumnType(Kind.TEXT, length=20), policy=Policy.SITE, nullable=False),
        Column("note", ColumnType(Kind.TEXT)),
        Column("qty", ColumnType(Kind.INTEGER), default=0, nullable=False, policy=Policy.SUM),
        Column("price", ColumnType(Kind.DECIMAL, precision=9, scale=2)),
        Column("by_whom", ColumnType(Kind.TEXT), writer=True),
    ),
    natural_keys=(("code",),),
)
EVENTS = Table(
    "events",
    Direction.UP,
    (Column("what", ColumnType(Kind.TEXT), policy=Policy.APPEND_ONLY),),
    append_only=True,
)
NAMES = ("created_at", *ITEMS.names)

ids = st.integers(1, 4).map(uid)
codes = st.sampled_from(["a", "b", "c", "d"])
values = st.fixed_dictionaries(
    {},
    optional={
        "note": st.sampled_from([None, "", "x", "X", "é"]),
        "qty": st.integers(-2, 2),
        "price": st.sampled_from([None, "1", "1.50", "1.5", 2]),
        "by_whom": st.sampled_from([None, "anna", "bob"]),
        "code": codes,
    },
)
ways = st.sampled_from(["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"])


class Writers(RuleBasedStateMachine):
    """One program that writes, one agent that drains, and a copy made of what is sent."""

    @initialize(recursive=st.booleans())
    def open(self, recursive):
        self.folder = tempfile.TemporaryDirectory()
        self.site = Site(Path(self.folder.name) / "store.db", Catalog(1, (ITEMS, EVENTS)))
        self.site.program.execute(f"PRAGMA recursive_triggers = {'ON' if recursive else 'OFF'}")
        self.copy, self.events = {}, {}
        #: id -> version that the centre decided, and the transactions it has not decided.
        self.decided, self.undecided = {}, {}
        self.open_transaction = False

    def teardown(self):
        if hasattr(self, "site"):
            self.site.close()
            self.folder.cleanup()

    def write(self, statement, *given):
        with suppress(sqlite3.IntegrityError):
            self.site.program.execute(statement, given)

    # --- what a program does ---------------------------------------------------------------

    @rule(way=ways, row_id=ids, code=codes, row=values)
    def insert(self, way, row_id, code, row):
        row = {"id": row_id, **row, "code": code}
        marks = ", ".join("?" * len(row))
        self.write(f"{way} INTO items ({', '.join(row)}) VALUES ({marks})", *row.values())

    @rule(row_id=ids, code=codes, row=values)
    def upsert(self, row_id, code, row):
        row = {"id": row_id, **row, "code": code}
        marks, changes = (
            ", ".join("?" * len(row)),
            [f"{n} = excluded.{n}" for n in row if n != "id"],
        )
        self.write(
            f"INSERT INTO items ({', '.join(row)}) VALUES ({marks})"
            f" ON CONFLICT (id) DO UPDATE SET {', '.join(changes)}",
            *row.values(),
        )

    @rule(replaces=st.booleans(), row_id=ids, row=values, new_id=st.none() | ids)
    def update(self, replaces, row_id, row, new_id):
        changes = row | ({"id": new_id} if new_id else {})
        if changes:
            listed = ", ".join(f"{name} = ?" for name in changes)
            way = "UPDATE OR REPLACE" if replaces else "UPDATE"
            self.write(f"{way} items SET {listed} WHERE id = ?", *changes.values(), row_id)

    @rule(row=values)
    def update_all(self, row):
        changes = {name: value for name, value in row.items() if name != "code"}
        if changes:
            listed = ", ".join(f"{name} = ?" for name in changes)
            self.write(f"UPDATE items SET {listed}", *changes.values())

    @rule(row_id=st.none() | ids)
    def delete(self, row_id):
        if row_id is None:
            self.write("DELETE FROM items")
        else:
            self.write("DELETE FROM items WHERE id = ?", row_id)

    @rule(row_id=ids, what=st.sampled_from(["x", "y"]), way=ways)
    def happen(self, row_id, what, way):
        created = "2012-01-01T00:00:00.000Z"
        self.write(
            f"{way} INTO events (id, created_at, what) VALUES (?, ?, ?)", row_id, created, what
        )

    @precondition(lambda self: not self.open_transaction)
    @rule()
    def begin(self):
        self.site.program.execute("BEGIN IMMEDIATE")
        self.open_transaction = True

    @precondition(lambda self: self.open_transaction)
    @rule(keep=st.booleans())
    def end(self, keep):
        self.site.program.execute("COMMIT" if keep else "ROLLBACK")
        self.open_transaction = False

    # --- what the agent does -----------------------------------------------------------------

    @precondition(lambda self: not self.open_transaction)
    @rule()
    def drain(self):
        for row in self.site.sent():
            if row.table == "events":
                # The very same fact may take its own place, and is sent again then.
                assert self.events.pop(row.id, row.new["what"]) == row.new["what"]
                self.events[row.id] = row.new["what"]
                continue
            self.check_versions(row)
            self.take(row)
        self.check()

    @precondition(lambda self: not self.open_transaction)
    @rule()
    def decide(self):
        self.drain()
        self.site.decided()
        self.drain()
        for row_id, tx_ids in self.undecided.items():
            self.decided[row_id] = tx_ids[-1]
        self.undecided = {}

    def check_versions(self, row):
        assert row.base == self.decided.get(row.id)
        assert row.after == (self.undecided.get(row.id) or [None])[-1]
        self.undecided.setdefault(row.id, []).append(self.site.tx_id(self.site.last_n))

    def take(self, row):
        before = self.copy.get(row.id)
        if row.op == "D":
            assert before is not None
            assert row.created == before["created_at"]
            del self.copy[row.id]
        elif row.op == "I":
            assert before is None
            self.copy[row.id] = {"created_at": row.created, **row.new}
        else:
            assert row.created == before["created_at"]
            assert row.old == {name: before[name] for name in row.new}
            changed = {name for name in row.new if row.new[name] != row.old[name]}
            assert changed
            assert set(row.new) - changed <= {"by_whom"}
            before.update(row.new)

    def check(self):
        stored = self.site.rows(f"SELECT id, {', '.join(NAMES)} FROM items")
        assert {row.pop("id"): row for row in stored} == self.copy
        events = self.site.rows("SELECT id, what FROM events ORDER BY _seq")
        assert [tuple(event.values()) for event in events] == list(self.events.items())

    @invariant()
    def nothing_is_left_when_the_program_is_at_rest(self):
        if hasattr(self, "site") and not self.open_transaction:
            self.drain()


class RareDrains(Writers):
    """The same, where the agent drains only now and then."""

    @invariant()
    def nothing_is_left_when_the_program_is_at_rest(self):
        pass


TestWriters = Writers.TestCase
TestWriters.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestRareDrains = RareDrains.TestCase
TestRareDrains.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
