"""What of a site's transactions can be applied at once, with the same result as one by one.

Pure. Two-way rows of several transactions go together as long as no row comes twice, and no
transaction lets go of natural keys or brings releases; facts of all of them go together anyway.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from central.store.changeset import Extra, Origin, Reason, Refusal, Rows, joined
from central.store.intake import take_in
from central.store.months import partitions_of
from central.store.releases import relaxing_tables
from central.store.rows import key_columns
from shared.changes import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from central.partitions import Partition
    from shared.catalog import Catalog
    from shared.changes import ChangeBlock, SyncTransaction


@dataclass(frozen=True)
class Incoming:
    """A transaction with what of its apply needs no database, worked out once.

    In whatever thread is free: most of that time PostgreSQL is busy with the run before.
    """

    sent: SyncTransaction
    catalog: Catalog

    @cached_property
    def origin(self) -> Origin:
        """Return what the transaction says of all its rows."""
        return Origin.of(self.sent)

    @cached_property
    def batch(self) -> Batch:
        """Return its rows, checked and sorted; nobody changes them."""
        return sorted_batch(self.sent.blocks, self.origin, self.catalog)

    @cached_property
    def partitions(self) -> set[Partition]:
        """Return the partitions that its rows lie in."""
        sent = self.sent
        return partitions_of(self.catalog, sent.site, sent.blocks, sent.stored_at_ms)

    def prepare(self) -> None:
        """Work it out; raises what using it will raise."""
        _ = self.batch, self.partitions

    @property
    def rows(self) -> int:
        """Return how many rows it has."""
        return sum(map(len, self.sent.blocks))


@dataclass(slots=True)
class Batch:
    """Rows, of one transaction or several, sorted by what is done with them."""

    #: Signed releases, which have to be there before the updates that they allow.
    releases: list[Rows] = field(default_factory=list)
    two_way: list[Rows] = field(default_factory=list)
    facts: list[Rows] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    _ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def stands_alone(self) -> bool:
        """Return whether what comes after depends on what this has done."""
        return bool(self.releases) or any(map(_lets_go_of_keys, self.two_way))

    def goes_with(self, later: Batch) -> bool:
        """Return whether a later batch touches none of the same rows, refused ones among them."""
        return all(self._ids[table].isdisjoint(ids) for table, ids in later.touched())

    def add(self, later: Batch) -> None:
        """Put a later batch with this one, but for its facts, which wait for nothing."""
        self.releases += later.releases
        self.two_way += later.two_way
        self.refused += later.refused
        self.extras += later.extras
        for table, ids in later.touched():
            self._ids[table].update(ids)

    def again(self, rows: set[tuple[str, str]], catalog: Catalog) -> Batch:
        """Return what of a transaction takes effect that came home with a salvage.

        The ``rows`` that were parked, and what does not come home as rows: facts, which know one
        another by their ids, and rows of tables that are not here any more, or not yet again.
        """
        some = Batch(releases=self.releases, facts=self.facts)
        for each in self.two_way:
            kept = [row for row, own in enumerate(each.ids) if (each.table.name, own) in rows]
            some.two_way += [each.take(kept)] if kept else []
        some.refused = [
            each
            for each in self.refused
            if each.source.key in rows or is_never_home(each.source.block.table, catalog)
        ]
        some.extras = list(self.extras)
        for table, own in rows:
            some._ids[table].add(own)
        return some

    def touched(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Give the ids of all rows but facts, by table."""
        for rows in self.two_way:
            yield rows.table.name, rows.ids
        for refusal in self.refused:
            yield refusal.source.block.table, (refusal.source.id,)


def sorted_batch(blocks: Iterable[ChangeBlock], origin: Origin, catalog: Catalog) -> Batch:
    """Return the rows of blocks that came in one transaction."""
    batch = Batch()
    signed = relaxing_tables(catalog)
    for block in blocks:
        intake = take_in(block, origin, catalog)
        batch.refused += intake.refused
        batch.extras += intake.extras
        if intake.rows is None or not intake.rows.ids:
            continue
        if not intake.rows.table.fact:
            batch.two_way.append(intake.rows)
        elif intake.rows.table.name in signed:
            batch.releases.append(intake.rows)
        else:
            batch.facts.append(intake.rows)
    _refuse_repeated(batch)
    return batch


def _refuse_repeated(batch: Batch) -> None:
    """Refuse the two-way rows that come more than once: nobody says which of them is to stand."""
    ids: dict[str, list[str]] = defaultdict(list)
    for table, some in batch.touched():
        ids[table] += some
    repeated = {
        table: {each for each, times in Counter(some).items() if times > 1}
        for table, some in ids.items()
        if len(set(some)) < len(some)
    }
    if not repeated:
        return
    for at, rows in enumerate(batch.two_way):
        twins = repeated.get(rows.table.name, ())
        places = [row for row, each in enumerate(rows.ids) if each in twins]
        batch.refused += [
            Refusal(rows.source(row), Reason.MALFORMED, "the row comes more than once")
            for row in places
        ]
        batch.two_way[at] = rows.without(places)
    batch.two_way = [rows for rows in batch.two_way if rows.ids]


def is_never_home(table: str, catalog: Catalog) -> bool:
    """Tell whether rows of a table don't come home as rows: they come as they were sent."""
    return table not in catalog or catalog.table(table).fact


def _lets_go_of_keys(rows: Rows) -> bool:
    keys = key_columns(rows.table)
    if rows.op is Op.UPDATE:
        return not keys.isdisjoint(column.name for column in rows.columns)
    return bool(keys) and rows.op is Op.DELETE


def merged(pieces: Iterable[Rows]) -> list[Rows]:
    """Return rows of the same table, operation and columns as one, parents first."""
    alike: dict[tuple[str, Op, tuple[str, ...]], list[Rows]] = defaultdict(list)
    for rows in pieces:
        alike[rows.table.name, rows.op, tuple(c.name for c in rows.columns)].append(rows)
    whole = [joined(some) for some in alike.values()]
    return sorted(whole, key=lambda rows: rows.table.order_rank)
