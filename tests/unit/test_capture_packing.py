"""Parts fit the broker's messages, hold every row once, in order, and are encoded as they say."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.store.packing import Packer
from shared.changes import ChangeBlock, Op, Part
from sync import codec, frames
from sync.protocol import digest


def block(start, rows, size=10, *, chance=None, op=Op.INSERT):
    """Return a block of rows, each with a value of that many bytes."""
    value = chance.randbytes if chance else (lambda n: b"x" * n)
    return ChangeBlock(
        "t",
        op,
        ("v",),
        sites=["S"] * rows,
        created=["c"] * rows,
        ids=[str(start + k) for k in range(rows)],
        at=[1] * rows,
        base=[None] * rows,
        after=[None] * rows,
        new=[[value(size) for _ in range(rows)]],
        old=[[None] * rows] if op is Op.UPDATE else [],
    )


def packed(*blocks):
    with Packer(schema=3, hlc=5, offset_ms=7) as packer:
        for each in blocks:
            packer.add(each)
        packer.flush()
        parts = list(packer.bodies())
        assert (packer.rows, packer.size) == (
            sum(rows for rows, _ in parts),
            sum(len(body) for _, body in parts),
        )
        bodies = []
        for (rows, compressed), own in zip(parts, packer.digests, strict=True):
            assert rows == 1 or len(compressed) <= codec.MESSAGE_BYTES_MAX
            body = codec.decompress(compressed)
            assert digest(body) == own
            bodies.append(codec.decode_body(body))
            assert sum(map(len, bodies[-1].blocks)) == rows
        return bodies, packer.too_large


def ids(bodies):
    return [each for body in bodies for block in body.blocks for each in block.ids]


def test_small_blocks_share_a_part():
    bodies, _ = packed(block(0, 5), block(5, 5, op=Op.UPDATE))
    assert len(bodies) == 1
    assert (bodies[0].schema, bodies[0].hlc, bodies[0].offset_ms) == (3, 5, 7)
    assert [len(each) for each in bodies[0].blocks] == [5, 5]


def test_a_large_block_is_cut_into_parts_of_full_size():
    bodies, _ = packed(block(0, 100_000, 50))
    sizes = [len(codec.encode_body(body)) for body in bodies]
    assert all(size <= codec.PART_BYTES_MAX for size in sizes)
    assert sum(sizes) / len(sizes) > codec.PART_BYTES_MAX / 3
    assert ids(bodies) == [str(n) for n in range(100_000)]


def test_what_does_not_compress_is_cut_by_its_compressed_size():
    bodies, too_large = packed(block(0, 40, 60_000, chance=Random(1)))
    assert len(bodies) > 3
    assert ids(bodies) == [str(n) for n in range(40)]
    assert too_large == []


def test_a_row_that_fits_no_message_goes_as_a_part_of_its_own():
    """The pump cuts it into fragments."""
    blocks = block(0, 3, 10), block(3, 1, 900_000, chance=Random(1)), block(4, 3, 10)
    bodies, too_large = packed(*blocks)
    assert ids(bodies) == ["0", "1", "2", "3", "4", "5", "6"]
    assert too_large == []


def test_a_row_above_every_limit_is_told_and_the_others_go(monkeypatch):
    monkeypatch.setattr(codec, "BODY_BYTES_MAX", 1_000_000)
    blocks = block(0, 3, 10), block(3, 1, 1_100_000, chance=Random(1)), block(4, 3, 10)
    bodies, too_large = packed(*blocks)
    assert ids(bodies) == ["0", "1", "2", "4", "5", "6"]
    assert [each.ids for each in too_large] == [["3"]]


def test_a_long_row_that_compresses_goes_though_it_exceeds_a_part():
    bodies, too_large = packed(block(0, 1, 3 * codec.PART_BYTES_MAX))
    assert (ids(bodies), too_large) == (["0"], [])


def test_nothing_makes_no_part():
    assert packed() == ([], [])


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 9_000)), max_size=12),
    st.booleans(),
)
def test_every_row_is_in_one_part_in_order_whatever_the_sizes(sizes, compressible):
    start, blocks = 0, []
    for rows, size in sizes:
        blocks.append(block(start, rows, size, chance=None if compressible else Random(start)))
        start += rows
    bodies, too_large = packed(*blocks)
    assert ids(bodies) == [str(n) for n in range(start)]
    assert too_large == []


@pytest.mark.parametrize("op", list(Op))
def test_a_cut_keeps_the_columns_of_a_row_together(op):
    rows = 60_000
    big = block(0, rows, 30, op=op)
    big.at = list(range(rows))
    bodies, _ = packed(big)
    assert len(bodies) > 1
    pieces = [piece for body in bodies for piece in body.blocks]
    assert [at for piece in pieces for at in piece.at] == list(range(rows))
    assert {len(piece.old) for piece in pieces} == {1 if op is Op.UPDATE else 0}


# --- what is packed can be read -----------------------------------------------------------------

values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
)


@st.composite
def touched_blocks(draw):
    """Return a block as the drain makes it of rows in which the same columns changed."""
    op = draw(st.sampled_from(Op))
    rows = draw(st.integers(1, 3))
    columns = tuple(f"c{k}" for k in range(0 if op is Op.DELETE else draw(st.integers(1, 6))))
    column = st.lists(values, min_size=rows, max_size=rows)
    return ChangeBlock(
        "t",
        op,
        columns,
        sites=["S"] * rows,
        created=["c"] * rows,
        ids=[f"{k}" for k in range(rows)],
        at=[1] * rows,
        base=draw(st.lists(st.none() | st.just("v"), min_size=rows, max_size=rows)),
        after=[None] * rows,
        new=[draw(column) for _ in columns],
        old=[draw(column) for _ in columns] if op is Op.UPDATE else [],
    )


def opened(packer):
    """Return the packer's parts as the centre opens them."""
    parts = list(packer.bodies())
    for number, (_, compressed) in enumerate(parts):
        part = Part(
            site="S", epoch=UID, n=1, tx_id=UID, part=number, parts=len(parts),
            previous=bytes(32), hash=bytes(32), digests=tuple(packer.digests), body=compressed,
        )  # fmt: skip
        yield codec.open_body(codec.decode_part(codec.encode_part(part)))


