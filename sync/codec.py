"""What crosses the wire: sync transactions, feed entries, snapshot chunks and control messages.

Bodies (the part of a message that hashes protect) are msgpack, compressed with zstd on their own:
the uncompressed bytes are frozen when they are first made, and no later release encodes again what
already has a hash. ``sync.frames`` wraps them.

Rows lie column by column: with zstd, 41 bytes for a production report of 665 bytes of JSON. A
column whose rows all hold the same text, or nothing, is stored once, as ``{"=": value}``. A
block in which columns have another time than their row ends in one field more (``sync.times``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgpack

from shared.changes import (
    SHARED,
    Ack,
    ChangeBlock,
    Fate,
    FeedEntry,
    HeadBlock,
    Op,
    Part,
    PartBody,
    Value,
)
from shared.errors import MalformedMessage
from sync.frames import (
    BODY_BYTES_MAX,
    FRAME_BYTES_MAX,
    MAGIC,
    WIRE_VERSION,
    body_size,
    check,
    check_hashes,
    compress,
    decode_fragment,
    decompress,
    fragments,
    frame,
    is_fragment,
    unframe,
    unpack,
)
from sync.protocol import digest
from sync.times import count_times, pack_times, unpack_times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "BODY_BYTES_MAX", "FRAME_BYTES_MAX", "MAGIC", "MESSAGE_BYTES_MAX", "PART_BYTES_MAX",
    "PART_LISTS_MAX", "VALUES_MAX", "WIRE_VERSION", "body_size", "compress", "count_lists",
    "count_values", "decode_body", "decode_chunk", "decode_control", "decode_entry",
    "decode_fragment", "decode_part", "decompress", "encode_body", "encode_chunk",
    "encode_control", "encode_entry", "encode_entry_body", "encode_part", "fragments",
    "is_fragment", "open_body",
]  # fmt: skip

#: Senders start a new part above this; compressed, a part stays below the broker's limit.
PART_BYTES_MAX = 2 << 20
#: Senders start a new part above so many lists, far below ``sync.frames.LISTS_MAX``.
PART_LISTS_MAX = 50_000
#: Largest compressed body in one message.
MESSAGE_BYTES_MAX = 768 << 10
#: Values of one body, those of columns that are stored once and of keys counted for every row:
#: a packer counts the same, and sends no more than one a byte.
VALUES_MAX = 2_000_000
#: A body that is larger holds a single row: senders cut whatever can be cut.
_ROWS_BYTES_MAX = 2 * PART_BYTES_MAX
#: What the lists of a single row hold, its columns and keys five times over.
_ROW_ITEMS_MAX = 1_000
#: Where the other end keeps a number: in 64 bits with a sign, the catalogue's version in 32.
_NUMBER_MAX = (1 << 63) - 1
_SCHEMA_MAX = (1 << 31) - 1
#: The fields of a block of changes; ``encode_body`` names them.
_ROWS = (str, str, list, object, object, list, object, object, object, list, list)
_OPS = {op.value: op for op in Op}
_FATES = {fate.value: fate for fate in Fate}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


# --- sync transactions, going up ------------------------------------------------------------------


def encode_part(part: Part) -> bytes:
    """Return the message that carries one part of a sync transaction."""
    return frame(
        "T",
        (
            part.site, part.epoch, part.n, part.tx_id, part.part, part.parts,
            part.previous, part.hash, list(part.digests), part.body,
        ),
    )  # fmt: skip


def decode_part(payload: bytes) -> Part:
    """Return the part; its body is still compressed and not yet checked against the digest."""
    fields = unframe(payload, "T")
    kinds = (str, str, int, str, int, int, bytes, bytes, list, bytes)
    check(fields, kinds, "a part")
    site, epoch, n, tx_id, number, parts, previous, own, digests, body = fields
    _check_ids(epoch, tx_id)
    check_hashes(previous, own, *digests)
    _check_number("n", n, low=1)
    if not (0 <= number < parts and len(digests) == parts):
        raise MalformedMessage(f"part {number} of {parts} with {len(digests)} digests")
    return Part(
        site=site, epoch=epoch, n=n, tx_id=tx_id, part=number, parts=parts,
        previous=previous, hash=own, digests=tuple(digests), body=body,
    )  # fmt: skip


def encode_body(body: PartBody) -> bytes:
    """Return the canonical bytes of a part's content, uncompressed."""
    blocks = [
        [
            block.table, block.op.value, list(block.columns),
            _pack_column(block.sites), _pack_column(block.created), block.ids,
            _pack_column(block.at), _pack_column(block.base), _pack_column(block.after),
            [_pack_column(column) for column in block.new],
            [_pack_column(column) for column in block.old],
            *pack_times(block.times),
        ]
        for block in body.blocks
    ]  # fmt: skip
    packed: bytes = msgpack.packb([body.schema, body.hlc, body.offset_ms, blocks])
    return packed


