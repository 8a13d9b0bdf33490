"""What becomes of a row whose change will not count, as its site is told of that.

A site shows its own undecided writes over what comes from us. So of the columns of a change that is
parked it has not seen what others wrote since its base, nor has whoever built on it there before
they heard that it is parked, though theirs names a later base. Therefore we keep a version of the
change, made as the site is told, that was overruled in these columns and took no effect: what had
been built on the change comes after it by its base and is decided on by the policy of the columns;
what is written once the site has heard does not. So there is none where a change is parked again
as its transaction comes home: its site has heard of it before we went back.

The same where a person gives up a change that only waited, for until then its site shows it. There
it has been taken for applied, on a head that the site has had, and it takes no such head again. So
the row gets a version of its own in any case.
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
from shared.values import rule_broken
from sync.decisions import Resolution
from sync.resolve import concurrent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from central.store.applying import Applying
    from central.store.changeset import Rows, Source
    from central.store.standing import Standing
    from shared.changes import ChangeBlock
    from sync.decisions import Write

#: What can't be read, or failed for reasons that nobody knows: it would fail here, too.
UNREADABLE: Final = frozenset({Reason.MALFORMED, Reason.FAULT, Reason.DATABASE})


async def overrule(
    applying: Applying, sources: Iterable[Source], *, is_shown: bool = False
) -> None:
    """Keep versions of changes that will not count, where they had not seen what others wrote.

    Of those that are shown, which their site has taken for applied, in any case.
    """
    await applying.plan(indexed=True)
    for block, places in _by_block(sources):
        # Not the whole block: of a large one the rows come in many portions.
        some = block.take([each.place for each in places])
        rows = as_sent(some, places[0].origin, applying.catalog)
        if rows is None or rows.table.fact or (rows.op is Op.DELETE and not is_shown):
            continue
        for portion in rows.slices(ROWS_MAX):
            found = enumerate(await read_standing(applying, portion))
            decisions = [_overruled(portion, row, each, is_shown=is_shown) for row, each in found]
            await overwrite(applying, portion, [each for each in decisions if each])


def _by_block(sources: Iterable[Source]) -> Iterable[tuple[ChangeBlock, list[Source]]]:
    found: dict[tuple[int, str], list[Source]] = defaultdict(list)
    for each in sources:
        found[id(each.block), each.origin.tx_id].append(each)
    return [(some[0].block, some) for some in found.values()]


def _overruled(rows: Rows, row: int, standing: Standing, *, is_shown: bool) -> Decision | None:
    """Return a change as one that takes no effect, if there is anything that it had not seen."""
    write = write_of(rows, row)
    unseen: frozenset[str] = frozenset()
    if standing.values is not None:
        unseen = concurrent(rows.table, standing.since, write) & write.new.keys()
    if standing.head is None or not (unseen or is_shown):
        return None
    return Decision(
        row=row,
        standing=standing,
        write=replace(
            write,
            op=Op.UPDATE,
            new={name: write.new[name] for name in unseen},
            author=replace(write.author, writer=_person(rows, write)),
        ),
        resolution=Resolution({}, overruled=unseen),
        version=str(uuid.uuid4()),
        is_clean=False,
        tells_site=True,
        counts=False,
    )


def _person(rows: Rows, write: Write) -> str | None:
    """Return who wrote, unless that is the very value that can't be taken."""
    column = rows.table.writer_column
    if column is None or rule_broken(column, write.new.get(column.name)) is not None:
        return None
    return write.author.writer
