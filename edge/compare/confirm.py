"""Tells rows that differ from rows that are on their way, however busy both ends are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from edge.differences import Judged, State, judge
from shared.catalog import CREATED_AT
from shared.values import rule_broken
from sync.policies import same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge.compare.centre import Key, Look
    from edge.compare.scope import Scope
    from edge.differences import Here, There

#: Rows that are looked at together.
LOOKED_AT_MAX: Final = 200
#: How often a row that is on its way is looked at; the pauses between grow.
ROUNDS_MAX: Final = 5
_PAUSE_S: Final = 0.5
_LOOK_EVERY_S: Final = 0.1


async def confirm(scope: Scope, ids: Sequence[str]) -> dict[str, Judged]:
    """Judge rows by their ids, looking again at those that are on their way."""
    judged: dict[str, Judged] = {}
    left = sorted(ids)
    for turn in range(ROUNDS_MAX):
        if turn:
            await asyncio.sleep(_PAUSE_S * 2 ** (turn - 1))
        for start in range(0, len(left), LOOKED_AT_MAX):
            judged |= await _look_at(scope, left[start : start + LOOKED_AT_MAX])
        left = [row_id for row_id in left if judged[row_id].state is State.MOVING]
        if not left:
            break
    return judged


async def _look_at(scope: Scope, ids: Sequence[str]) -> dict[str, Judged]:
    """Judge each of these rows, as many at a time as one answer of the centre holds."""
    keys = await _keys(scope, ids)
    judged: dict[str, Judged] = {}
    while keys:
        some = await _judge(scope, keys)
        judged |= some
        keys = [key for key in keys if key[2] not in judged]
    return judged


async def _keys(scope: Scope, ids: Sequence[str]) -> list[Key]:
    """Return the keys by which the centre finds rows: its own, else those that stand here."""
    unknown = [row_id for row_id in ids if scope.candidates.get(row_id) is None]
    if unknown:
        at, found = await scope.run(scope.looker.look, scope.part_of_all, unknown)
        for row_id in unknown:
            # Gone since: any key will do to see whether it is at the centre.
            site, made = found[row_id].key or (at.site, _LONG_AGO)
            scope.candidates[row_id] = (site, _instant_or(made), row_id)
    return [key for row_id in ids if (key := scope.candidates[row_id]) is not None]


_LONG_AGO: Final = "1970-01-01T00:00:00.000Z"


def _instant_or(made: str) -> str:
    """Return a created_at that the centre can read: what was changed here may be none."""
    return _LONG_AGO if rule_broken(CREATED_AT, made) else made


async def _judge(scope: Scope, keys: Sequence[Key]) -> dict[str, Judged]:
    """Look there, here, and there again; judge the rows that the first answer holds."""
    epoch = (await scope.run(scope.looker.position)).epoch
    first = await scope.centre.look(scope.table.name, keys, epoch)
    some = [key for key in keys if key[2] in first.rows]
    followed = await _follow(scope, first)
    ids = [row_id for _, _, row_id in some]
    at, here = await scope.run(scope.looker.look, scope.part_of_all, ids)
    still = [row_id for row_id in ids if not here[row_id].moving]
    again = await _decided(scope, some, epoch, at.last_n if still else 0)
    at_rest = followed and at.epoch == epoch and again.applied_n >= at.last_n
    judged = {}
    for row_id in ids:
        then = again.rows.get(row_id)
        state = State.MOVING
        if at_rest and then is not None:
            state = judge(first.rows[row_id], here[row_id], then, _same(here[row_id], then))
        judged[row_id] = Judged(state, here[row_id], then or first.rows[row_id])
    return judged


async def _follow(scope: Scope, look: Look) -> bool:
    """Wait until the store shows both feeds as far as they were at a look."""
    while not await scope.run(scope.looker.shows, look.own, look.shared):
        if not await _waited(scope):
            return False
    return True


async def _decided(scope: Scope, keys: Sequence[Key], epoch: str, last_n: int) -> Look:
    """Return a look by which the centre has decided on all that was drained here, if it does."""
    while True:
        look = await scope.centre.look(scope.table.name, keys, epoch)
        if look.applied_n >= last_n or not await _waited(scope):
            return look


async def _waited(scope: Scope) -> bool:
    """Wait a little; False where the comparison has waited long enough in all."""
    if scope.centre.patience_s <= 0:
        return False
    scope.centre.patience_s -= _LOOK_EVERY_S
    await asyncio.sleep(_LOOK_EVERY_S)
    return True


def _same(here: Here, there: There) -> list[bool]:
    """Return for the keys, and for each column, whether both ends have the same."""
    if here.values is None or there.values is None:
        return []
    keys = here.key == (there.site_id, there.created_at)
    return [keys, *(same(a, b) for a, b in zip(here.values, there.values, strict=True))]


def apart(scope: Scope, judged: Judged) -> dict[str, tuple[Any, Any]]:
    """Return the columns in which a row differs, keys among them: column -> here, there."""
    here, there = judged.here, judged.there
    keys = dict(zip(("site_id", "created_at"), _pairs(here, there), strict=False))
    names = [column.name for column in scope.columns]
    nothing = (None,) * len(names)
    values = zip(here.values or nothing, there.values or nothing, strict=True)
    columns: Mapping[str, tuple[Any, Any]] = keys | dict(zip(names, values, strict=True))
    return {name: pair for name, pair in columns.items() if not same(*pair)}


def _pairs(here: Here, there: There) -> Iterator[tuple[str, str]]:
    if here.key is not None and there.values is not None:
        yield from zip(here.key, (there.site_id, there.created_at), strict=True)