def open_body(part: Part) -> PartBody:
    """Return the content of a part, after its bytes were checked against the digest."""
    body = decompress(part.body)
    if digest(body) != part.digests[part.part]:
        raise MalformedMessage(
            f"the bytes of n {part.n}, part {part.part} don't match their digest"
        )
    return decode_body(body)


def decode_body(body: bytes) -> PartBody:
    """Return the content of a part's uncompressed bytes."""
    is_one_row = len(body) > _ROWS_BYTES_MAX
    fields = unpack(body, _ROW_ITEMS_MAX) if is_one_row else unpack(body)
    check(fields, (int, int, int, list), "a body")
    schema, hlc, offset_ms, blocks = fields
    _check_number("schema", schema, high=_SCHEMA_MAX)
    _check_number("hlc", hlc)
    _check_number("offset_ms", offset_ms, low=-_NUMBER_MAX)
    opened: list[ChangeBlock] = []
    values = 0
    for each in blocks:
        opened.append(_change_block(each, VALUES_MAX - values))
        values += count_values(opened[-1])
    if is_one_row and sum(map(len, opened)) > 1:
        raise MalformedMessage(f"{len(body)} bytes are too many for several rows; cut them")
    return PartBody(schema=schema, hlc=hlc, offset_ms=offset_ms, blocks=tuple(opened))


def count_values(block: ChangeBlock) -> int:
    """Return how many values a block has, keys and times included."""
    times = sum(3 * len(each) for each in block.times if each)
    return len(block) * (6 + len(block.new) + len(block.old)) + times


def count_lists(block: ChangeBlock) -> int:
    """Return how many lists a block has when it is encoded, at most, those of its keys included."""
    return 11 + len(block.new) + len(block.old) + (4 if block.times else 0)


def _change_block(fields: Any, values_max: int) -> ChangeBlock:
    times: Any = None
    if isinstance(fields, list) and len(fields) == len(_ROWS) + 1:
        *fields, times = fields
    check(fields, _ROWS, "rows")
    table, op, columns, sites, created, ids, at, base, after, new, old = fields
    rows = len(ids)
    values = rows * (6 + len(new) + len(old)) + count_times(table, times)
    _check_rows(table, columns, ids, values, values_max)
    if op not in _OPS:
        raise MalformedMessage(f"{table}: unknown operation {op!r}")
    block = ChangeBlock(
        table=table,
        op=_OPS[op],
        columns=tuple(columns),
        sites=_column(sites, rows, _is_text),
        created=_column(created, rows, _is_text),
        ids=ids,
        at=_column(at, rows, _is_int, may_lack=True),
        base=_column(base, rows, _is_text_or_none, may_lack=True),
        after=_column(after, rows, _is_text_or_none, may_lack=True),
        new=[_column(column, rows, _is_value) for column in new],
        old=[_column(column, rows, _is_value) for column in old],
        times=unpack_times(table, times, rows, len(columns)),
    )
    if len(block.new) != len(columns) or len(block.old) not in (0, len(columns)):
        raise MalformedMessage(f"{table}: {len(columns)} columns, values for {len(block.new)}")
    if not len(block.at) == len(block.base) == len(block.after):
        raise MalformedMessage(f"{table}: times, bases and predecessors differ in length")
    if block.times and not block.at:
        raise MalformedMessage(f"{table}: columns have times, the rows have none")
    return block


