"""What is encoded comes back the same, and whatever else comes in is refused, never believed."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.changes import SHARED, Ack, ChangeBlock, Fate, HeadBlock, Op, Part, PartBody
from shared.errors import MalformedMessage, Poison, UnknownWireVersion
from sync import codec, protocol
from sync.frames import frame

ID = "018f4b7e-0000-7000-8000-000000000001"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=20),
)
names = st.lists(texts, min_size=1, max_size=4, unique=True)


@st.composite
def change_blocks(draw):
    rows = draw(st.integers(1, 5))
    columns = draw(names)
    column = st.lists(values, min_size=rows, max_size=rows)
    text_column = st.lists(texts, min_size=rows, max_size=rows)
    maybe = st.lists(st.one_of(st.none(), texts), min_size=rows, max_size=rows)
    two_way = draw(st.booleans())
    times = draw(st.lists(st.none() | column_times(len(columns)), min_size=rows, max_size=rows))
    return ChangeBlock(
        table=draw(texts),
        op=draw(st.sampled_from(Op)),
        columns=tuple(columns),
        sites=draw(text_column),
        created=draw(text_column),
        ids=draw(text_column),
        at=draw(st.lists(st.integers(0, 2**50), min_size=rows, max_size=rows)) if two_way else [],
        base=draw(maybe) if two_way else [],
        after=draw(maybe) if two_way else [],
        new=[draw(column) for _ in columns],
        old=[draw(column) for _ in columns] if two_way else [],
        times=times if two_way and any(times) else [],
    )


def column_times(columns):
    """Return some of the columns, parted by their times."""
    places = st.dictionaries(st.integers(0, columns - 1), st.integers(0, 2**50), min_size=1)
    return places.map(lambda each: tuple((1 << place, at) for place, at in each.items()))


@st.composite
def head_blocks(draw):
    rows = draw(st.integers(1, 5))
    columns = draw(names)
    text_column = st.lists(texts, min_size=rows, max_size=rows)
    return HeadBlock(
        table=draw(texts),
        fate=draw(st.sampled_from(Fate)),
        columns=tuple(columns),
        sites=draw(text_column),
        created=draw(text_column),
        ids=draw(text_column),
        version=draw(text_column),
        order=draw(st.lists(st.integers(0, 2**60), min_size=rows, max_size=rows)),
        new=[draw(st.lists(values, min_size=rows, max_size=rows)) for _ in columns],
    )


def same_types(left, right):
    """1 == 1.0 == True in Python, but not on the wire."""
    return repr(left) == repr(right)


@given(st.lists(change_blocks(), max_size=4), st.integers(1, 9), st.integers(0, 2**62))
def test_a_body_comes_back_value_for_value_and_type_for_type(blocks, schema, hlc):
    body = PartBody(schema, hlc, -5, tuple(blocks))
    assert same_types(codec.decode_body(codec.encode_body(body)), body)


@given(st.lists(head_blocks(), max_size=4))
def test_a_snapshot_chunk_comes_back_value_for_value(blocks):
    assert same_types(codec.decode_chunk(codec.encode_chunk(blocks)), tuple(blocks))


@given(st.lists(head_blocks(), max_size=3), st.booleans(), st.booleans())
def test_a_feed_entry_comes_back_with_its_body_for_the_hash(blocks, acked, more):
    ack = Ack(ID, 7, 3, b"a" * 32) if acked else None
    body = codec.encode_entry_body(
        beside={SHARED: 4}, schema=2, ack=ack, blocks=blocks, made_at_ms=99, more=more
    )
    own = protocol.entry_hash(bytes(32), "SITE_001", 5, body)
    message = codec.encode_entry("SITE_001", 5, bytes(32), own, codec.compress(body))
    entry, kept = codec.decode_entry(message)
    assert kept == body
    assert (entry.scope, entry.pos, entry.hash) == ("SITE_001", 5, own)
    assert (entry.ack, entry.more, entry.beside) == (ack, more, {SHARED: 4})
    assert same_types(entry.blocks, tuple(blocks))


def a_part(body: bytes | None = None, **changed) -> Part:
    body = body or codec.encode_body(PartBody(1, 2, 3, ()))
    fields = {
        "site": "SITE_001", "epoch": ID, "n": 1, "tx_id": ID, "part": 0, "parts": 1,
        "previous": bytes(32), "hash": bytes(32), "digests": (protocol.digest(body),),
        "body": codec.compress(body),
    }  # fmt: skip
    return Part(**fields | changed)


def test_an_ack_without_a_hash_is_still_read():
    body = msgpack.packb([{}, 1, [ID, 7, 3], 0, False, []])
    message = codec.encode_entry("SITE_001", 1, b"a" * 32, b"b" * 32, codec.compress(body))
    assert codec.decode_entry(message)[0].ack == Ack(ID, 7, 3)


def test_a_part_comes_back_and_its_body_is_checked_against_its_digest():
    part = a_part()
    assert codec.decode_part(codec.encode_part(part)) == part
    assert codec.open_body(part) == PartBody(1, 2, 3, ())
    with pytest.raises(MalformedMessage, match="digest"):
        codec.open_body(a_part(digests=(bytes(32),)))


def test_a_newer_wire_version_is_told_from_rubbish():
    message = bytearray(codec.encode_part(a_part()))
    message[3] += 1
    with pytest.raises(UnknownWireVersion, match="upgrade this side"):
        codec.decode_part(bytes(message))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else_happens(payload):
    for decode in (codec.decode_part, codec.decode_entry, codec.decode_chunk, codec.decode_control):
        with pytest.raises(Poison):
            decode(payload)


@given(st.data())
def test_a_damaged_message_is_refused_by_form_hash_or_site_or_says_the_same(data):
    own = protocol.transaction_hash(bytes(32), ID, 1, ID, a_part().digests)
    part = a_part(hash=own)
    message = bytearray(codec.encode_part(part))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] ^= data.draw(st.integers(1, 255))
    del message[data.draw(st.integers(0, len(message))) :]
    try:
        read = codec.decode_part(bytes(message))
        body = codec.open_body(read)
    except Poison:
        return
    own = protocol.transaction_hash(read.previous, read.epoch, read.n, read.tx_id, read.digests)
    if (own, read.site) == (read.hash, "SITE_001"):  # what the ingest looks at
        assert (replace(read, body=part.body), body) == (part, codec.open_body(part))


@given(
    st.recursive(
        values | st.booleans(),
        lambda inner: st.lists(inner, max_size=12) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=40,
    )
)
def test_well_formed_msgpack_of_another_shape_is_refused(shape):
    for kind, decode in (("T", codec.decode_part), ("F", codec.decode_entry)):
        fields = shape if isinstance(shape, list) else [shape]
        frame = codec.MAGIC + bytes((codec.WIRE_VERSION,)) + msgpack.packb([kind, *fields])
        with pytest.raises(MalformedMessage):
            decode(frame)
    with pytest.raises(MalformedMessage):
        codec.decode_body(msgpack.packb(shape))


def test_numbers_that_compare_equal_are_not_packed_as_one():
    column = [1, 1.0, 1]
    block = ChangeBlock(
        "t", Op.INSERT, ("c",), ["S"] * 3, ["now"] * 3, ["a", "b", "c"], new=[column]
    )
    body = PartBody(1, 2, 3, (block,))
    assert same_types(codec.decode_body(codec.encode_body(body)), body)


TWO_ROWS = {
    "table": "t", "op": Op.UPDATE, "columns": ("c",), "sites": ["S", "T"],
    "created": ["now", "then"], "ids": ["a", "b"], "at": [1, 2], "base": [ID, None],
    "after": [None, ID], "new": [[1, 2]], "old": [[0, 1]],
}  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ["sites", "created", "at", "base", "after", "new", "old"])
def test_a_column_of_more_or_fewer_values_than_rows_is_refused(name, rows):
    whole = TWO_ROWS[name][0] if name in ("new", "old") else TWO_ROWS[name]
    column = (whole * 2)[:rows]
    block = ChangeBlock(**TWO_ROWS | {name: [column] if name in ("new", "old") else column})
    assert codec.decode_body(codec.encode_body(PartBody(1, 2, 3, (ChangeBlock(**TWO_ROWS),))))
    with pytest.raises(MalformedMessage):
        codec.decode_body(codec.encode_body(PartBody(1, 2, 3, (block,))))


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, msgpack.ExtType(7, b"x")])
def test_a_value_of_a_type_that_no_column_has_is_refused(value):
    for name in ("new", "old"):
        block = ChangeBlock(**TWO_ROWS | {name: [[1, value]]})
        with pytest.raises(MalformedMessage):
            codec.decode_body(codec.encode_body(PartBody(1, 2, 3, (block,))))


def test_a_message_of_another_kind_is_refused_though_its_fields_would_fit():
    assert codec.decode_control(frame("C", ({"n": 1},))) == {"n": 1}
    with pytest.raises(MalformedMessage, match="kind 'C'"):
        codec.decode_control(frame("Q", ({"n": 1},)))


@pytest.mark.parametrize("n", [-1, 0, 2**63, 2**64 - 1])
def test_a_number_that_no_position_can_have_is_refused(n):
    with pytest.raises(MalformedMessage, match=f"n is {n}"):
        codec.decode_part(codec.encode_part(a_part(n=n)))
    assert codec.decode_part(codec.encode_part(a_part(n=2**63 - 1))).n == 2**63 - 1


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("schema", 2**31),
        ("schema", -1),
        ("hlc", 2**63),
        ("hlc", -1),
        ("offset_ms", 2**63),
        ("offset_ms", -(2**63)),
    ],
)
def test_a_stamp_that_no_column_can_hold_is_refused(name, number):
    body = PartBody(**{"schema": 1, "hlc": 2, "offset_ms": -3, "blocks": ()} | {name: number})
    with pytest.raises(MalformedMessage, match=name):
        codec.decode_body(codec.encode_body(body))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("beside", {SHARED: 2**63}),
        ("beside", {SHARED: -1}),
        ("beside", {SHARED: "4"}),
        ("beside", [4]),
        ("schema", 2**31),
        ("made_at_ms", 2**64 - 1),
        ("ack", Ack(ID, 2**63, 0)),
        ("ack", Ack(ID, 0, -1)),
    ],
)
def test_a_feed_entry_with_a_number_beyond_64_bits_is_refused(name, number):
    fields = {"beside": {SHARED: 4}, "schema": 2, "ack": None, "blocks": (), "made_at_ms": 99}
    body = codec.encode_entry_body(**fields | {name: number})
    with pytest.raises(MalformedMessage, match=name):
        codec.decode_entry(codec.encode_entry("S", 5, bytes(32), bytes(32), codec.compress(body)))


@pytest.mark.parametrize("pos", [0, -1, 2**63])
def test_a_feed_entry_at_no_place_is_refused(pos):
    body = codec.encode_entry_body(beside={SHARED: 4}, schema=2, ack=None, blocks=(), made_at_ms=99)
    with pytest.raises(MalformedMessage, match="pos is"):
        codec.decode_entry(codec.encode_entry("S", pos, bytes(32), bytes(32), codec.compress(body)))


@pytest.mark.parametrize("order", [-1, 2**63])
def test_an_order_that_no_version_has_is_refused(order):
    block = HeadBlock("t", Fate.GONE, (), ["S"], ["c"], ["i"], version=["v"], order=[order])
    with pytest.raises(MalformedMessage, match="order"):
        codec.decode_chunk(codec.encode_chunk([block]))


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = zstandard.ZstdCompressor().compress(bytes(codec.BODY_BYTES_MAX + 1))
    assert len(bomb) < 10_000
    with pytest.raises(MalformedMessage, match="are allowed"):
        codec.decompress(bomb)


def test_an_extension_type_is_refused_before_the_next_one_is_made():
    message = frame("C", ({"many": [msgpack.ExtType(5, b"x"), msgpack.ExtType(6, b"x")]},))
    with pytest.raises(MalformedMessage, match="extension type 5"):
        codec.decode_control(message)


def test_a_time_of_msgpacks_own_is_a_number():
    message = frame("C", ({"at": msgpack.Timestamp(5)},))
    (at,) = codec.decode_control(message).values()
    assert type(at) is float


def test_a_body_that_does_not_tell_its_size_is_refused():
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    packed = stream.compress(b"x" * 100) + stream.flush()
    for look in (codec.decompress, codec.body_size):
        with pytest.raises(MalformedMessage):
            look(packed)


@pytest.mark.parametrize("size", [0, 10, codec.FRAME_BYTES_MAX, codec.FRAME_BYTES_MAX * 3 + 1])
def test_a_message_above_the_limit_goes_in_pieces_that_make_it_again(size):
    message = bytes(range(256)) * (size // 256 + 1)
    message = message[:size]
    pieces = codec.fragments(message)
    if size <= codec.FRAME_BYTES_MAX:
        assert pieces == [message]
        return
    decoded = [codec.decode_fragment(piece) for piece in pieces]
    assert all(codec.is_fragment(piece) for piece in pieces)
    assert b"".join(piece for *_, piece in decoded) == message
    assert {whole for whole, *_ in decoded} == {protocol.digest(message)}


def test_a_column_of_equal_texts_costs_no_more_than_one():
    def size(text_count):
        block = ChangeBlock(
            "t", Op.INSERT, ("a",), ["S"] * 1000, ["c"] * 1000, [ID] * 1000,
            new=[["x" * 30] * (1000 - text_count) + [f"{k:030}" for k in range(text_count)]],
        )  # fmt: skip
        return len(codec.encode_body(PartBody(1, 1, 1, (block,))))

    assert size(1000) - size(0) > 25 * 1000


def a_body(*blocks) -> bytes:
    return msgpack.packb([1, 2, 3, list(blocks)])


def test_a_few_bytes_do_not_become_a_gigabyte_of_rows():
    rows, columns = 1_000_000, [f"c{k}" for k in range(40)]
    block = ["t", "I", columns, {"=": "S"}, {"=": "c"}, [""] * rows, [], [], [],
             [{"=": None}] * 40, []]  # fmt: skip
    with pytest.raises(MalformedMessage, match="too many"):
        codec.decode_body(a_body(block))


def test_values_are_counted_over_all_blocks_of_a_body_and_columns_stored_once_for_every_row():
    rows, columns = 10_000, [f"c{k}" for k in range(50)]
    block = ["t", "I", columns, {"=": "S"}, {"=": "c"}, [""] * rows, [], [], [],
             [{"=": None}] * 50, []]  # fmt: skip
    assert len(codec.decode_body(a_body(block, block, block)).blocks) == 3
    with pytest.raises(MalformedMessage, match="too many"):
        codec.decode_body(a_body(block, block, block, block))


def test_a_body_of_several_rows_is_no_larger_than_a_sender_makes_it():
    def body(rows: int, size: int) -> bytes:
        ids = [f"i{k}" for k in range(rows)]
        return a_body(
            ["t", "I", ["c"], {"=": "S"}, {"=": "c"}, ids, [], [], [], [["x" * size] * rows], []]
        )

    large = 2 * codec.PART_BYTES_MAX
    assert len(codec.decode_body(body(2, large // 2 - 100)).blocks[0]) == 2
    assert len(codec.decode_body(body(1, 4 * large)).blocks[0]) == 1
    with pytest.raises(MalformedMessage, match="several rows"):
        codec.decode_body(body(2, large // 2))


@pytest.mark.parametrize("empty", [b"\xc0", b"\x80", b"\x01"], ids=["nulls", "maps", "numbers"])
def test_a_large_body_does_not_become_a_list_of_millions(empty):
    count = 5 << 20
    with pytest.raises(MalformedMessage):
        codec.decode_body(b"\x94\x01\x02\x03\xdd" + count.to_bytes(4, "big") + empty * count)


def test_a_few_bytes_do_not_become_a_gigabyte_of_empty_lists():
    with pytest.raises(MalformedMessage, match="lists"):
        codec.decode_body(b"\x91\xdd\x00\x10\x00\x00" + b"\x90" * (1 << 20))
