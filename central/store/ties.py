"""Which rows of a transaction stand or fall together: the smallest whole that is parked.

Pure. A child falls with the parent that the same transaction inserts, and the parent with it; so do
rows that hand a natural key on to one another. All others of the transaction go on.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from central.schema import natural_key
from central.store.changeset import Reason, Refusal, Rows, Source
from shared.changes import Op
from shared.errors import UnknownColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from shared.catalog import Catalog, Table
    from shared.changes import Value

Key = tuple[str, str]

#: They wait for something outside their transaction, and the rest of it need not.
_ALONE = (Reason.PARENT_MISSING, Reason.BEHIND, Reason.TIED)


@dataclass(frozen=True, slots=True)
class _Node:
    source: Source
    table: Table
    #: What is known of it after the transaction, and before.
    states: tuple[Mapping[str, Value], Mapping[str, Value]]


def tied(refused: Sequence[Refusal], pieces: Sequence[Rows], catalog: Catalog) -> list[Refusal]:
    """Return the rows that fall with those refused."""
    by_transaction: dict[str, list[Refusal]] = defaultdict(list)
    for each in refused:
        by_transaction[each.source.origin.tx_id].append(each)
    nodes: dict[str, dict[Key, _Node]] = {tx_id: {} for tx_id in by_transaction}
    for rows in pieces:
        for row, tx_id in enumerate(rows.tx_ids):
            if tx_id in nodes:
                node = _Node(rows.source(row), rows.table, _states(rows, row))
                nodes[tx_id][rows.table.name, rows.ids[row]] = node
    return [
        fallen
        for tx_id, own in by_transaction.items()
        for fallen in _fallen(own, nodes[tx_id], catalog)
    ]


def _fallen(
    refused: Sequence[Refusal], nodes: dict[Key, _Node], catalog: Catalog
) -> Iterator[Refusal]:
    """Give the rows of one transaction that fall with those refused."""
    culprits = [each for each in refused if each.reason not in _ALONE]
    if not nodes:
        return  # nothing is left of the transaction that could fall with them
    nodes |= dict(_refused_nodes(culprits, catalog))
    links = _links(nodes)
    already = {each.source.key for each in refused}
    for culprit in culprits:
        for key in _reached(culprit.source.key, links):
            if key not in already:
                already.add(key)
                yield _falls(nodes[key].source, culprit)


def _falls(source: Source, culprit: Refusal) -> Refusal:
    cause = culprit.source
    message = f"belongs to {cause.block.table} {cause.id}, which was not applied: {culprit.message}"
    return Refusal(source, Reason.TIED, message, behind=cause.ticket, quiet=culprit.is_quiet)


def _refused_nodes(culprits: Iterable[Refusal], catalog: Catalog) -> Iterator[tuple[Key, _Node]]:
    for culprit in culprits:
        source = culprit.source
        if source.block.table in catalog:
            table = catalog.table(source.block.table)
            states = (_named(table, source.new()), _named(table, source.old()))
            yield source.key, _Node(source, table, states)


def _states(rows: Rows, row: int) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
    names = [column.name for column in rows.columns]
    return (
        {name: values[row] for name, values in zip(names, rows.new, strict=True)},
        {name: values[row] for name, values in zip(names, rows.old, strict=False)},
    )


def _named(table: Table, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return values as they were sent under our columns' names."""
    named = {}
    for name, value in values.items():
        try:
            named[table.current_name(name)] = value
        except UnknownColumn:
            continue  # it can tie nothing that we know of
    return named


def _links(nodes: Mapping[Key, _Node]) -> dict[Key, set[Key]]:
    links: dict[Key, set[Key]] = defaultdict(set)
    lets_go = {
        (node.table.name, held): key for key, node in nodes.items() for held in _held(node, 1)
    }
    for key, node in nodes.items():
        for parent in _parents(node):
            if parent in nodes and nodes[parent].source.block.op is Op.INSERT:
                links[key].add(parent)
                links[parent].add(key)
        for held in _held(node, 0):
            giver = lets_go.get((node.table.name, held), key)
            if giver != key:
                links[key].add(giver)
                links[giver].add(key)
    return links


def _parents(node: _Node) -> Iterator[Key]:
    for column in node.table.columns:
        value = node.states[0].get(column.name)
        if column.enforced and column.references and isinstance(value, str):
            yield column.references, value


def _held(node: _Node, state: int) -> Iterator[str]:
    """Give the natural keys that a row has after the transaction (0), or had before it (1)."""
    values = node.states[state]
    for number, names in enumerate(node.table.natural_keys):
        if values.keys() >= set(names):
            key = natural_key(number, [values[name] for name in names])
            if key is not None:
                yield key


def _reached(start: Key, links: Mapping[Key, set[Key]]) -> list[Key]:
    seen = {start}
    queue = [start]
    for key in queue:
        fresh = sorted(links.get(key, set()) - seen)
        seen.update(fresh)
        queue += fresh
    return queue[1:]
