"""The questions of a comparison, as the centre answers them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge.differences import There
from shared.errors import NoResponder
from shared.sums import HASH_BYTES, Cut, Sum, Sums
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.catalog import Table
    from sync.transport import Link

#: site_id, created_at and id.
Key = tuple[str, str, str]

#: The centre sums up a few million rows in it.
_SUMS_TIMEOUT_S: Final = 110.0
_TIMEOUT_S: Final = 30.0
_BUSY_PAUSE_S: Final = 1.0
#: Answers of "busy" before somebody else's comparisons are taken for endless.
_BUSY_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Look:
    """Rows of the centre at one moment, and where the feeds and our chain stood then."""

    own: int
    shared: int
    #: Last transaction of ours that is decided.
    applied_n: int
    #: By id.
    rows: Mapping[str, There]


@dataclass(slots=True)
class Centre:
    """The other end of a comparison."""

    link: Link
    site: str
    #: How long the comparison goes on waiting for what is on its way, in all.
    patience_s: float = 60.0
    #: What went over the line, both ways.
    sent_bytes: int = 0
    received_bytes: int = 0
    #: Table -> what our columns are called there; null where there is no such column.
    columns: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    #: Table -> the day from which on the centre keeps facts; older ones were put away there.
    kept_from: Mapping[str, str] = field(default_factory=dict)

    async def begin(self, tables: Iterable[Table]) -> list[str]:
        """Learn what the centre has of our tables; return the tables that only it has."""
        ours = {
            table.name: [[column.name, *column.renamed_from] for column in table.columns]
            for table in tables
        }
        answer = await self._ask("begin", tables=ours)
        self.columns, self.kept_from = answer["tables"], answer["kept_from"]
        return list(answer["absent"])

    async def sums(self, table: str, cut: Cut) -> Sums:
        """Return the sums of a table's buckets."""
        given = self._of(table, cut)
        for _ in range(_BUSY_MAX):
            answer = await self._ask("sums", timeout_s=_SUMS_TIMEOUT_S, **given)
            if not answer.get("busy"):
                return _sums(answer)
            await asyncio.sleep(_BUSY_PAUSE_S)
        raise NoResponder("the centre is busy with other sites' comparisons; try again later")

    async def hashes(self, table: str, cut: Cut) -> dict[str, tuple[Key, int]]:
        """Return key and hash of each row, by its id."""
        found: dict[str, tuple[Key, int]] = {}
        after = None
        while True:
            answer = await self._ask("rows", after=after, **self._of(table, cut))
            ids = [_uuid(raw) for raw in _parts(answer["ids"], 16)]
            numbers = [int.from_bytes(raw, "big") for raw in _parts(answer["hashes"], HASH_BYTES)]
            rows = zip(answer["sites"], answer["created"], ids, numbers, strict=True)
            found |= {row_id: ((site, made, row_id), number) for site, made, row_id, number in rows}
            if not answer["more"]:
                return found
            after = ids[-1]

    async def look(self, table: str, keys: Sequence[Key], epoch: str) -> Look:
        """Return rows, as many of the first ones as one answer holds."""
        answer = await self._ask("look", keys=keys, epoch=epoch, **self._of(table))
        rows = map(_row, answer["rows"])
        named = {row.id: row for row in rows}
        return Look(answer["own"], answer["shared"], answer["applied_n"], named)

    async def told(
        self, table: str, asked: Sequence[tuple[str, str, str]]
    ) -> dict[str, Sequence[Any]]:
        """Return what the feeds told of rows under versions; asked for by site_id, id and version.

        By id, the values of the columns that both ends have; rows that no feed tells of are left
        out.
        """
        answer = await self._ask("told", rows=asked, **self._of(table))
        return dict(answer["rows"])

    async def repair(
        self, table: str, items: Sequence[Sequence[Any]], *, began_at: str
    ) -> list[str]:
        """Have rows repaired; return what becomes of each."""
        given = self._of(table) | {"items": items, "began_at": began_at}
        answer = await self._ask("repair", **given)
        return list(answer["actions"])

    async def done(self, run: str, report: Mapping[str, Any]) -> None:
        """Tell what the comparison came to."""
        await self._ask("done", run=run, report=report)

    def _of(self, table: str, cut: Cut | None = None) -> dict[str, Any]:
        known = [name for name in self.columns[table] if name is not None]
        meant = {"cut": asdict(cut)} if cut else {}
        return {"table": table, "columns": known, **meant}

    async def _ask(self, kind: str, timeout_s: float = _TIMEOUT_S, **fields: Any) -> dict[str, Any]:
        asked = codec.encode_control({"kind": kind, **fields})
        answer = await self.link.request(f"ctl.{self.site}.compare", asked, timeout_s=timeout_s)
        self.sent_bytes += len(asked)
        self.received_bytes += len(answer)
        return codec.decode_control(answer)


def _sums(answer: Mapping[str, Any]) -> Sums:
    totals = (int.from_bytes(raw, "big") for raw in _parts(answer["sums"], HASH_BYTES))
    return {
        bucket: Sum(rows, total)
        for bucket, rows, total in zip(answer["buckets"], answer["rows"], totals, strict=True)
    }


def _parts(raw: bytes, size: int) -> list[bytes]:
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _row(listed: Sequence[Any]) -> There:
    site, created, row_id, version, order, deleted, left, queued, parked, values = listed
    return There(
        site_id=site, created_at=created, id=row_id, version=version, order=order,
        deleted=deleted, left=left, queued=queued, parked=parked,
        values=None if values is None else tuple(values),
    )  # fmt: skip
