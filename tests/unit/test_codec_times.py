"""Times of columns in a block: only where they differ from the row's, and never believed."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.changes import ChangeBlock, Op, PartBody
from shared.errors import MalformedMessage
from sync import codec
from tests.unit.test_codec import ID, change_blocks

#: A body as the first release of wire version 1 froze it.
FROZEN = (
    "94010203919ba174a15592a161a16291a15391a16391d92430313866346237652d303030302d3730"
    "30302d383030302d303030303030303030303031910791c091c09291a17891a1799291a17791a176"
)


def of_one_row(**changed) -> ChangeBlock:
    """Return an update of two columns of one row, as it was frozen before columns had times."""
    fields = {"at": [7], "base": [None], "after": [None], "new": [["x"], ["y"]]}
    return ChangeBlock(
        "t", Op.UPDATE, ("a", "b"), ["S"], ["c"], [ID], old=[["w"], ["v"]], **fields | changed
    )


def test_what_was_frozen_without_times_of_columns_still_reads_as_the_time_of_the_row():
    frozen = bytes.fromhex(FROZEN)
    body = codec.decode_body(frozen)
    assert body == PartBody(1, 2, 3, (of_one_row(),))
    assert codec.encode_body(body) == frozen


def test_a_block_whose_rows_have_one_time_costs_not_a_byte_more_for_the_times_of_others():
    plain = codec.encode_body(PartBody(1, 2, 3, (of_one_row(),)))
    assert codec.encode_body(PartBody(1, 2, 3, (of_one_row(times=[None]),))) == plain
    dated = of_one_row(times=[((1, 5),)])
    both = codec.encode_body(PartBody(1, 2, 3, (dated, of_one_row())))
    assert codec.decode_body(both).blocks[1].times == []
    assert len(both) < 2 * len(plain) + 10


@pytest.mark.parametrize(
    "times",
    [
        7,
        [],
        [[0], [1]],
        [[], [], []],
        [[0], [1], []],
        [[0], [1], [None]],
        [[0], [True], [5]],
        [[1], [1], [5]],
        [[-1], [1], [5]],
        [[0], [0], [5]],
        [[0], [4], [5]],
        [[0, 0], [1, 3], [5, 6]],
    ],
)
def test_times_of_rows_or_columns_that_are_not_there_are_refused(times):
    *head, blocks = msgpack.unpackb(codec.encode_body(PartBody(1, 2, 3, (of_one_row(),))))
    assert codec.decode_body(msgpack.packb([*head, [[*blocks[0], [[0], [2], [5]]]]])).blocks == (
        of_one_row(times=[((2, 5),)]),
    )
    with pytest.raises(MalformedMessage):
        codec.decode_body(msgpack.packb([*head, [[*blocks[0], times]]]))


def test_columns_have_no_times_where_the_rows_have_none():
    fact = of_one_row(at=[], base=[], after=[], times=[((1, 5),)])
    with pytest.raises(MalformedMessage, match="the rows have none"):
        codec.decode_body(codec.encode_body(PartBody(1, 2, 3, (fact,))))


def test_times_of_columns_count_among_the_values_of_a_body():
    block = of_one_row(times=[((1, 5), (2, 6))])
    assert codec.count_values(block) == codec.count_values(of_one_row()) + 6


@given(change_blocks(), st.data())
def test_a_part_of_a_block_takes_the_times_of_its_rows_along(block, data):
    start = data.draw(st.integers(0, len(block) - 1))
    piece = block.part(slice(start, len(block)))
    assert piece.times == block.times[start:]
    read = codec.decode_body(codec.encode_body(PartBody(1, 2, 3, (piece,)))).blocks[0]
    assert (read.times or [None] * len(read)) == (piece.times or [None] * len(piece))
