"""What crosses the wire: sync transactions, feed entries, snapshot chunks and control messages.

A frame is four bytes, ``b"MES"`` and the wire version, then one msgpack array. Bodies (the part
that hashes protect) are msgpack too, compressed with zstd on their own: the uncompressed bytes are
frozen when they are first made, and no later release encodes again what already has a hash.

Rows lie column by column: with zstd, 41 bytes for a production report of 665 bytes of JSON. A
column whose rows all hold the same text, or nothing, is stored once, as ``{"=": value}``.

Decoding never trusts its input: sizes are bounded before anything is allocated, and whatever is not
exactly a message of ours raises ``MalformedMessage`` or ``UnknownWireVersion``, nothing else.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import msgpack
import zstandard

from shared.changes import Ack, ChangeBlock, Fate, FeedEntry, HeadBlock, Op, Part, PartBody, Value
from shared.errors import MalformedMessage, UnknownWireVersion
from sync.protocol import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIRE_VERSION = 1
MAGIC = b"MES"

#: Largest uncompressed body that is accepted, against bombs; senders stay far below.
BODY_BYTES_MAX = 64 << 20
#: Senders start a new part above this; compressed, a part stays below the broker's limit.
PART_BYTES_MAX = 2 << 20
#: Largest compressed body in one message.
MESSAGE_BYTES_MAX = 768 << 10
#: A message above this, which holds a single huge row, is cut into fragments.
FRAME_BYTES_MAX = 900 << 10

#: Lists in one message: every column is one, and every block has a dozen.
LISTS_MAX = 100_000
#: Values of one block, those of columns that are stored once counted for every row.
VALUES_MAX = 8_000_000
_MAP_KEYS_MAX = 1_000
_LEVEL = 1  # level 3 saves 6 % of the bytes for twice the time
_OPS = {op.value: op for op in Op}
_FATES = {fate.value: fate for fate in Fate}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_HASH = 32


# --- frames ---------------------------------------------------------------------------------------


def _frame(kind: str, fields: Sequence[object]) -> bytes:
    packed: bytes = msgpack.packb([kind, *fields])
    return MAGIC + bytes((WIRE_VERSION,)) + packed


def _unframe(payload: bytes, kind: str) -> list[Any]:
    if payload[:3] != MAGIC or len(payload) < 5:
        raise MalformedMessage(f"not a message of mes-sync: it starts with {payload[:4]!r}")
    if payload[3] != WIRE_VERSION:
        raise UnknownWireVersion(
            f"the message has wire version {payload[3]}, this release reads {WIRE_VERSION}; "
            "upgrade this side"
        )
    fields = _unpackb(payload[4:])
    if not isinstance(fields, list) or not fields or fields[0] != kind:
        raise MalformedMessage(f"a message of kind {kind!r} was expected")
    return fields[1:]


def _unpackb(packed: bytes) -> Any:
    lists = itertools.count()

    def counted(found: list[Any]) -> list[Any]:
        # A million empty lists fit into a megabyte, and take eighty in memory.
        if next(lists) > LISTS_MAX:
            raise ValueError(f"more than {LISTS_MAX} lists")
        return found

    try:
        return msgpack.unpackb(
            packed, strict_map_key=True, list_hook=counted, max_map_len=_MAP_KEYS_MAX
        )
    except (ValueError, TypeError, RecursionError) as error:  # msgpack's errors are ValueErrors
        raise MalformedMessage(f"the message can't be unpacked: {error}") from error


def compress(body: bytes) -> bytes:
    """Return the body compressed."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def body_size(packed: bytes) -> int:
    """Return how many bytes a body has when it is decompressed; refuses one that is too large."""
    try:
        size = zstandard.frame_content_size(packed)
    except zstandard.ZstdError as error:
        raise MalformedMessage(f"the body can't be decompressed: {error}") from error
    if not 0 <= size <= BODY_BYTES_MAX:
        raise MalformedMessage(f"the body says it has {size} bytes, {BODY_BYTES_MAX} are allowed")
    return size


