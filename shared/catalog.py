"""The catalogue: every replicated table, its columns, its direction and its policies.

The only list of tables. Both ends build their tables, triggers, merge statements and checks from
it. It is data (``shared/catalog/*.toml``, read by ``shared.catalog_file``); this module is the
vocabulary and does no I/O.

A change mask is an integer whose bit ``i`` stands for the table's column ``i``. Positions never
change: a new column goes to the end, a renamed one keeps its place.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from shared.errors import CatalogError, UnknownColumn, UnknownTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.changes import Value

#: A mask must fit a signed 64-bit integer of either database, with room to spare.
COLUMNS_MAX: Final = 60


class Policy(StrEnum):
    """What happens when two sides wrote the same column without having seen one another."""

    LAST_WRITE = "last_write"  #: the later hybrid logical clock; tie by site name
    CENTRAL = "central"  #: the centre's value stands
    SITE = "site"  #: the site's value stands
    SUM = "sum"  #: both differences (new - old) count, exactly once
    MAX = "max"  #: the larger
    MIN = "min"  #: the smaller
    LATTICE = "lattice"  #: the further along; a state never moves back
    ADD_REMOVE_SET = "add_remove_set"  #: a removal removes only what it saw
    APPEND_ONLY = "append_only"  #: never updated; a correction is a new row
    REVIEW = "review"  #: the site runs on the safer value until a person decides


class Direction(StrEnum):
    """Which way the rows of a table travel."""

    UP = "up"  #: site to centre
    DOWN = "down"  #: centre to site
    BOTH = "both"


class Kind(StrEnum):
    """The kinds of values; ``shared.values`` tells the one form that each is written in."""

    UUID = "uuid"
    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    TIME = "time"
    JSON = "json"
    SET = "set"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A kind with its limits."""

    kind: Kind
    #: Text: characters at most.
    length: int | None = None
    #: Decimal: digits in all, and digits after the point.
    precision: int | None = None
    scale: int | None = None
    #: Integer, decimal and float: the range, both ends included.
    low: Decimal | None = None
    high: Decimal | None = None

    def __str__(self) -> str:
        """Return the type as a catalogue file writes it, without its range."""
        if self.kind is Kind.TEXT and self.length is not None:
            return f"text({self.length})"
        if self.kind is Kind.DECIMAL:
            return f"decimal({self.precision},{self.scale})"
        return self.kind.value


@dataclass(frozen=True, slots=True)
class Column:
    """A business column."""

    name: str
    type: ColumnType
    nullable: bool = True
    #: The value, in canonical form, that a row gets where its writer names none.
    default: Value = None
    policy: Policy = Policy.LAST_WRITE
    #: Version of its file's catalogue that added it.
    since: int = 1
    #: Earlier names, oldest first.
    renamed_from: tuple[str, ...] = ()
    #: The table whose id it holds.
    references: str | None = None
    #: The centre holds a row back until the row it refers to has arrived (or has been deleted).
    enforced: bool = False
    #: Allowed values, for codes.
    values: tuple[str, ...] = ()
    #: Lattice: the states, lowest first. For a boolean: ("0", "1").
    order: tuple[str, ...] = ()
    #: Review: the value to run on meanwhile, "keep_site", "smaller" or "larger".
    safe: str | None = None
    #: Holds the person who wrote. It goes with the write and is never in conflict by itself.
    writer: bool = False
    #: The column that holds the unit of this quantity, or the unit itself.
    unit: str | None = None
    help: str = ""

    def rank(self, value: Value) -> int:
        """Return how far along the lattice a value is; null is before the first state."""
        return -1 if value is None else self.order.index(str(value))

    @property
    def allowed(self) -> tuple[str, ...]:
        """Return the only texts that may stand here; empty where any may."""
        return self.values or self.order


