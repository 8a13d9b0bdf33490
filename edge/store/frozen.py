"""Bodies that were frozen in the outbox, read back as the catalogue is now.

A body holds the names under which it was drained, and the catalogue may have renamed columns since:
a store that was away for long is brought to a new release before it is sent, and so is a copy that
is put back. It travels as it is, since the centre goes by the schema that is written in it. But
whoever reads it here compares it with rows, masks and policies of now, and packs it again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.errors import UnknownColumn
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.catalog import Catalog, Table
    from shared.changes import ChangeBlock, PartBody


def read_back(packed: bytes, catalog: Catalog) -> PartBody:
    """Return what a compressed body says, in the catalogue's names and under its version.

    Values are as they were: a type only ever takes more, and keeps the one form of each value.
    Columns keep their places in a block, and so does what masks of places tell of them.
    """
    body = codec.decode_body(codec.decompress(packed))
    blocks = tuple(_named(block, catalog) for block in body.blocks)
    return replace(body, schema=catalog.version, blocks=blocks)


def _named(block: ChangeBlock, catalog: Catalog) -> ChangeBlock:
    if block.table not in catalog:  # none ever goes, so nobody asks after its columns
        return block
    columns = names_now(catalog.table(block.table), block.columns)
    return block if columns == block.columns else replace(block, columns=columns)


def names_now(table: Table, names: Iterable[str]) -> tuple[str, ...]:
    """Return what columns are called now; one that never was a column keeps its name."""
    return tuple(_name_now(table, name) for name in names)


def _name_now(table: Table, name: str) -> str:
    try:
        return table.current_name(name)
    except UnknownColumn:
        return name