def decompress(packed: bytes) -> bytes:
    """Return the uncompressed body; refuses one larger than ``BODY_BYTES_MAX``."""
    body_size(packed)
    try:
        return zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise MalformedMessage(f"the body can't be decompressed: {error}") from error


def fragments(message: bytes) -> list[bytes]:
    """Return the messages that carry this one: itself, or its pieces where it is too large."""
    if len(message) <= FRAME_BYTES_MAX:
        return [message]
    pieces = [message[i : i + FRAME_BYTES_MAX] for i in range(0, len(message), FRAME_BYTES_MAX)]
    whole = digest(message)
    return [_frame("X", (whole, k, len(pieces), piece)) for k, piece in enumerate(pieces)]


def is_fragment(payload: bytes) -> bool:
    """Return whether a message is only a piece of one."""
    return payload[4:7] == b"\x95\xa1X"


def decode_fragment(payload: bytes) -> tuple[bytes, int, int, bytes]:
    """Return the digest of the whole message, the piece's number, their count, and the piece."""
    fields = _unframe(payload, "X")
    _check(fields, (bytes, int, int, bytes), "a fragment")
    whole, number, count, piece = fields
    _check_hashes(whole)
    if not 0 <= number < count <= BODY_BYTES_MAX // FRAME_BYTES_MAX + 1:
        raise MalformedMessage(f"piece {number} of {count}")
    return whole, number, count, piece


# --- sync transactions, going up ------------------------------------------------------------------


def encode_part(part: Part) -> bytes:
    """Return the message that carries one part of a sync transaction."""
    return _frame(
        "T",
        (
            part.site, part.epoch, part.n, part.tx_id, part.part, part.parts,
            part.previous, part.hash, list(part.digests), part.body,
        ),
    )  # fmt: skip


def decode_part(payload: bytes) -> Part:
    """Return the part; its body is still compressed and not yet checked against the digest."""
    fields = _unframe(payload, "T")
    kinds = (str, str, int, str, int, int, bytes, bytes, list, bytes)
    _check(fields, kinds, "a part")
    site, epoch, n, tx_id, number, parts, previous, own, digests, body = fields
    _check_ids(epoch, tx_id)
    _check_hashes(previous, own, *digests)
    if not (n >= 1 and 0 <= number < parts and len(digests) == parts):
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
    fields = _unpackb(body)
    _check(fields, (int, int, int, list), "a body")
    schema, hlc, offset_ms, blocks = fields
    return PartBody(
        schema=schema,
        hlc=hlc,
        offset_ms=offset_ms,
        blocks=tuple(_change_block(fields) for fields in blocks),
    )


def _change_block(fields: Any) -> ChangeBlock:
    _check(
        fields, (str, str, list, object, object, list, object, object, object, list, list), "rows"
    )
    table, op, columns, sites, created, ids, at, base, after, new, old = fields
    rows = len(ids)
    _check_rows(table, columns, ids)
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
    )
    if len(block.new) != len(columns) or len(block.old) not in (0, len(columns)):
        raise MalformedMessage(f"{table}: {len(columns)} columns, values for {len(block.new)}")
    if not len(block.at) == len(block.base) == len(block.after):
        raise MalformedMessage(f"{table}: times, bases and predecessors differ in length")
    return block


# --- feed entries and snapshot chunks, going down -------------------------------------------------


def encode_entry_body(
    *, shared_pos: int, schema: int, ack: Ack | None, blocks: Sequence[HeadBlock], made_at_ms: int,
    more: bool = False,
) -> bytes:  # fmt: skip
    """Return the canonical bytes of a feed entry, uncompressed; its hash is made over them."""
    acked = None if ack is None else [ack.epoch, ack.n, ack.safe_n]
    packed: bytes = msgpack.packb(
        [shared_pos, schema, acked, made_at_ms, more, _pack_heads(blocks)]
    )
    return packed


