"""One table of a comparison: what both ends have of it, and how its rows are narrowed down."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from edge.store.compare import Looker, Part
from shared import sums
from shared.sums import Cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from edge.compare.centre import Centre, Key
    from edge.differences import TableReport
    from shared.catalog import Column, Table

    Run = Callable[..., Awaitable[Any]]

#: Facts that the centre sums up by one question.
PIECE_ROWS_MAX: Final = 500_000
#: Rows in buckets that differ which are sent by their hashes; more are looked at by finer buckets,
#: or once more: most of what differs at a busy site is on its way.
_SUSPECT_ROWS_MAX: Final = 5_000
_AGAIN_MAX: Final = 3
#: Days or minutes whose rows are read here in one pass: some 100 000 rows' hashes in memory.
_CUTS_MAX: Final = 20
_AGAIN_PAUSE_S: Final = 1.0
#: Minutes of a day that are asked for one by one.
_MINUTES_MAX: Final = 50
#: Rows of a table whose contents are looked at.
CANDIDATES_MAX: Final = 20_000
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


@dataclass(slots=True)
class Scope:
    """A table while it is compared."""

    table: Table
    #: The columns that both ends have, in our order.
    columns: tuple[Column, ...]
    report: TableReport
    centre: Centre
    looker: Looker
    #: Calls the looker in its thread.
    run: Run
    #: Facts created from then on are cut by the minute.
    minutes_from: str
    #: Facts of earlier days may be missing here.
    kept_from: str = ""
    #: Rows whose hashes differ, by their ids; None where the key is to be read here.
    candidates: dict[str, Key | None] = field(default_factory=dict)

    def part(self, cut: Cut) -> Part:
        """Return some of the table's rows."""
        return Part(self.table, self.columns, cut)

    @property
    def part_of_all(self) -> Part:
        """Return all of the table's rows."""
        return self.part(Cut())

    async def narrow(self) -> None:
        """Find the rows whose hashes differ."""
        cuts = await (self._days() if self.table.fact else self._endings())
        for start in range(0, len(cuts), _CUTS_MAX):
            await self._compare_hashes(cuts[start : start + _CUTS_MAX])
            if len(self.candidates) >= CANDIDATES_MAX:
                self.report.more = True
                return

    async def _both(self, cut: Cut) -> tuple[sums.Sums, sums.Sums]:
        here, there = await asyncio.gather(
            self.run(self.looker.sums, self.part(cut)), self.centre.sums(self.table.name, cut)
        )
        return here, there

    # --- rows that change, by the ends of their ids ---------------------------------------------

    async def _endings(self) -> list[Cut]:
        rows = await self.run(self.looker.count, self.table)
        self.report.rows = rows
        cut = Cut(digits=sums.digits_for(rows))
        for again in range(_AGAIN_MAX):
            here, there = await self._both(cut)
            found = sums.differing(here, there)
            endings = tuple(filter(_is_ending, found))
            self.report.parked += sum(here[e].rows for e in found if not _is_ending(e))
            cut = replace(cut, endings=endings)
            if not endings:
                return []
            if again + 1 == _AGAIN_MAX or _rows(endings, here, there) <= _SUSPECT_ROWS_MAX:
                break
            await asyncio.sleep(_AGAIN_PAUSE_S)
        return [cut]

    # --- facts, by when they were created -------------------------------------------------------

    async def _days(self) -> list[Cut]:
        first = self.centre.kept_from.get(self.table.name, "")
        days = [
            (day, rows)
            for day, rows in await self.run(self.looker.days, self.table)
            if day >= first and sums.is_time(day)
        ]
        self.report.rows = sum(rows for _, rows in days)
        self.report.since = first
        whole = Cut(minutes_from=self.minutes_from, since=first)
        pieces = [
            replace(whole, since=since or first, before=before)
            for since, before in sums.pieces(days, PIECE_ROWS_MAX)
        ]
        # Here no index leads to a day: all of it is one pass.
        here, there = await asyncio.gather(
            self.run(self.looker.sums, self.part(whole)), self._sums_there(pieces)
        )
        cuts: list[Cut] = []
        for bucket in sums.differing(here, there):
            cuts += await self._bucket(bucket, whole, here, there)
        return cuts

    async def _sums_there(self, pieces: Iterable[Cut]) -> sums.Sums:
        found: sums.Sums = {}
        for piece in pieces:
            found |= await self.centre.sums(self.table.name, piece)
        return found

    async def _bucket(self, bucket: str, cut: Cut, here: sums.Sums, there: sums.Sums) -> list[Cut]:
        """Return what is to be looked at of a bucket of facts that differs."""
        if not sums.is_time(bucket):  # a created_at that is none: such rows wait at the centre
            self.report.parked += here[bucket].rows
            return []
        if bucket not in here and bucket < self.kept_from:
            return []
        one = sums.span(bucket, cut)
        rows = _rows([bucket], here, there)
        if rows <= _SUSPECT_ROWS_MAX or len(bucket) == sums.MINUTE_CHARACTERS:
            return [one]
        here, there = await self._both(one)
        minutes = [
            minute
            for minute in sums.differing(here, there)
            if sums.is_time(minute) and (minute in here or minute >= self.kept_from)
        ]
        if len(minutes) > _MINUTES_MAX:
            return [one]
        return [sums.span(minute, one) for minute in minutes]

    # --- rows ---------------------------------------------------------------------------------

    async def _compare_hashes(self, cuts: Sequence[Cut]) -> None:
        here, there = await asyncio.gather(
            self.run(self.looker.hashes, self.part_of_all, cuts), self._hashes_there(cuts)
        )
        for row_id, (key, number) in there.items():
            dropped = key[1] < self.kept_from and row_id not in here
            if here.get(row_id) != number and not dropped:
                self.candidates[row_id] = key
        for row_id in here.keys() - there.keys():
            if _ID.fullmatch(row_id):
                self.candidates.setdefault(row_id, None)
            else:
                self.report.parked += 1

    async def _hashes_there(self, cuts: Iterable[Cut]) -> dict[str, tuple[Key, int]]:
        found: dict[str, tuple[Key, int]] = {}
        for cut in cuts:
            found |= await self.centre.hashes(self.table.name, cut)
        return found


def _is_ending(bucket: str) -> bool:
    return all(each in "0123456789abcdef" for each in bucket)


def _rows(
    buckets: Iterable[str], here: Mapping[str, sums.Sum], there: Mapping[str, sums.Sum]
) -> int:
    nothing = sums.Sum(0, 0)
    return sum(max(here.get(b, nothing).rows, there.get(b, nothing).rows) for b in buckets)