#: What every replicated table has before its business columns. None of it ever changes in a row.
ID: Final = Column("id", ColumnType(Kind.UUID), nullable=False, help="UUIDv7, made by the writer")
SITE_ID: Final = Column(
    "site_id", ColumnType(Kind.TEXT, length=20), nullable=False, help="owner; * = shared by all"
)
CREATED_AT: Final = Column(
    "created_at", ColumnType(Kind.TIMESTAMP), nullable=False, help="made at the origin, set once"
)
COMMON: Final = (ID, SITE_ID, CREATED_AT)


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that are edited as one thing: they win or lose together, never torn apart.

    Under ``max``, ``min`` and ``lattice`` the first column is compared and the others go with it
    (who acknowledged goes with when). ``sum`` and ``add_remove_set`` stand alone.
    """

    name: str
    columns: tuple[str, ...]
    policy: Policy


@dataclass(frozen=True, slots=True)
class Table:
    """A replicated table.

    ``groups`` may be given in part: a column in none of them becomes a group of its own.
    """

    name: str
    direction: Direction
    columns: tuple[Column, ...]
    append_only: bool = False
    #: Columns whose values name the sites that get a row: a site, ``*`` for all, or a set of sites.
    share: tuple[str, ...] = ("site_id",)
    #: Partitioned at the centre by site, then by month of created_at.
    partitioned: bool = False
    #: Keys that people use, each unique within a site.
    natural_keys: tuple[tuple[str, ...], ...] = ()
    groups: tuple[Group, ...] = ()
    since: int = 1
    #: Parents have a smaller one than their children.
    order_rank: int = 0
    #: Of signed rows, each with a row's id, from_state and to_state, that let its lattice go back.
    relax_by: str | None = None
    shared_only: bool = False  #: planners write rows of ``*`` alone: one of a site tells of others
    help: str = ""
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _bits: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _groups: Mapping[str, Group] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Complete the groups and index the columns."""
        names = tuple(column.name for column in self.columns)
        groups = _complete(self.groups, self.columns)
        grouped = {name: group for group in groups for name in group.columns}
        for attribute, value in (
            ("names", names),
            ("groups", groups),
            ("_bits", {name: bit for bit, name in enumerate(names)}),
            ("_groups", grouped),
        ):
            object.__setattr__(self, attribute, value)

    @property
    def two_way(self) -> bool:
        """Return whether both the sites and the centre write rows of it."""
        return self.direction is Direction.BOTH

    @property
    def fact(self) -> bool:
        """Return whether its rows are made at a site and never change."""
        return self.append_only and self.direction is Direction.UP

    @property
    def is_of_several(self) -> bool:
        """Return whether its rows may go to other sites than their own."""
        return self.share != ("site_id",)

    @property
    def lattice_columns(self) -> tuple[Column, ...]:
        """Return the columns whose state never moves back."""
        return tuple(column for column in self.columns if column.order)

    @property
    def writer_column(self) -> Column | None:
        """Return the column that holds the person who wrote, where there is one."""
        return next((column for column in self.columns if column.writer), None)

    def column(self, name: str) -> Column:
        """Return the business column of that name."""
        return self.columns[self.bit(name)]

    def bit(self, name: str) -> int:
        """Return the position of a column, which is its bit in a change mask."""
        try:
            return self._bits[name]
        except KeyError:
            raise self._unknown(name) from None

    def current_name(self, name: str) -> str:
        """Return what a column is called now, given any name that it has had."""
        for column in self.columns:
            if name == column.name or name in column.renamed_from:
                return column.name
        raise self._unknown(name)

    def _unknown(self, name: str) -> UnknownColumn:
        return UnknownColumn(f"table {self.name} has no column {name}")

    def mask(self, names: Iterable[str]) -> int:
        """Return the change mask of these columns."""
        mask = 0
        for name in names:
            mask |= 1 << self.bit(name)
        return mask

    def names_of(self, mask: int) -> tuple[str, ...]:
        """Return the columns of a change mask, in the table's order."""
        if mask < 0 or mask >> len(self.names):
            raise self._unknown(hex(mask))
        return tuple(name for bit, name in enumerate(self.names) if mask >> bit & 1)

    def group_of(self, column: str) -> Group:
        """Return the group that a column is edited with."""
        try:
            return self._groups[column]
        except KeyError:
            raise self._unknown(column) from None


def _complete(groups: tuple[Group, ...], columns: tuple[Column, ...]) -> tuple[Group, ...]:
    """Return the groups with one for each column left alone, in the order of first columns."""
    first = {name: group for group in groups for name in group.columns}
    alone = {c.name: Group(c.name, (c.name,), c.policy) for c in columns if c.name not in first}
    return tuple(dict.fromkeys((first | alone)[column.name] for column in columns))


