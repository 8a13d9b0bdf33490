"""Packs the blocks of a sync transaction into parts that fit the broker's messages.

Parts are encoded one by one and kept in a file beyond a few megabytes, so a transaction of a
million rows needs no more memory than one of ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final

from shared.changes import PartBody
from sync import codec
from sync.protocol import digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from shared.changes import ChangeBlock

#: Compressed bodies beyond it are kept in a file until the transaction is whole.
MEMORY_BYTES_MAX: Final = 4 << 20
#: What a value takes in a body, until the first part has told better.
_VALUE_BYTES: Final = 16.0
#: Parts are filled to this share of the limit: the estimate may be off by the rest.
_FILL: Final = 0.8
#: Of a row that fits no message otherwise, replaced values beyond it are left out.
_OLD_MAX: Final = 1 << 16


@dataclass(slots=True)
class Packer:
    """Takes blocks in order, makes parts of them; a context, which drops the file at its end."""

    schema: int
    hlc: int
    offset_ms: int
    digests: list[bytes] = field(default_factory=list)
    #: Single rows that fit no message, each as a block of one.
    too_large: list[ChangeBlock] = field(default_factory=list)
    _waiting: list[ChangeBlock] = field(default_factory=list)
    _values: int = 0
    _lists: int = 0
    _value_bytes: float = _VALUE_BYTES
    #: Rows and bytes of each part.
    _sizes: list[tuple[int, int]] = field(default_factory=list)
    _bodies: SpooledTemporaryFile[bytes] = field(
        default_factory=lambda: SpooledTemporaryFile(max_size=MEMORY_BYTES_MAX)  # noqa: SIM115
    )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Drop the bodies."""
        self._bodies.close()

    def add(self, block: ChangeBlock) -> None:
        """Take a block; its rows go into the next part, or several."""
        room = _FILL * codec.PART_BYTES_MAX / self._value_bytes
        full = self._values + codec.count_values(block) > room
        if full or self._lists + codec.count_lists(block) > codec.PART_LISTS_MAX:
            self.flush()
        if codec.count_values(block) > room:
            for piece in _pieces(block, int(codec.count_values(block) / room) + 1):
                self._pack([piece])
        else:
            self._waiting.append(block)
            self._values += codec.count_values(block)
            self._lists += codec.count_lists(block)

    def flush(self) -> None:
        """Make a part of what waits."""
        if self._waiting:
            self._pack(self._waiting)
            self._waiting, self._values, self._lists = [], 0, 0

    def bodies(self) -> Iterator[tuple[int, bytes]]:
        """Yield the parts in order: how many rows, and the compressed body."""
        self._bodies.seek(0)
        for rows, size in self._sizes:
            yield rows, self._bodies.read(size)

    @property
    def rows(self) -> int:
        """Return the number of rows in all parts."""
        return sum(rows for rows, _ in self._sizes)

    @property
    def size(self) -> int:
        """Return the bytes of all compressed bodies."""
        return sum(size for _, size in self._sizes)

    def _pack(self, blocks: list[ChangeBlock]) -> None:
        body = codec.encode_body(
            PartBody(self.schema, self.hlc, self.offset_ms, blocks=tuple(blocks))
        )
        values = sum(map(codec.count_values, blocks))
        self._value_bytes = max(len(body) / values, 1.0)
        alone = len(blocks) == 1 and len(blocks[0]) == 1
        packed = codec.compress(body) if alone or len(body) <= codec.PART_BYTES_MAX else None
        # A single row may be larger than a message: it goes in fragments.
        fits = packed is not None and (alone or len(packed) <= codec.MESSAGE_BYTES_MAX)
        if packed is not None and fits and len(body) <= codec.BODY_BYTES_MAX:
            self._keep(body, packed, rows=sum(map(len, blocks)))
        elif alone and (lighter := _without_long_old(blocks[0])):
            self._pack([lighter])
        elif alone:
            self.too_large.append(blocks[0])
        else:
            for half in _halves(blocks):
                self._pack(half)

    def _keep(self, body: bytes, packed: bytes, *, rows: int) -> None:
        self.digests.append(digest(body))
        self._sizes.append((rows, len(packed)))
        self._bodies.write(packed)


def _without_long_old(block: ChangeBlock) -> ChangeBlock | None:
    """Return a row without the long values that it replaces; None where it replaces none.

    They tell a person what the writer saw. What was written comes first.
    """
    kept = [
        [
            None if isinstance(value, str | bytes) and len(value) > _OLD_MAX else value
            for value in old
        ]
        for old in block.old
    ]
    return None if kept == block.old else replace(block, old=kept)


def _halves(blocks: list[ChangeBlock]) -> list[list[ChangeBlock]]:
    if len(blocks) > 1:
        middle = len(blocks) // 2
        return [blocks[:middle], blocks[middle:]]
    return [[piece] for piece in _pieces(blocks[0], 2)]


def _pieces(block: ChangeBlock, count: int) -> Iterator[ChangeBlock]:
    """Yield a block's rows in blocks of about the same size."""
    size = -(-len(block) // count)
    for start in range(0, len(block), size):
        yield block.part(slice(start, start + size))