UID = "018f4b7e-0000-7000-8000-000000000001"


@settings(max_examples=100)
@given(st.lists(touched_blocks(), max_size=30), st.integers(25, 200))
def test_whatever_is_packed_can_be_opened_again_value_for_value(blocks, lists_max):
    with pytest.MonkeyPatch.context() as patch, Packer(3, 5, 7) as packer:
        patch.setattr(codec, "PART_LISTS_MAX", lists_max)
        patch.setattr(frames, "LISTS_MAX", lists_max)
        for each in blocks:
            packer.add(each)
        packer.flush()
        found = [block for body in opened(packer) for block in body.blocks]
    assert repr(found) == repr(blocks)


def test_a_part_of_small_blocks_ends_far_below_what_can_be_unpacked():
    with Packer(3, 5, 7) as packer:
        for number in range(12_000):
            packer.add(block(number, 1, 1, op=Op.UPDATE))
        packer.flush()
        assert ids(opened(packer)) == [str(n) for n in range(12_000)]
        assert len(packer.digests) == 4
    assert codec.PART_LISTS_MAX < frames.LISTS_MAX / 10


def test_a_full_part_of_the_smallest_blocks_can_be_unpacked():
    """Outboxes hold parts that were cut by their bytes alone."""
    one = block(0, 1, 1, op=Op.UPDATE)
    one.columns = tuple(f"column_{k}" for k in range(20))
    one.new, one.old = [[None]] * 20, [[None]] * 20
    size = len(codec.encode_body(codec.PartBody(1, 2, 3, (one,))))
    body = codec.PartBody(1, 2, 3, (one,) * (codec.PART_BYTES_MAX // size))
    assert codec.decode_body(codec.encode_body(body)) == body
