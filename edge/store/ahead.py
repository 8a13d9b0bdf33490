"""Records of decisions that a load brought before the rows that they are about.

A load brings records first (``central.snapshot``), and may end between them and their rows, for
good where the centre goes back meanwhile. The row is as it was before then, and the record must
settle nothing at a centre that has lost the decision: nobody would have it any more. So these are
remembered until their rows have come, whatever becomes of the load: the centre may go back again,
it may be begun anew, and the store may be put back to a copy.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from edge.store.open import Opened
    from shared.changes import HeadBlock, Value

#: The state of a record of which the effect is in its row.
_DECIDED: Final = {"sync_parked": "applied", "sync_reviews": "RESOLVED"}
#: What a review says that nobody has decided.
OPEN: Final[dict[str, Value]] = {
    "state": "OPEN", "take": None, "value": None, "decided_by": None, "reason": None,
    "decided_at": None,
}  # fmt: skip


@contextmanager
def followed(opened: Opened, block: HeadBlock) -> Iterator[None]:
    """Note what a block of a load decides ahead of its row; and which rows come with it.

    Inside a transaction, around the block's landing.
    """
    if block.table not in _DECIDED or block.table not in opened.catalog:
        yield
        _forget(opened.connection, block)
        return
    before = _decided(opened, block)
    yield
    after = _decided(opened, block)
    connection = opened.connection
    connection.executemany(
        "DELETE FROM _sync_ahead WHERE record = ?",
        [(each,) for each in block.ids if each not in after],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO _sync_ahead (record, table_name, row_id)"
        f" SELECT id, table_name, row_id FROM {block.table} WHERE id = ?",
        [(each,) for each in after - before],
    )


def _decided(opened: Opened, block: HeadBlock) -> set[str]:
    """Return which records of a block the centre has decided.

    What the site decided itself is not among them: it wrote the row along, and sends both again.
    """
    rows = opened.connection.execute(
        f"""SELECT r.id FROM {block.table} r WHERE r.state = :decided
            AND r.id IN (SELECT value FROM json_each(:ids)) AND NOT EXISTS (
                SELECT 1 FROM _sync_pending p WHERE p.table_no = :no AND p.id = r.id)
            AND NOT EXISTS (
                SELECT 1 FROM _sync_row v JOIN _sync_out o INDEXED BY _sync_out_by_tx
                    ON o.tx_id = v.version AND o.part = 0
                WHERE v.table_no = :no AND v.id = r.id)""",
        {
            "decided": _DECIDED[block.table],
            "ids": json.dumps(block.ids),
            "no": opened.numbers[block.table],
        },
    )
    return {record for (record,) in rows}


def _forget(connection: sqlite3.Connection, block: HeadBlock) -> None:
    if connection.execute("SELECT 1 FROM _sync_ahead LIMIT 1").fetchone():
        connection.executemany(
            "DELETE FROM _sync_ahead WHERE table_name = ? AND row_id = ?",
            [(block.table, row_id) for row_id in block.ids],
        )


def forget_all(connection: sqlite3.Connection) -> None:
    """Forget all: the load has come to its end. Inside a transaction."""
    connection.execute("DELETE FROM _sync_ahead")


def records(connection: sqlite3.Connection) -> set[str]:
    """Return the records of which the rows have not come."""
    return {record for (record,) in connection.execute("SELECT record FROM _sync_ahead")}
