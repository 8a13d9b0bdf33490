"""Frames: how a message is wrapped, compressed, cut into pieces, and unwrapped without trust.

A frame is four bytes, ``b"MES"`` and the wire version, then one msgpack array. Decoding never
trusts its input: sizes are bounded before anything is allocated, and whatever is not exactly a
message of ours raises ``MalformedMessage`` or ``UnknownWireVersion``, nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import zstandard

from shared.errors import MalformedMessage, UnknownWireVersion
from sync.protocol import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

WIRE_VERSION = 1
MAGIC = b"MES"

#: Largest uncompressed body that is accepted, against bombs; senders stay far below.
BODY_BYTES_MAX = 64 << 20
#: A message above this, which holds a single huge row, is cut into fragments.
FRAME_BYTES_MAX = 900 << 10

#: Lists in one message, fifty megabytes in memory; every column is one, and a block has a dozen.
#: As many as fit into ``sync.codec.PART_BYTES_MAX``, since packers once counted bytes alone.
LISTS_MAX = 700_000
#: Elements of all lists of a message: as many as a body of several rows has bytes, at most.
ITEMS_MAX = 4 << 20
_MAP_KEYS_MAX = 1_000
_LEVEL = 1  # level 3 saves 6 % of the bytes for twice the time
_HASH = 32


def frame(kind: str, fields: Sequence[object]) -> bytes:
    """Return the message of this kind."""
    packed: bytes = msgpack.packb([kind, *fields])
    return MAGIC + bytes((WIRE_VERSION,)) + packed


def unframe(payload: bytes, kind: str) -> list[Any]:
    """Return the fields of a message that must be of this kind."""
    if payload[:3] != MAGIC or len(payload) < 5:
        raise MalformedMessage(f"not a message of mes-sync: it starts with {payload[:4]!r}")
    if payload[3] != WIRE_VERSION:
        raise UnknownWireVersion(
            f"the message has wire version {payload[3]}, this release reads {WIRE_VERSION}; "
            "upgrade this side"
        )
    fields = unpack(payload[4:])
    if not isinstance(fields, list) or not fields or fields[0] != kind:
        raise MalformedMessage(f"a message of kind {kind!r} was expected")
    return fields[1:]


def unpack(packed: bytes, items_max: int = ITEMS_MAX) -> Any:
    """Return what was packed, within the bounds on lists and maps."""
    lists = items = 0

    def counted(found: Any) -> Any:
        # A body may have 64 MiB: that many empty lists, or maps, would take five gigabytes in
        # memory, and one list of as many nulls half a gigabyte.
        nonlocal lists, items
        lists += 1
        items += len(found)
        if lists > LISTS_MAX or items > items_max:
            raise ValueError(f"more than {LISTS_MAX} lists, or {items_max} values in them")
        return found

    try:
        # msgpack makes its own kind of time itself, whatever the hook says: as a number it is the
        # least, and what takes the value looks at its type.
        return msgpack.unpackb(
            packed, strict_map_key=True, list_hook=counted, object_hook=counted,
            ext_hook=_not_ours, timestamp=1, max_array_len=items_max, max_map_len=_MAP_KEYS_MAX,
        )  # fmt: skip
    except (ValueError, TypeError, RecursionError) as error:  # msgpack's errors are ValueErrors
        raise MalformedMessage(f"the message can't be unpacked: {error}") from error


def _not_ours(code: int, _: bytes) -> Any:
    """Refuse an extension type: no message has one, and millions would fit in few bytes."""
    raise ValueError(f"it has values of the extension type {code}")


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
    return [frame("X", (whole, k, len(pieces), piece)) for k, piece in enumerate(pieces)]


def is_fragment(payload: bytes) -> bool:
    """Return whether a message is only a piece of one."""
    return payload[4:7] == b"\x95\xa1X"


def decode_fragment(payload: bytes) -> tuple[bytes, int, int, bytes]:
    """Return the digest of the whole message, the piece's number, their count, and the piece."""
    fields = unframe(payload, "X")
    check(fields, (bytes, int, int, bytes), "a fragment")
    whole, number, count, piece = fields
    check_hashes(whole)
    if not 0 <= number < count <= BODY_BYTES_MAX // FRAME_BYTES_MAX + 1:
        raise MalformedMessage(f"piece {number} of {count}")
    return whole, number, count, piece


def check(fields: Any, kinds: tuple[type, ...], what: str) -> None:
    """Refuse fields that are not one of each of these kinds."""
    if not isinstance(fields, list) or len(fields) != len(kinds):
        raise MalformedMessage(f"{what} has {len(kinds)} fields")
    for value, kind in zip(fields, kinds, strict=True):
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise MalformedMessage(f"{what}: {kind.__name__} expected, got {type(value).__name__}")


def check_hashes(*hashes: object) -> None:
    """Refuse what is not a hash."""
    for each in hashes:
        if not isinstance(each, bytes) or len(each) != _HASH:
            raise MalformedMessage("a hash has 32 bytes")