# --- feed entries and snapshot chunks, going down -------------------------------------------------


def encode_entry_body(
    *, beside: Mapping[str, int], schema: int, ack: Ack | None, blocks: Sequence[HeadBlock],
    made_at_ms: int, more: bool = False,
) -> bytes:  # fmt: skip
    """Return the canonical bytes of a feed entry, uncompressed; its hash is made over them."""
    acked = None if ack is None else [ack.epoch, ack.n, ack.safe_n, ack.hash]
    packed: bytes = msgpack.packb([beside, schema, acked, made_at_ms, more, _pack_heads(blocks)])
    return packed


def encode_entry(scope: str, pos: int, previous: bytes, own: bytes, body: bytes) -> bytes:
    """Return the message of a feed entry; ``body`` is compressed."""
    return frame("F", (scope, pos, previous, own, body))


def decode_entry(payload: bytes) -> tuple[FeedEntry, bytes]:
    """Return the entry, and its uncompressed body for the check of its hash."""
    fields = unframe(payload, "F")
    check(fields, (str, int, bytes, bytes, bytes), "a feed entry")
    scope, pos, previous, own, packed = fields
    check_hashes(previous, own)
    body = decompress(packed)
    inner = unpack(body)
    check(inner, (object, int, object, int, bool, list), "a feed entry's body")
    beside, schema, acked, made_at_ms, more, blocks = inner
    _check_number("pos", pos, low=1)
    _check_number("schema", schema, high=_SCHEMA_MAX)
    _check_number("made_at_ms", made_at_ms)
    entry = FeedEntry(
        scope=scope, pos=pos, previous=previous, hash=own, beside=_beside(beside),
        schema=schema, ack=_ack(acked), made_at_ms=made_at_ms, more=more,
        blocks=tuple(_head_block(fields) for fields in blocks),
    )  # fmt: skip
    return entry, body


def _ack(found: object) -> Ack | None:
    """Return the ack of an entry; once it came without the hash."""
    if found is None:
        return None
    fields: Any = [*found, None] if isinstance(found, list) and len(found) == 3 else found
    check(fields, (str, int, int, object), "an ack")
    epoch, n, safe_n, own = fields
    _check_number("an ack's n", n)
    _check_number("an ack's safe_n", safe_n)
    if own is not None:
        check_hashes(own)
    return Ack(epoch, n, safe_n, own)


def _beside(found: object) -> dict[str, int]:
    """Return where other feeds stood; once it was a bare number, and spoke of the shared one."""
    places = {SHARED: found} if type(found) is int else found
    if not isinstance(places, dict):
        raise MalformedMessage("beside: a place for each feed is expected")
    for scope, pos in places.items():
        check([scope, pos], (str, int), "beside")
        _check_number("beside", pos)
    return places


def encode_chunk(blocks: Sequence[HeadBlock]) -> bytes:
    """Return a snapshot chunk, compressed."""
    packed: bytes = msgpack.packb(_pack_heads(blocks))
    return compress(packed)


def decode_chunk(chunk: bytes) -> tuple[HeadBlock, ...]:
    """Return the rows of a snapshot chunk."""
    blocks = unpack(decompress(chunk))
    if not isinstance(blocks, list):
        raise MalformedMessage("a snapshot chunk is a list of blocks")
    return tuple(_head_block(fields) for fields in blocks)


