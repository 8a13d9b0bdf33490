"""Packs neighbouring rows of one shape as one block: a row in a block of its own takes far more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.changes import ChangeBlock

#: Rows of one block, at most.
ROWS_MAX: Final = 2_000


@dataclass(slots=True)
class Neighbours:
    """Takes rows in order, and gives them on in blocks, in the same order."""

    take: Callable[[ChangeBlock], object]
    _waiting: list[ChangeBlock] = field(default_factory=list)
    _rows: int = 0

    def add(self, block: ChangeBlock | None) -> None:
        """Take a block; None, and one that has no rows, is nothing."""
        if block is None or not len(block):
            return
        if self._waiting and (
            _shape(block) != _shape(self._waiting[0]) or self._rows + len(block) > ROWS_MAX
        ):
            self.flush()
        self._waiting.append(block)
        self._rows += len(block)

    def flush(self) -> None:
        """Give on what waits."""
        if self._waiting:
            self.take(_joined(self._waiting))
            self._waiting, self._rows = [], 0


def _shape(block: ChangeBlock) -> tuple[object, ...]:
    return (block.table, block.op, block.columns, bool(block.at), len(block.new), len(block.old))


def _joined(blocks: list[ChangeBlock]) -> ChangeBlock:
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    times = [each for block in blocks for each in block.times or [None] * len(block)]
    return replace(
        first,
        sites=[each for block in blocks for each in block.sites],
        created=[each for block in blocks for each in block.created],
        ids=[each for block in blocks for each in block.ids],
        at=[each for block in blocks for each in block.at],
        base=[each for block in blocks for each in block.base],
        after=[each for block in blocks for each in block.after],
        new=[
            [each for block in blocks for each in block.new[place]]
            for place in range(len(first.new))
        ],
        old=[
            [each for block in blocks for each in block.old[place]]
            for place in range(len(first.old))
        ],
        times=times if any(times) else [],
    )
