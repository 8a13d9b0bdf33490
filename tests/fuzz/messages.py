"""Messages on the wire: frames, parts, entries, chunks, fragments, control messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgpack
from hypothesis import strategies as st

from shared.changes import SHARED, Ack, ChangeBlock, Fate, HeadBlock, Op, Part, PartBody
from shared.errors import Poison
from sync import codec, frames
from sync.protocol import Verdict, digest, entry_hash
from sync.pump import Message, Receiver
from tests.fuzz.bounds import bounded
from tests.fuzz.target import Target, mutations

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "018f4b7e-0000-7000-8000-000000000001"
#: A body may have 64 MiB, and what it holds takes a few times as much: never gigabytes.
MEGABYTES_MAX = 700
SECONDS_MAX = 20

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.one_of(
    st.none(), st.integers(-(2**63), 2**64 - 1), st.floats(), texts, st.binary(max_size=12),
    st.booleans(),
)  # fmt: skip


def a_body(rows: int, columns: int, value: Any) -> bytes:
    names = tuple(f"c{k}" for k in range(columns))
    block = ChangeBlock(
        "t", Op.UPDATE, names, ["S"] * rows, ["now"] * rows, [f"i{k}" for k in range(rows)],
        at=list(range(rows)), base=[None] * rows, after=[ID] * rows,
        new=[[value] * rows] * columns, old=[[value] * rows] * columns,
    )  # fmt: skip
    return codec.encode_body(PartBody(1, 2, 3, (block,)))


def a_part(body: bytes) -> bytes:
    part = Part("S", ID, 1, ID, 0, 1, bytes(32), bytes(32), (digest(body),), codec.compress(body))
    return codec.encode_part(part)


def heads(rows: int, columns: int, value: Any) -> list[HeadBlock]:
    return [
        HeadBlock(
            "t", Fate.PUT, tuple(f"c{k}" for k in range(columns)), ["S"] * rows, ["now"] * rows,
            [f"i{k}" for k in range(rows)], version=[ID] * rows, order=list(range(rows)),
            new=[[value] * rows] * columns,
        )
    ]  # fmt: skip


def an_entry(blocks: list[HeadBlock]) -> bytes:
    body = codec.encode_entry_body(
        beside={SHARED: 1}, schema=1, ack=Ack(ID, 3, 2), blocks=blocks, made_at_ms=4
    )
    own = entry_hash(bytes(32), "S", 1, body)
    return codec.encode_entry("S", 1, bytes(32), own, codec.compress(body))


sizes = st.tuples(st.integers(0, 4), st.integers(0, 3), values)
bodies = sizes.map(lambda size: a_body(*size))
messages = st.one_of(
    bodies.map(a_part),
    sizes.map(lambda size: an_entry(heads(*size))),
    st.dictionaries(texts, values, max_size=4).map(codec.encode_control),
    st.binary(max_size=30).map(
        lambda piece: frames.frame("X", (digest(piece), 0, 1, piece))
    ),
)  # fmt: skip
payloads = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda rest: frames.MAGIC + b"\x01" + rest),
    mutations(messages),
)
DECODERS = (
    codec.decode_part, codec.decode_entry, codec.decode_chunk, codec.decode_control,
    codec.decode_fragment, codec.decode_body,
)  # fmt: skip


def refused_in_words(decode: Callable[[bytes], object], payload: bytes) -> None:
    """Decode, and take a refusal that says why."""
    try:
        decode(payload)
    except Poison as refusal:
        why = str(refusal)
    else:
        why = "taken"
    assert why


def check_payload(payload: bytes) -> None:
    """Every decoder gives a thing of its kind, or refuses; a part's body, too."""
    with bounded(seconds=SECONDS_MAX, megabytes=MEGABYTES_MAX):
        for decode in DECODERS:
            refused_in_words(decode, payload)
        try:
            part = codec.decode_part(payload)
            body = codec.open_body(part)
        except Poison:
            return
    assert codec.decode_part(codec.encode_part(part)) == part
    again = codec.decode_body(codec.encode_body(body))
    assert repr(again) == repr(body)