def _pack_heads(blocks: Sequence[HeadBlock]) -> list[object]:
    return [
        [
            block.table, block.fate.value, list(block.columns),
            _pack_column(block.sites), _pack_column(block.created), block.ids,
            _pack_column(block.version), block.order,
            [_pack_column(column) for column in block.new],
        ]
        for block in blocks
    ]  # fmt: skip


def _head_block(fields: Any) -> HeadBlock:
    check(fields, (str, str, list, object, object, list, object, list, list), "rows")
    table, fate, columns, sites, created, ids, version, order, new = fields
    rows = len(ids)
    _check_rows(table, columns, ids, rows * (6 + len(new)))
    if fate not in _FATES:
        raise MalformedMessage(f"{table}: unknown fate {fate!r}")
    if len(new) != len(columns):
        raise MalformedMessage(f"{table}: {len(columns)} columns, values for {len(new)}")
    orders = _column(order, rows, _is_int)
    _check_number("an order", min(orders, default=0))
    _check_number("an order", max(orders, default=0))
    return HeadBlock(
        table=table,
        fate=_FATES[fate],
        columns=tuple(columns),
        sites=_column(sites, rows, _is_text),
        created=_column(created, rows, _is_text),
        ids=ids,
        version=_column(version, rows, _is_text),
        order=orders,
        new=[_column(column, rows, _is_value) for column in new],
    )


# --- control messages -----------------------------------------------------------------------------


def encode_control(fields: dict[str, Any]) -> bytes:
    """Return a request to the control service, or its answer."""
    return frame("C", (fields,))


def decode_control(payload: bytes) -> dict[str, Any]:
    """Return the fields of a control message."""
    fields = unframe(payload, "C")
    check(fields, (dict,), "a control message")
    control: dict[str, Any] = fields[0]
    return control


# --- columns and checks ---------------------------------------------------------------------------


def _pack_column(column: Sequence[Value]) -> object:
    # Only text and None: 1, 1.0 and True are equal to list.count, but not the same value.
    if len(column) > 1 and (column[0] is None or type(column[0]) is str):
        return {"=": column[0]} if column.count(column[0]) == len(column) else column
    return column


def _column(
    packed: Any, rows: int, fits: Callable[[Any], bool], *, may_lack: bool = False
) -> list[Any]:
    if isinstance(packed, dict) and set(packed) == {"="}:
        packed = [packed["="]] * rows
    if not isinstance(packed, list) or (len(packed) != rows and not (may_lack and not packed)):
        raise MalformedMessage(f"a column does not have {rows} values")
    # One look at each type that occurs, not at each value: a column has one or two of them.
    if not all(fits(kind) for kind in set(map(type, packed))):
        raise MalformedMessage("a column holds values of a type that can't be there")
    return packed


def _is_text(kind: type) -> bool:
    return kind is str


def _is_int(kind: type) -> bool:
    return kind is int


def _is_text_or_none(kind: type) -> bool:
    return kind is str or kind is type(None)


def _is_value(kind: type) -> bool:
    return kind in (str, int, float, bytes, type(None))


def _check_rows(
    table: str, columns: list[Any], ids: list[Any], values: int, values_max: int = VALUES_MAX
) -> None:
    if not set(map(type, columns)) <= {str} or len(set(columns)) != len(columns):
        raise MalformedMessage(f"{table}: column names must be texts, each once")
    if not set(map(type, ids)) <= {str}:
        raise MalformedMessage(f"{table}: ids must be texts")
    if values > values_max:
        raise MalformedMessage(f"{table}: {len(ids)} rows of {len(columns)} columns are too many")


def _check_number(name: str, number: int, *, low: int = 0, high: int = _NUMBER_MAX) -> None:
    if not low <= number <= high:
        raise MalformedMessage(f"{name} is {number}, from {low} to {high} is expected")


def _check_ids(*ids: str) -> None:
    for each in ids:
        if not _ID.fullmatch(each):
            raise MalformedMessage(f"{each[:40]!r} is not a UUID in text form")
