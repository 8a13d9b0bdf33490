"""What own writes replaced that nobody has decided: tips are told without those writes.

What they replaced travels with them, in the outbox, and so it does with what was taken out as sent
before. Each body is read once, however many pages of tips there are, and what it replaced is kept
by rows in a table of its own: a store that was away for long has more of it than memory is for.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgpack

from edge.store import taken
from edge.store.frozen import read_back
from shared.changes import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from edge.store.open import Opened
    from shared.catalog import Table
    from shared.changes import ChangeBlock, Value

#: After all that was taken out before it came the own transaction of the same number.
_OWN_TURN: Final = 1 << 30
_TABLE: Final = """CREATE TEMP TABLE replaced (table_no INTEGER, id TEXT, n INTEGER, turn INTEGER,
    place INTEGER, old BLOB, PRIMARY KEY (table_no, id, n, turn, place)) WITHOUT ROWID"""

#: A row, the own transaction that wrote it or None for what was taken out, and what that replaced;
#: None where it made or took the row.
Replaced = tuple[str, "int | None", "Mapping[str, Value] | None"]


class Undone:
    """What is read of it so far, for as long as tips are read."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._read: set[int] = set()
        self._rows = 0
        self.forget()  # of a time before that was broken off
        with self._at_once():
            opened.connection.execute(_TABLE)
            for turn, (n, block, brought) in enumerate(taken.blocks(opened)):
                self._keep(n, turn, block, brought)

    def read(self, numbers: Iterable[int]) -> None:
        """Read these own transactions, those of them that are not read yet."""
        some = set(numbers) - self._read
        if some:
            with self._at_once():
                for n in sorted(some):
                    for block in blocks_of(self._opened, n):
                        self._keep(n, _OWN_TURN, block)
        self._read |= some

    def latest_first(self, table: Table, ids: Sequence[str]) -> list[Replaced]:
        """Return what was replaced in these rows, of each row the last first."""
        rows = self._opened.connection.execute(
            "SELECT id, CASE turn WHEN ? THEN n END, old FROM temp.replaced WHERE table_no = ?"
            " AND id IN (SELECT value FROM json_each(?)) ORDER BY id, n DESC, turn DESC, place",
            (_OWN_TURN, self._opened.numbers[table.name], json.dumps(ids)),
        )
        return [(row_id, n, old and msgpack.unpackb(old)) for row_id, n, old in rows]

    def forget(self) -> None:
        """Drop what is kept."""
        self._opened.connection.execute("DROP TABLE IF EXISTS temp.replaced")

    def _keep(
        self, n: int, turn: int, block: ChangeBlock, brought: AbstractSet[taken.Row] = frozenset()
    ) -> None:
        number = self._opened.numbers.get(block.table)
        if number is None or not block.at:  # of facts nothing is a tip
            return
        start, self._rows = self._rows, self._rows + len(block)
        self._opened.connection.executemany(
            "INSERT INTO temp.replaced VALUES (?, ?, ?, ?, ?, ?)",
            (
                (number, row_id, n, turn, start + place, _old(block, place))
                for place, row_id in enumerate(block.ids)
                if (block.table, row_id) not in brought
            ),
        )

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Run the block in one transaction, which takes no lock: only the own table is written."""
        connection = self._opened.connection
        connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _old(block: ChangeBlock, place: int) -> bytes | None:
    if block.op is not Op.UPDATE:
        return None
    old = zip(block.columns, block.old, strict=True)
    packed: bytes = msgpack.packb({name: each[place] for name, each in old})
    return packed


def blocks_of(opened: Opened, n: int) -> Iterator[ChangeBlock]:
    """Give the blocks of an own transaction."""
    rows = opened.connection.execute(
        "SELECT body FROM _sync_out WHERE epoch = (SELECT epoch FROM _sync_site) AND n = ?"
        " ORDER BY part",
        (n,),
    )
    for (body,) in rows:
        yield from read_back(body, opened.catalog).blocks