@dataclass(frozen=True, slots=True)
class Catalog:
    """All tables that replicate, as one site or the centre knows them.

    ``version`` grows whenever a file of the catalogue adds something. Two catalogues of the same
    version may differ where plants added tables of their own; ``digest`` tells.
    """

    version: int
    tables: tuple[Table, ...]
    #: SHA-256 of everything but the help texts and ``shared_only``, which sites need not know.
    digest: str = field(init=False, compare=False)
    _by_name: Mapping[str, Table] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Rank, sort and index the tables."""
        tables = tuple(sorted(_ranked(self.tables), key=lambda table: table.name))
        object.__setattr__(self, "tables", tables)
        object.__setattr__(self, "_by_name", {table.name: table for table in tables})
        plain = _plain(tables, without=("help", "shared_only"))
        digest = hashlib.sha256(_json({"version": self.version, "tables": plain}).encode())
        object.__setattr__(self, "digest", digest.hexdigest())

    def __repr__(self) -> str:
        """Return a short text: a whole catalogue in an error message hides the error."""
        return f"Catalog(version={self.version}, {len(self.tables)} tables, {self.digest[:12]})"

    def table(self, name: str) -> Table:
        """Return the table of that name."""
        try:
            return self._by_name[name]
        except KeyError:
            message = f"the catalogue (version {self.version}) has no table {name}"
            raise UnknownTable(message) from None

    def __contains__(self, name: object) -> bool:
        """Return whether there is a table of that name."""
        return name in self._by_name

    def parents_first(self) -> tuple[Table, ...]:
        """Return the tables so that none comes before one that it refers to."""
        return tuple(sorted(self.tables, key=lambda table: (table.order_rank, table.name)))


def _ranked(tables: tuple[Table, ...]) -> list[Table]:
    """Return the tables with their order ranks; refuse references that go round in a circle."""
    rank: dict[str, int] = {}
    known = {table.name for table in tables}
    parents = {
        table.name: {c.references for c in table.columns if c.references in known - {table.name}}
        for table in tables
    }
    while len(rank) < len(known):
        ready = [name for name in parents if name not in rank and parents[name] <= rank.keys()]
        if not ready:
            circle = ", ".join(sorted(known - rank.keys()))
            message = f"tables refer to one another in a circle: {circle}; drop one `references`"
            raise CatalogError(message)
        level = max(rank.values(), default=-1) + 1
        rank.update(dict.fromkeys(ready, level))
    return [replace(table, order_rank=rank[table.name]) for table in tables]


def _plain(thing: object, without: tuple[str, ...] = ()) -> Any:
    """Return lists, texts, numbers and dicts of whatever is not at its default."""
    if is_dataclass(thing):
        return {
            f.name: _plain(getattr(thing, f.name), without)
            for f in fields(thing)
            if f.init and f.name not in without and getattr(thing, f.name) != f.default
        }
    if isinstance(thing, tuple):
        return [_plain(item, without) for item in thing]
    if isinstance(thing, bytes):
        return {"hex": thing.hex()}
    return str(thing) if isinstance(thing, Decimal) else thing


def _json(plain: object) -> str:
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def to_json(catalog: Catalog) -> str:
    """Return the catalogue as text that ``from_json`` reads; equal catalogues give equal text."""
    return _json(_plain(catalog))


def from_json(text: str) -> Catalog:
    """Return the catalogue that ``to_json`` wrote, whatever release wrote it."""
    plain = json.loads(text)
    return Catalog(plain["version"], tuple(_table(table) for table in plain["tables"]))


def _table(plain: dict[str, Any]) -> Table:
    known = _known(Table, plain)
    return Table(
        **known
        | {
            "direction": Direction(plain["direction"]),
            "columns": tuple(_column(column) for column in plain["columns"]),
            "share": tuple(plain.get("share", ("site_id",))),
            "natural_keys": tuple(tuple(key) for key in plain.get("natural_keys", ())),
            "groups": tuple(
                Group(g["name"], tuple(g["columns"]), Policy(g["policy"])) for g in plain["groups"]
            ),
        }
    )


def _column(plain: dict[str, Any]) -> Column:
    limits = _known(ColumnType, plain["type"])
    limits |= {end: Decimal(limits[end]) for end in ("low", "high") if end in limits}
    default = plain.get("default")
    return Column(
        **_known(Column, plain)
        | {key: tuple(plain.get(key, ())) for key in ("renamed_from", "values", "order")}
        | {
            "type": ColumnType(**limits | {"kind": Kind(limits["kind"])}),
            "policy": Policy(plain.get("policy", Policy.LAST_WRITE)),
            "default": bytes.fromhex(default["hex"]) if isinstance(default, dict) else default,
        }
    )


def _known(kind: type, plain: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a later release may have added."""
    return {f.name: plain[f.name] for f in fields(kind) if f.init and f.name in plain}
