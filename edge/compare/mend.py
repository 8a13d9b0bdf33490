"""Repairs rows that differ: the centre is asked to send them, or they are sent to it again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from edge.compare.confirm import confirm
from edge.differences import State
from edge.store import mend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from edge.compare.scope import Scope
    from edge.differences import Here, Judged
    from edge.store.open import Opened

    #: Calls a function that writes the store, in the thread that does so.
    Write = Callable[..., Awaitable[Any]]

#: Rows, and bytes of their values, about, that are repaired by one question.
_ROWS_MAX: Final = 200
_BYTES_MAX: Final = 400_000
#: What the centre says of rows that are on their way now, to here or to there.
UNDER_WAY: Final = ("sent", "resend", "restored", "keys")
#: It was written since, at either end: the next comparison will tell.
_MOVED: Final = "moved"


async def repair(
    scope: Scope, judged: Mapping[str, Judged], began_at: str, opened: Opened,
    write: Write,
) -> dict[str, str]:  # fmt: skip
    """Repair rows and wait for what comes of it; return for each row what was done.

    Safe to repeat, and to interrupt: what was asked for goes on by itself.
    """
    done: dict[str, str] = {}
    for batch in _batches(judged):
        # All of a store may have been compared since these rows were.
        _, now = await scope.run(scope.looker.look, scope.part_of_all, batch)
        some = [row_id for row_id in batch if not _is_written_since(judged[row_id], now[row_id])]
        done |= dict.fromkeys(batch, _MOVED)
        items = [_item(row_id, judged[row_id]) for row_id in some]
        answers = await scope.centre.repair(scope.table.name, items, began_at=began_at)
        done |= dict(zip(some, answers, strict=True))
        again = [row_id for row_id in some if done[row_id] == "resend"]
        keys = {
            row_id: (judged[row_id].there.site_id, judged[row_id].there.created_at)
            for row_id in some
            if done[row_id] in ("sent", "keys") and _has_other_keys(judged[row_id])
        }
        await write(mend.put_keys, opened, scope.table, keys)
        await write(mend.resend, opened, scope.table, again)
    return done


async def settled(scope: Scope, done: Mapping[str, str]) -> int:
    """Return how many of the rows that are being repaired are no difference any more."""
    under_way = [row_id for row_id, action in done.items() if action in UNDER_WAY]
    states = await confirm(scope, under_way)
    counts: dict[State, int] = defaultdict(int)
    for each in states.values():
        counts[each.state] += 1
    return counts[State.EQUAL] + counts[State.PARKED] + counts[State.ASIDE]


def _is_written_since(judged: Judged, now: Here) -> bool:
    """Return whether the site has written a row since it was judged, so that it may not differ now.

    One that the centre never heard of differs all the same: it is sent as it stands by then.
    """
    return judged.there.version is not None and now != judged.here


def _has_other_keys(judged: Judged) -> bool:
    there = judged.there
    return judged.state is State.DIFFERENT and judged.here.key != (there.site_id, there.created_at)


def _item(row_id: str, judged: Judged) -> list[Any]:
    here, there = judged.here, judged.there
    return [there.site_id, there.created_at, row_id, there.version, here.values, here.key]


def _batches(judged: Mapping[str, Judged]) -> Iterator[Sequence[str]]:
    batch: list[str] = []
    size = 0
    for row_id, each in judged.items():
        own = sum(len(v) if isinstance(v, str | bytes) else 9 for v in each.here.values or ())
        if batch and (len(batch) == _ROWS_MAX or size + own > _BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(row_id)
        size += own
    if batch:
        yield batch