def check_body(body: bytes) -> None:
    """What a body opens to can be packed again and opens to the same."""
    with bounded(seconds=SECONDS_MAX, megabytes=MEGABYTES_MAX):
        try:
            opened = codec.decode_body(body)
        except Poison:
            return
        counted = sum(map(codec.count_values, opened.blocks))
    assert counted <= codec.VALUES_MAX
    assert repr(codec.decode_body(codec.encode_body(opened))) == repr(opened)


@st.composite
def bombs(draw: Any) -> bytes:
    """Return few bytes that stand for many: something small, again and again, in msgpack."""
    small: bytes = draw(
        st.sampled_from([b"\x90", b"\x80", b"\xc0", b"\xa0", b"\x00", b"\xcb" + bytes(8), b"\xa1x"])
        | st.binary(min_size=1, max_size=6)
    )
    count = draw(st.sampled_from([1, 1_000, 65_536, 700_001, 2_100_000, 4_300_000]))
    many: bytes = b"\xdd" + count.to_bytes(4, "big") + small * count
    inside = draw(st.integers(0, 12))
    if draw(st.booleans()):  # in the place of a column of a block, or of all its rows
        fields: list[Any] = ["t", "I", ["c"], ["S"], ["now"], ["i"], [], [], [], [["x"]], []]
        packed: list[bytes] = [msgpack.packb(each) for each in fields]
        packed[min(inside, 10)] = many
        many = b"\x94\x01\x02\x03\x91" + b"\x9b" + b"".join(packed)
    return many


def check_bomb(body: bytes) -> None:
    """Few bytes never become gigabytes: neither as a body nor as an entry or a chunk."""
    packed = codec.compress(body)
    entry = codec.encode_entry("S", 1, bytes(32), bytes(32), packed)
    with bounded(seconds=SECONDS_MAX, megabytes=MEGABYTES_MAX):
        for decode, payload in (
            (codec.decode_body, body),
            (codec.decode_chunk, packed),
            (codec.decode_entry, entry),
            (codec.decode_control, frames.MAGIC + b"\x01" + body),
        ):
            refused_in_words(decode, payload)


class _Inbox:
    """Takes everything, and keeps what was refused."""

    def __init__(self) -> None:
        self.refused: list[Poison] = []
        self.taken = 0

    async def take(self, given: Any) -> Verdict:
        self.taken += len(given)
        return Verdict.APPLY

    async def refuse(self, message: Message, why: Poison) -> None:
        self.refused.append(why)

    async def ask_again(self) -> None:
        raise AssertionError("nothing was missing")


@st.composite
def pieces(draw: Any) -> list[bytes]:
    """Return pieces of a few messages in any order, some forged, damaged or left out."""
    wholes = draw(st.lists(st.binary(max_size=40), min_size=1, max_size=3))
    found = []
    for whole in wholes:
        count = draw(st.integers(1, 4))
        cuts = [whole[k::count] for k in range(count)]
        found += [frames.frame("X", (digest(whole), k, count, cut)) for k, cut in enumerate(cuts)]
        number, total = draw(st.integers(-2, 80)), draw(st.integers(-2, 80))
        found.append(frames.frame("X", (digest(whole), number, total, b"forged")))
    shuffled = draw(st.permutations(found))
    return [draw(mutations(st.just(each))) if draw(st.booleans()) else each for each in shuffled]


def check_pieces(delivered: list[bytes]) -> None:
    """Pieces that make no message are refused one by one, and the receiver goes on."""
    inbox = _Inbox()
    receiver = Receiver(inbox)

    async def all_of_them() -> None:
        for payload in delivered:
            deliveries = [Message(payload, 1)]
            assert await receiver.receive_next(deliveries) in (Verdict.APPLY, Verdict.SKIP)
            assert 0 <= receiver.settled(deliveries) <= 1

    with bounded(seconds=SECONDS_MAX, megabytes=50):
        asyncio.run(all_of_them())
    assert all(str(why) for why in inbox.refused)
    assert len(receiver._pieces) <= 4


MESSAGES = (
    Target("payloads", check_payload, payloads, examples=400),
    Target("bodies", check_body, mutations(bodies), examples=400),
    Target("bombs", check_bomb, bombs(), examples=12),
    Target("pieces", check_pieces, pieces(), examples=100),
)