def encode_entry(scope: str, pos: int, previous: bytes, own: bytes, body: bytes) -> bytes:
    """Return the message of a feed entry; ``body`` is compressed."""
    return _frame("F", (scope, pos, previous, own, body))


def decode_entry(payload: bytes) -> tuple[FeedEntry, bytes]:
    """Return the entry, and its uncompressed body for the check of its hash."""
    fields = _unframe(payload, "F")
    _check(fields, (str, int, bytes, bytes, bytes), "a feed entry")
    scope, pos, previous, own, packed = fields
    _check_hashes(previous, own)
    body = decompress(packed)
    inner = _unpackb(body)
    _check(inner, (int, int, object, int, bool, list), "a feed entry's body")
    shared_pos, schema, acked, made_at_ms, more, blocks = inner
    if acked is not None:
        _check(acked, (str, int, int), "an ack")
    entry = FeedEntry(
        scope=scope, pos=pos, previous=previous, hash=own, shared_pos=shared_pos, schema=schema,
        ack=None if acked is None else Ack(*acked), made_at_ms=made_at_ms, more=more,
        blocks=tuple(_head_block(fields) for fields in blocks),
    )  # fmt: skip
    return entry, body


def encode_chunk(blocks: Sequence[HeadBlock]) -> bytes:
    """Return a snapshot chunk, compressed."""
    packed: bytes = msgpack.packb(_pack_heads(blocks))
    return compress(packed)


def decode_chunk(chunk: bytes) -> tuple[HeadBlock, ...]:
    """Return the rows of a snapshot chunk."""
    blocks = _unpackb(decompress(chunk))
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
    _check(fields, (str, str, list, object, object, list, object, list, list), "rows")
    table, fate, columns, sites, created, ids, version, order, new = fields
    rows = len(ids)
    _check_rows(table, columns, ids)
    if fate not in _FATES:
        raise MalformedMessage(f"{table}: unknown fate {fate!r}")
    if len(new) != len(columns):
        raise MalformedMessage(f"{table}: {len(columns)} columns, values for {len(new)}")
    return HeadBlock(
        table=table,
        fate=_FATES[fate],
        columns=tuple(columns),
        sites=_column(sites, rows, _is_text),
        created=_column(created, rows, _is_text),
        ids=ids,
        version=_column(version, rows, _is_text),
        order=_column(order, rows, _is_int),
        new=[_column(column, rows, _is_value) for column in new],
    )


# --- control messages -----------------------------------------------------------------------------


def encode_control(fields: dict[str, Any]) -> bytes:
    """Return a request to the control service, or its answer."""
    return _frame("C", (fields,))


def decode_control(payload: bytes) -> dict[str, Any]:
    """Return the fields of a control message."""
    fields = _unframe(payload, "C")
    _check(fields, (dict,), "a control message")
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


def _check(fields: Any, kinds: tuple[type, ...], what: str) -> None:
    if not isinstance(fields, list) or len(fields) != len(kinds):
        raise MalformedMessage(f"{what} has {len(kinds)} fields")
    for value, kind in zip(fields, kinds, strict=True):
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise MalformedMessage(f"{what}: {kind.__name__} expected, got {type(value).__name__}")


def _check_rows(table: str, columns: list[Any], ids: list[Any]) -> None:
    if not set(map(type, columns)) <= {str} or len(set(columns)) != len(columns):
        raise MalformedMessage(f"{table}: column names must be texts, each once")
    if not set(map(type, ids)) <= {str}:
        raise MalformedMessage(f"{table}: ids must be texts")
    if len(ids) * (len(columns) + 1) > VALUES_MAX:
        raise MalformedMessage(f"{table}: {len(ids)} rows of {len(columns)} columns are too many")


def _check_ids(*ids: str) -> None:
    for each in ids:
        if not _ID.fullmatch(each):
            raise MalformedMessage(f"{each[:40]!r} is not a UUID in text form")


def _check_hashes(*hashes: object) -> None:
    for each in hashes:
        if not isinstance(each, bytes) or len(each) != _HASH:
            raise MalformedMessage("a hash has 32 bytes")
