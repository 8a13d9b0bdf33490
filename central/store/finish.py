"""The end of an apply: marks for the reports, what was applied, and the watermark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.store import spool
from central.store.changeset import bounded_hlc
from central.store.fixed import fixed
from central.store.literals import array
from shared.catalog import Kind
from shared.changes import Part

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.store.applying import Applying, Tally
    from central.store.gate import Judged
    from shared.changes import SyncTransaction


#: A clock that is off by more than this is off by any number.
_OFFSET_MAX_MS: Final = 1 << 47


async def finish(applying: Applying, epoch: str, judged: Judged) -> None:
    """Write the watermark with all that belongs to it, and commit; one round trip."""
    execute = applying.connection.execute
    site = {"site": applying.site}
    async with applying.connection.pipeline():
        await finish_alone(applying, moves=True)
        links = judged.accepted
        given = {
            "epoch": epoch,
            "tx_id": array(Kind.UUID, [link.tx_id for link in links]),
            "n": array(Kind.INTEGER, [link.n for link in links]),
            "hash": array(Kind.BYTES, [link.hash for link in links]),
            "hlc": array(Kind.INTEGER, [_clock(link, applying.tally.hlc) for link in links]),
            "offset_ms": array(Kind.INTEGER, [_offset(link, applying.tally) for link in links]),
        }
        await execute(fixed("insert_applied"), site | given)
        watermark = {
            "last_n": judged.position.n,
            "last_hash": judged.position.hash,
            "through_ms": applying.tally.through_ms,
        }
        await execute(fixed("move_epoch"), site | {"epoch": epoch} | watermark)
        if isinstance(links[-1], Part):  # however it was applied
            await spool.forget(applying.connection, applying.site, epoch, judged.position.n)
        await applying.connection.commit()


def _clock(link: SyncTransaction | Part, of_parts: int) -> int:
    """Return the clock of a transaction's drain; that of one in parts stands in their bodies."""
    return bounded_hlc(of_parts if isinstance(link, Part) else link.hlc)


def _offset(link: SyncTransaction | Part, of_parts: Tally) -> int | None:
    """Return how far its clock was off; None where that is beyond all reason."""
    offset_ms = of_parts.offset_ms if isinstance(link, Part) else link.offset_ms
    return offset_ms if abs(offset_ms) <= _OFFSET_MAX_MS else None


async def finish_alone(applying: Applying, *, moves: bool = False) -> None:
    """Write what goes with any effect, whatever it was that caused it.

    ``moves`` where the watermark does, with which answers change though no row may have.
    """
    execute, tally = applying.connection.execute, applying.tally
    if moves or tally.rows or tally.parked or tally.touched or tally.marks:
        await execute(b"SELECT sync.count_change(%s, 'applied')", [applying.site])
    if tally.marks:
        marks = sorted(tally.marks)
        given = {
            "site": applying.site,
            "table_name": array(Kind.TEXT, [table for table, _ in marks]),
            "hour": array(Kind.TIMESTAMP, [f"{hour}:00Z" for _, hour in marks]),
        }
        await execute(fixed("insert_marks"), given)
    if tally.touched:
        # The feed looks by itself every now and then; only what sites wait for rings its bell.
        await execute(b"NOTIFY mes_feed")


async def stop(connection: AsyncConnection[object], site: str, why: str) -> None:
    """Apply nothing more of a site until a person has looked."""
    await connection.execute(
        b"""UPDATE sync.site SET stopped_because = coalesce(stopped_because, %s)
            WHERE site = %s""",
        [why, site],
    )
