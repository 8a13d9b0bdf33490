"""Records of decisions whose rows this store can't show as they were decided.

A load brings records first (``central.snapshot``), and may end between them and their rows, for
good where the centre goes back meanwhile. The row is as it was before then, and the record must
settle nothing at a centre that has lost the decision: nobody would have it any more. So these are
remembered until their rows have come, whatever becomes of the load: the centre may go back again,
it may be begun anew, and the store may be put back to a copy.

Nor must a record where its row is one of several sites' and has left this one, or is deleted; nor
where the centre took the row away and a rule of the plant's keeps it here. That is not ours to
tell, or not what stands here (``edge.store.tips``), so the row is as it was before, too.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from edge.store import aside
from shared.changes import SHARED, Fate

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from edge.store.open import Opened
    from shared.catalog import Table
    from shared.changes import HeadBlock, Value

#: The state of a record before a decision, and after one of which the effect is in its row.
_STATES: Final = {"sync_parked": ("parked", "applied"), "sync_reviews": ("OPEN", "RESOLVED")}
#: What else tells of a decision.
_TELLING: Final = {
    "sync_parked": ("retried_at",),
    "sync_reviews": ("take", "value", "decided_by", "reason", "decided_at"),
}


@contextmanager
def followed(opened: Opened, block: HeadBlock) -> Iterator[None]:
    """Note what a block of a load decides ahead of its row; and which rows come with it.

    Inside a transaction, around the block's landing.
    """
    if block.table not in _STATES or block.table not in opened.catalog:
        yield
        _forget(opened.connection, block)
        return
    before, states = _decided(opened, block), _states(opened, block)
    yield
    after = _decided(opened, block)
    connection = opened.connection
    connection.executemany(
        "DELETE FROM _sync_ahead WHERE record = ?",
        [(each,) for each in block.ids if each not in after],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO _sync_ahead (record, table_name, row_id, state)"
        f" SELECT id, table_name, row_id, ?2 FROM {block.table} WHERE id = ?1",
        [(each, _before(block.table, states.get(each))) for each in after - before],
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
            "decided": _STATES[block.table][1],
            "ids": json.dumps(block.ids),
            "no": opened.numbers[block.table],
        },
    )
    return {record for (record,) in rows}


def _states(opened: Opened, block: HeadBlock) -> dict[str, str]:
    rows = opened.connection.execute(
        f"SELECT id, state FROM {block.table} WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(block.ids),),
    )
    return dict(rows)


def _before(table: str, state: str | None) -> str:
    """Return the state before a decision, of a record that may have come with it."""
    first, decided = _STATES[table]
    return first if state in (None, decided) else state


def _forget(connection: sqlite3.Connection, block: HeadBlock) -> None:
    if connection.execute("SELECT 1 FROM _sync_ahead LIMIT 1").fetchone():
        connection.executemany(
            "DELETE FROM _sync_ahead WHERE table_name = ? AND row_id = ?",
            [(block.table, row_id) for row_id in block.ids],
        )


def forget_all(connection: sqlite3.Connection) -> None:
    """Forget all: the load has come to its end. Inside a transaction."""
    connection.execute("DELETE FROM _sync_ahead")


_IS_OF_SEVERAL: Final = """(p.site_id = :everyone
    OR p.table_name IN (SELECT value FROM json_each(:shared)))"""


def undecided(opened: Opened, table: Table, applied_n: int) -> dict[str, dict[str, Value]]:
    """Return what such records of a table said before, by their ids.

    And what those said of which the row is not ours to tell: of several sites and not here any
    more, or taken away by the centre and kept by a rule of the plant's. At a centre that has lost
    the decision such a row is as it was before. But for changes after ``applied_n``, which come
    again themselves.
    """
    if table.name not in _STATES:
        return {}
    telling: dict[str, Value] = dict.fromkeys(_TELLING[table.name])
    first, decided = _STATES[table.name]
    untold = opened.connection.execute(
        f"""SELECT p.id, :first FROM {table.name} p JOIN _sync_table t ON t.name = p.table_name
            WHERE p.state = :decided {"AND p.n <= :n" if table.name == "sync_parked" else ""}
            AND ({_IS_OF_SEVERAL} AND NOT EXISTS (
                SELECT 1 FROM _sync_row r WHERE r.table_no = t.no AND r.id = p.row_id
                AND r.gone = 0 AND NOT EXISTS (
                    SELECT 1 FROM _sync_shadow s WHERE s.table_no = r.table_no AND s.id = r.id
                    AND s.fate <> :put))
              OR EXISTS (
                SELECT 1 FROM _sync_aside a WHERE a.table_name = p.table_name AND a.id = p.row_id
                AND a.code = '{aside.REFUSED}' AND a.content = '{aside.NO_ROW}'
                AND (a.version = '' OR {_IS_OF_SEVERAL})))""",
        {
            "first": first, "decided": decided, "n": applied_n, "put": Fate.PUT.value,
            "everyone": SHARED,
            "shared": json.dumps([t.name for t in opened.catalog.tables if t.is_of_several]),
        },
    ).fetchall()  # fmt: skip
    came_ahead = opened.connection.execute("SELECT record, state FROM _sync_ahead").fetchall()
    return {record: {"state": state, **telling} for record, state in (*untold, *came_ahead)}
