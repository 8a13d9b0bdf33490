"""What becomes of a row whose change will not count, as its site is told of that.

A site shows its own undecided writes over what comes from us. So of the columns of a change that is
parked it has not seen what others wrote since its base, nor has whoever built on it there before
they heard that it is parked, though theirs names a later base. Therefore we keep a version of the
change, made as the site is told, that was overruled in these columns and took no effect: what had
been built on the change comes after it by its base and is decided on by the policy of the columns;
what is written once the site has heard does not.

The same where a person gives up a change that only waited, for until then its site shows it.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from central.store.changeset import Reason
from central.store.conflicts import ROWS_MAX, write_of
from central.store.decision import Decision
from central.store.intake import as_sent
from central.store.overwrite import overwrite
from central.store.standing import read_standing
from shared.changes import Op
from sync.decisions import Resolution
from sync.resolve import concurrent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from central.store.applying import Applying
    from central.store.changeset import Rows, Source
    from central.store.standing import Standing
    from shared.changes import ChangeBlock

#: What can't be read, or failed for reasons that nobody knows: it would fail here, too.
UNREADABLE: Final = frozenset({Reason.MALFORMED, Reason.FAULT, Reason.DATABASE})


async def overrule(applying: Applying, sources: Iterable[Source]) -> None:
    """Keep versions of changes that will not count, where they had not seen what others wrote."""
    for block, places in _by_block(sources):
        rows = as_sent(block, places[0].origin, applying.catalog)
        if rows is None or rows.table.fact or rows.op is Op.DELETE:
            continue
        named = {each.id for each in places}
        rows = rows.take([row for row, each in enumerate(rows.ids) if each in named])
        for portion in rows.slices(ROWS_MAX):
            found = enumerate(await read_standing(applying, portion))
            decisions = [_overruled(portion, row, standing) for row, standing in found]
            await overwrite(applying, portion, [each for each in decisions if each])


def _by_block(sources: Iterable[Source]) -> Iterable[tuple[ChangeBlock, list[Source]]]:
    found: dict[tuple[int, str], list[Source]] = defaultdict(list)
    for each in sources:
        found[id(each.block), each.origin.tx_id].append(each)
    return [(some[0].block, some) for some in found.values()]


def _overruled(rows: Rows, row: int, standing: Standing) -> Decision | None:
    """Return a change as one that takes no effect, if there is anything that it had not seen."""
    write = write_of(rows, row)
    unseen = concurrent(rows.table, standing.since, write) & write.new.keys()
    if standing.values is None or not unseen:
        return None
    return Decision(
        row=row,
        standing=standing,
        write=replace(write, op=Op.UPDATE, new={name: write.new[name] for name in unseen}),
        resolution=Resolution({}, overruled=unseen),
        version=str(uuid.uuid4()),
        is_clean=False,
        tells_site=True,
    )
