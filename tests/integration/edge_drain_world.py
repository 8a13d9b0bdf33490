"""A site under the packaged catalogue, whose transactions are read as the centre reads them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

import pytest

from shared.catalog_file import load_catalog
from shared.changes import GENESIS, Op
from sync import codec
from sync.protocol import digest, transaction_hash
from tests.integration.edge_world import CREATED, SITE, Plant, uid

CATALOG = load_catalog()
NO_BOUND = 1 << 40

__all__ = ["CATALOG", "CREATED", "SITE", "Sent", "Site", "site", "uid"]


@dataclass
class Sent:
    """One row of a drained transaction."""

    table: str
    op: str
    id: str
    site: str
    created: str
    new: dict = field(default_factory=dict)
    old: dict = field(default_factory=dict)
    base: str | None = None
    after: str | None = None
    at: int | None = None

    @property
    def what(self):
        """Return the operation and the columns that changed."""
        return (self.op, *sorted(self.new)) if self.op == "U" else (self.op,)


class Site(Plant):
    """Writes by plain SQL; ``sent`` drains and returns what would go to the centre."""

    def __init__(self, path, catalog=CATALOG):
        self.catalog = catalog
        super().__init__(path, catalog)
        self.read_n, self.head = 0, GENESIS

    def open(self, catalog=None):
        """Open the store; again under the same catalogue, or under another one."""
        self.catalog = catalog or self.catalog
        super().open(self.catalog)

    def sent(self):
        """Drain and return the rows of all new transactions, checked as the centre checks them."""
        while self.store.drain(next(self.clock)) is not None:
            pass  # of what a program in a hurry wrote, a drain takes some and leaves the rest
        parts, after = [], (self.read_n, NO_BOUND)
        while more := self.store.outbox(after, bytes_max=NO_BOUND):
            parts += more
            after = (more[-1].n, more[-1].part)
        rows = []
        for n in sorted({part.n for part in parts}):
            rows += self._checked([part for part in parts if part.n == n])
        return rows

    def _checked(self, parts):
        first = parts[0]
        assert first.n == self.read_n + 1
        assert [part.part for part in parts] == list(range(first.parts))
        assert all(part.previous == self.head for part in parts)
        bodies = [codec.open_body(codec.decode_part(codec.encode_part(part))) for part in parts]
        digests = [digest(codec.decompress(part.body)) for part in parts]
        assert all(list(part.digests) == digests for part in parts)
        own = transaction_hash(first.previous, first.epoch, first.n, first.tx_id, digests)
        assert own == first.hash
        self.read_n, self.head = first.n, own
        return [row for body in bodies for block in body.blocks for row in rows_of(block)]

    def sent_in(self, *statements):
        """Run the statements in one transaction of a program, then drain."""
        self.program.execute("BEGIN")
        for statement in statements:
            self.program.execute(statement)
        self.program.execute("COMMIT")
        return self.sent()

    def decided(self):
        """Let the centre take everything that was sent as it is."""
        self.sent()
        self.take(ack=self.ack(self.last_n))

    def order(self, number=1, **columns):
        """Insert a work order that the centre knows; return its id."""
        self.insert("work_orders", id=uid(number), order_no=f"WO-{number}", **columns)
        self.decided()
        return uid(number)

    def refused(self, statement, *given):
        """Return the message by which a write is refused; it must change nothing."""
        before = list(self.program.iterdump())
        try:
            self.program.execute(statement, given)
        except sqlite3.IntegrityError as error:
            assert list(self.program.iterdump()) == before
            return str(error)
        raise AssertionError(f"not refused: {statement}")


def rows_of(block):
    """Return the rows of a block, one by one."""
    rows = []
    for k in range(len(block)):
        new = {name: values[k] for name, values in zip(block.columns, block.new, strict=True)}
        old = {name: v[k] for name, v in zip(block.columns, block.old, strict=False)}
        row = Sent(block.table, block.op.value, block.ids[k], block.sites[k], block.created[k])
        row.new, row.old = new, old if block.op is Op.UPDATE else {}
        if block.at:
            row.at, row.base, row.after = block.at[k], block.base[k], block.after[k]
        rows.append(row)
    return rows


@pytest.fixture
def site(tmp_path):
    """A new site under the packaged catalogue."""
    site = Site(tmp_path / "store.db")
    yield site
    site.close()
