"""What the oracle foretells of values for columns that the centre does not have yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from tests.sim.sent import fail
from tests.sim.verdicts import By, Note

if TYPE_CHECKING:
    from collections import Counter

    from shared.catalog import Catalog
    from tests.sim.centre import Database
    from tests.sim.sent import Change, Key, Row, Sent
    from tests.sim.verdicts import Past


@dataclass(frozen=True)
class Waiting:
    """A value that waits, and the write that it came with."""

    value: Any
    sent: Sent
    past: Past


class Aside:
    """Knows what must wait, and which value gives way to another that was written unseen."""

    database: Database
    catalog: Catalog
    rows: dict[Key, Row]
    notes: list[tuple[Change, Sent, Note]]
    reach: Counter[str]
    aside: dict[tuple[Key, str], Waiting]

    def _set_aside(self, sent: Sent, change: Change, by: By) -> None:
        """A change took effect: the later value waits on, and none is lost unrecorded."""
        table = self.catalog.table(change.table)
        for column in sorted(set(change.new) - set(table.names)):
            value, row = change.new[column], self.rows[change.key]
            old = self.aside.get((change.key, column))
            stays = old is not None and old.sent.hlc > sent.hlc
            # It came down to nobody, so whoever did not write it has not seen it.
            if old is not None and old.value != value and (stays or old.past.is_lost):
                self.reach["a value aside gave way unseen"] += 1
                here, there = {column: value}, {column: old.value}
                verdict, result = ("central", there) if stays else ("here", here)
                author = By(sent.site, old.sent.hlc >> 16)
                self.notes.append(
                    (change, sent, Note(
                        column, "last_write", verdict, (column,), None, here, there, result,
                        author, by,
                    ))
                )  # fmt: skip
            if not stays:
                self.aside[change.key, column] = Waiting(value, sent, row.past[-1])

    async def all_that_waits_is_kept(self) -> None:
        """Fail where a value that has to wait does not, or another one does."""
        rows = await self.database.rows(
            "SELECT table_name, id::text, column_name, value FROM sync.extra"
        )
        found = {((table, row_id), column): value for table, row_id, column, value in rows}
        wanted = {place: msgpack.packb(each.value) for place, each in self.aside.items()}
        gone = {place for place in wanted if self.rows[place[0]].values is None}
        for place in (found.keys() | wanted.keys()) - gone:
            if found.get(place) != wanted.get(place):
                fail(f"{place}: {found.get(place)} waits for its column, not {wanted.get(place)}")
