"""A table with a column of every policy, and a row of it at a centre that keeps its versions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shared.catalog import Column, ColumnType, Direction, Group, Kind, Policy, Table
from shared.changes import Op, Value
from shared.values import canonical
from sync.resolve import CENTRE, Author, Conflict, Resolution, Version, Write, resolve

STATES = ("CREATED", "RELEASED", "IN_PROGRESS", "COMPLETED", "CLOSED")
LOT = ("RELEASED", "PENDING", "QUARANTINED", "REJECTED")


def column(name: str, kind: Kind, policy: Policy, **more) -> Column:
    limits = {"precision": 38, "scale": 6} if kind is Kind.DECIMAL else {}
    return Column(name, ColumnType(kind, **limits), policy=policy, **more)


TABLE = Table(
    name="gauges",
    direction=Direction.BOTH,
    columns=(
        column("notes", Kind.TEXT, Policy.LAST_WRITE),
        column("due", Kind.TEXT, Policy.CENTRAL),
        column("shelf", Kind.TEXT, Policy.SITE),
        column("count", Kind.INTEGER, Policy.SUM, nullable=False, default=0),
        column("stock", Kind.DECIMAL, Policy.SUM, nullable=False, default="0"),
        column("severity", Kind.INTEGER, Policy.MAX),
        column("peak", Kind.DECIMAL, Policy.MAX),
        column("started", Kind.TIMESTAMP, Policy.MIN),
        column("state", Kind.TEXT, Policy.LATTICE, order=STATES),
        column("quality", Kind.TEXT, Policy.LATTICE, order=LOT),
        column("tags", Kind.SET, Policy.ADD_REMOVE_SET),
        column("disposition", Kind.TEXT, Policy.REVIEW, safe="keep_site"),
        column("lsl", Kind.DECIMAL, Policy.REVIEW, safe="larger"),
        column("usl", Kind.DECIMAL, Policy.REVIEW, safe="smaller"),
        column("acked_at", Kind.TIMESTAMP, Policy.MIN),
        column("acked_by", Kind.TEXT, Policy.MIN),
        column("line", Kind.TEXT, Policy.LAST_WRITE),
        column("slot", Kind.TEXT, Policy.LAST_WRITE),
        column("changed_by", Kind.TEXT, Policy.LAST_WRITE, writer=True),
    ),
    groups=(
        Group("limits", ("lsl", "usl"), Policy.REVIEW),
        Group("acknowledged", ("acked_at", "acked_by"), Policy.MIN),
        Group("place", ("line", "slot"), Policy.LAST_WRITE),
    ),
)

PLAIN = Table(
    name="shelves",
    direction=Direction.BOTH,
    columns=(
        column("notes", Kind.TEXT, Policy.LAST_WRITE),
        column("state", Kind.TEXT, Policy.LATTICE, order=STATES),
        column("changed_by", Kind.TEXT, Policy.LAST_WRITE, writer=True),
    ),
)

FACTS = Table(
    name="reports",
    direction=Direction.UP,
    columns=(
        column("good", Kind.INTEGER, Policy.APPEND_ONLY),
        column("scrap", Kind.INTEGER, Policy.APPEND_ONLY),
    ),
    append_only=True,
)


def head(table: Table = TABLE, **values: Value) -> dict[str, Value]:
    """Return a whole row: nulls, empty sums, and what is given."""
    return {c.name: c.default for c in table.columns} | values


def author(site: str, at_ms: int = 100, writer: str | None = None, clamped: bool = False) -> Author:
    return Author(site, writer or f"someone at {site}", at_ms, clamped)


def update(
    site: str, at_ms: int = 100, *, old: dict[str, Value] | None = None, **new: Value
) -> Write:
    seen = dict.fromkeys(new) | (old or {})
    return Write(Op.UPDATE, f"{site}-{at_ms}", "v0", new, seen, author(site, at_ms))


def insert(site: str, at_ms: int = 100, **new: Value) -> Write:
    return Write(Op.INSERT, f"{site}-{at_ms}", None, new, {}, author(site, at_ms))


def delete(site: str, at_ms: int = 100) -> Write:
    return Write(Op.DELETE, f"{site}-{at_ms}", "v0", {}, {}, author(site, at_ms))


def wrote(site: str, at_ms: int, *columns: str, op: Op = Op.UPDATE, overruled=()) -> Version:
    """Return a version that somebody made after the base; of every column if none is named."""
    touched = frozenset(columns or TABLE.names)
    return Version(f"{site}@{at_ms}", op, touched, author(site, at_ms), frozenset(overruled))


@dataclass
class Row:
    """One row at the centre. Takes every write the long way and keeps all that the centre keeps."""

    table: Table = TABLE
    head: dict[str, Value] | None = field(default_factory=head)
    last_head: dict[str, Value] | None = None
    versions: list[Version] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)

    @property
    def version(self) -> str:
        return self.versions[-1].id if self.versions else "v0"

    def since(self, base: str | None) -> list[Version]:
        ids = ["v0", *(version.id for version in self.versions)]
        return self.versions[0 if base is None else ids.index(base) :]

    def take(self, write: Write) -> Resolution:
        done = resolve(self.table, self.head, self.last_head, self.since(write.base), write)
        columns = write.new if write.op is Op.UPDATE else self.table.names
        self.versions.append(
            Version(
                f"{len(self.versions)}/{write.tx_id}",
                write.op,
                frozenset(columns),
                write.author,
                done.overruled,
                done.contested,
            )
        )
        if done.delete:
            self.head, self.last_head = None, self.head
        elif done.revive:
            self.head = head(self.table, **done.values)
        elif self.head is not None:
            self.head = self.head | done.values
        self.conflicts += done.conflicts
        return done


def after(writes: list[Write], **values: Value) -> Row:
    """Return a row, of these values at ``v0``, that has taken these writes in this order."""
    row = Row(head=head(**values))
    for write in writes:
        row.take(write)
    return row


def seeing(write: Write, base: str) -> Write:
    return replace(write, base=base)


def set_of(texts) -> Value:
    """Return the canonical set of these texts."""
    return canonical(TABLE.column("tags").type, sorted(texts))


def contest(write, **central):
    """Return head and only conflict of a site's write that did not see ``central`` written."""
    old = {name: write.old.get(name) for name in central}
    row = after([update(CENTRE, 100, old=old, **central), write], **write.old)
    assert len(row.conflicts) == 1
    return row.head, row.conflicts[0]
