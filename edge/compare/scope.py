"""One table of a comparison: what both ends have of it, and how its rows are narrowed down."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from edge.store.compare import Looker, Part
from shared import sums
from shared.sums import Cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from edge.compare.centre import Centre, Key
    from edge.differences import TableReport
    from shared.catalog import Column, Table

    Run = Callable[..., Awaitable[Any]]

T = TypeVar("T")

#: Facts that the centre sums up by one question.
PIECE_ROWS_MAX: Final = 500_000
#: Rows in buckets that differ which are sent by their hashes; more are looked at by finer buckets,
#: or once more: most of what differs at a busy site is on its way.
_SUSPECT_ROWS_MAX: Final = 5_000
_AGAIN_MAX: Final = 3
#: Days or minutes whose rows are read here in one pass.
_CUTS_MAX: Final = 20
#: Rows, about, whose hashes are held at once: 40 MB.
_HASHED_ROWS_MAX: Final = 50_000
_AGAIN_PAUSE_S: Final = 1.0
#: Minutes of a day that are asked for one by one.
_MINUTES_MAX: Final = 50
#: Rows of a table whose contents are looked at.
CANDIDATES_MAX: Final = 20_000
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


class _Sized(NamedTuple, Generic[T]):
    """A cut, or the bucket that it is made of, with the rows that it holds, about."""

    cut: T
    rows: int


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
        """Find the rows whose hashes differ, holding those of some at a time."""
        cuts = await (self._days() if self.table.fact else self._endings())
        for some in _packed(cuts, _CUTS_MAX):
            await self._compare_hashes([each.cut for each in some])
            if len(self.candidates) >= CANDIDATES_MAX:
                self.report.more = True
                return

    async def _both(self, cut: Cut) -> tuple[sums.Sums, sums.Sums]:
        here, there = await asyncio.gather(
            self.run(self.looker.sums, self.part(cut)), self.centre.sums(self.table.name, cut)
        )
        return here, there

    # --- rows that change, by the ends of their ids ---------------------------------------------

    async def _endings(self) -> list[_Sized[Cut]]:
        rows = await self.run(self.looker.count, self.table)
        self.report.rows = rows
        cut = Cut(digits=sums.digits_for(rows))
        looks = 0
        while True:
            here, there = await self._both(cut)
            found = sums.differing(here, there)
            endings = tuple(e for e in found if _is_ending(e, cut.digits))
            self.report.parked += sum(here[e].rows for e in found if not _is_ending(e, cut.digits))
            cut = replace(cut, endings=endings)
            sized = [_Sized(each, _rows([each], here, there)) for each in endings]
            if cut.digits < sums.DIGITS_MAX and any(e.rows > _HASHED_ROWS_MAX for e in sized):
                # The digits are for our rows. Where those were lost, the centre may have millions,
                # and the rows of one ending are hashed at once.
                cut = replace(cut, digits=sums.DIGITS_MAX)
                continue
            looks += 1
            if looks == _AGAIN_MAX or _held(sized) <= _SUSPECT_ROWS_MAX:
                return _by_endings(cut, sized)
            await asyncio.sleep(_AGAIN_PAUSE_S)

    # --- facts, by when they were created -------------------------------------------------------

    async def _days(self) -> list[_Sized[Cut]]:
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
        cuts: list[_Sized[Cut]] = []
        for bucket in sums.differing(here, there):
            for each in await self._bucket(bucket, whole, here, there):
                large = each.rows > _HASHED_ROWS_MAX
                cuts += await self._parted(each) if large else [each]
        return cuts

    async def _sums_there(self, pieces: Iterable[Cut]) -> sums.Sums:
        found: sums.Sums = {}
        for piece in pieces:
            found |= await self.centre.sums(self.table.name, piece)
        return found

    async def _bucket(
        self, bucket: str, cut: Cut, here: sums.Sums, there: sums.Sums
    ) -> list[_Sized[Cut]]:
        """Return what is to be looked at of a bucket of facts that differs."""
        if not sums.is_time(bucket):  # a created_at that is none: such rows wait at the centre
            self.report.parked += here[bucket].rows
            return []
        if bucket not in here and bucket < self.kept_from:
            return []
        one = sums.span(bucket, cut)
        rows = _rows([bucket], here, there)
        if rows <= _SUSPECT_ROWS_MAX or len(bucket) == sums.MINUTE_CHARACTERS:
            return [_Sized(one, rows)]
        here, there = await self._both(one)
        minutes = [
            minute
            for minute in sums.differing(here, there)
            if sums.is_time(minute) and (minute in here or minute >= self.kept_from)
        ]
        if len(minutes) > _MINUTES_MAX:
            every = sorted(filter(sums.is_time, here.keys() | there.keys()))
            return _spans(one, [_Sized(each, _rows([each], here, there)) for each in every])
        return [_Sized(sums.span(each, one), _rows([each], here, there)) for each in minutes]

    async def _parted(self, minute: _Sized[Cut]) -> list[_Sized[Cut]]:
        """Return the facts of one minute, as an import makes thousands, by the ends of their ids.

        Of how many there are at the centre with each end nothing is known; chance made them.
        """
        digits = sums.digits_for(minute.rows)
        here = await self.run(self.looker.sums, self.part(replace(minute.cut, digits=digits)))
        no_ids = (each.rows for e, each in here.items() if not _is_ending(e, digits))
        self.report.parked += sum(no_ids)
        endings = [f"{number:0{digits}x}" for number in range(16**digits)]
        mean = -(-minute.rows // len(endings))  # rounded up: few of many endings are many rows
        sized = [_Sized(e, max(mean, here[e].rows if e in here else 0)) for e in endings]
        return _by_endings(minute.cut, sized)

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


def _packed(sized: Iterable[_Sized[T]], count_max: int) -> Iterator[list[_Sized[T]]]:
    """Give them in their order, so many at a time that few rows are held at once."""
    some: list[_Sized[T]] = []
    held = 0
    for each in sized:
        if some and (len(some) == count_max or held + each.rows > _HASHED_ROWS_MAX):
            yield some
            some, held = [], 0
        some.append(each)
        held += each.rows
    if some:
        yield some


def _by_endings(cut: Cut, endings: Sequence[_Sized[str]]) -> list[_Sized[Cut]]:
    return [
        _Sized(replace(cut, endings=tuple(each.cut for each in some)), _held(some))
        for some in _packed(endings, len(endings))
    ]


def _spans(day: Cut, minutes: Sequence[_Sized[str]]) -> list[_Sized[Cut]]:
    """Return the whole of a day in spans of some minutes each."""
    some = list(_packed(minutes, len(minutes)))
    bounds = [day.since, *(span[0].cut for span in some[1:]), day.before]
    return [
        _Sized(replace(day, since=since, before=before), _held(span))
        for span, (since, before) in zip(some, pairwise(bounds), strict=True)
    ]


def _held(sized: Iterable[_Sized[T]]) -> int:
    return sum(each.rows for each in sized)


def _is_ending(bucket: str, digits: int) -> bool:
    """Return whether ids can end so; what is shorter is all of an id that is none."""
    return len(bucket) == digits and all(each in "0123456789abcdef" for each in bucket)


def _rows(
    buckets: Iterable[str], here: Mapping[str, sums.Sum], there: Mapping[str, sums.Sum]
) -> int:
    nothing = sums.Sum(0, 0)
    return sum(max(here.get(b, nothing).rows, there.get(b, nothing).rows) for b in buckets)
