"""Applies what has been judged: the transactions of a run, or the parts of a large one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from central.store.batch import Batch, merged, sorted_batch
from central.store.due import wake
from central.store.extras import forget_extras, keep_extras
from central.store.facts import apply_facts
from central.store.groups import apply_group, part_orphans, taken
from central.store.let_go import without_let_go
from central.store.parking import park
from central.store.releases import relaxing_tables
from shared.changes import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from central.store.applying import Applying
    from central.store.batch import Incoming
    from central.store.changeset import Origin, Refusal, Rows
    from central.store.spool import Whole
    from shared.catalog import Catalog
    from shared.changes import ChangeBlock


async def apply_transactions(
    applying: Applying, run: Iterable[Incoming], included: frozenset[str] = frozenset()
) -> None:
    """Apply transactions in their order; of those that are included only what is to be again."""
    gathered, facts = Batch(), Batch()
    for each in run:
        applying.tally.through_ms = max(applying.tally.through_ms, each.origin.through_ms)
        batch = each.batch
        if each.sent.tx_id in included:
            applying.came_home.add(each.origin.tx_id)
            batch = batch.again(await rows_again(applying, each.origin), each.catalog)
        facts.facts += batch.facts
        if batch.stands_alone or not gathered.goes_with(batch):
            await _apply_batch(applying, gathered)
            gathered = Batch()
        gathered.add(batch)
        if batch.stands_alone:
            await _apply_batch(applying, gathered)
            gathered = Batch()
    await _apply_batch(applying, gathered)
    await _apply_batch(applying, facts)
    await wake(applying)


async def apply_parts(applying: Applying, whole: Whole, *, is_included: bool = False) -> None:
    """Apply one transaction of any size, going over its parts once for each step.

    The memory is that of a part. Rows are tied to one another within a part only. Once a part was
    seen, it is unpacked again only for the steps that it has rows for.
    """
    origin = whole.origin
    catalog = applying.catalog
    applying.tally.through_ms = origin.through_ms
    applying.tally.hlc, applying.tally.offset_ms = origin.hlc, origin.offset_ms
    again = await rows_again(applying, origin) if is_included else None
    if is_included:
        applying.came_home.add(origin.tx_id)
    seen: dict[int, set[int]] = {}
    for step in range(_FACTS + 1):
        wanted = partial(_has_rows, seen, step)
        async for number, blocks in whole.blocks(applying.connection, wanted):
            ranks = [_rank(catalog, block) for block in blocks]
            seen[number] = set(ranks)
            some = [block for block, rank in zip(blocks, ranks, strict=True) if rank == step]
            if some:
                batch = sorted_batch(some, origin, catalog)
                await _apply_batch(
                    applying, batch if again is None else batch.again(again, catalog)
                )
                await wake(applying)
                applying.forget()


async def rows_again(applying: Applying, origin: Origin) -> set[tuple[str, str]]:
    """Return table and id of rows of a transaction that came home: of those to be applied again.

    They had not taken effect when the others came home.
    """
    again = await applying.connection.execute(
        b"SELECT table_name, row_id FROM sync.again WHERE site = %s AND tx_id = %s",
        [origin.site, origin.tx_id],
    )
    return set(await again.fetchall())


async def apply_blocks(applying: Applying, origin: Origin, blocks: Sequence[ChangeBlock]) -> None:
    """Apply some blocks of a transaction, by themselves and waking nothing that waits."""
    await _apply_batch(applying, sorted_batch(blocks, origin, applying.catalog))


def _has_rows(seen: Mapping[int, set[int]], step: int, number: int) -> bool:
    return number not in seen or step in seen[number]


def _rank(catalog: Catalog, block: ChangeBlock) -> int:
    """Return when a block is applied: in the order of ``groups.in_order``."""
    if block.table not in catalog or block.table in relaxing_tables(catalog):
        return 0
    return _FACTS if catalog.table(block.table).fact else _RANKS[block.op]


_RANKS: Final = {Op.DELETE: 1, Op.UPDATE: 2, Op.INSERT: 3}
_FACTS: Final = 4


async def _apply_batch(applying: Applying, batch: Batch) -> None:
    batch = await without_let_go(applying, batch)
    refused: list[Refusal] = []
    for rows in merged(batch.releases):
        refused += await _apply_facts(applying, rows)
    if batch.two_way or batch.refused:
        two_way = merged(batch.two_way)
        refused += await apply_group(applying, two_way, batch.refused)
        await forget_extras(applying, taken(two_way, refused) if applying.has_extras else ())
    for rows in merged(batch.facts):
        refused += await _apply_facts(applying, rows)
    await park(applying, refused)
    await keep_extras(applying, batch.extras, refused)


async def _apply_facts(applying: Applying, rows: Rows) -> list[Refusal]:
    with_parents, orphans = await part_orphans(applying, [rows])
    refused: list[Refusal] = list(orphans)
    for some in with_parents:
        refused += await apply_facts(applying, some)
    return refused
