"""Runs are cut where they would take too much memory, before anything too large is opened."""

from __future__ import annotations

import tracemalloc
import uuid

from central import runs
from central.runs import Runs, groups_of
from shared.catalog_file import load_catalog
from shared.changes import GENESIS, ChangeBlock, Op, Part, PartBody
from sync import codec
from sync.protocol import digest, transaction_hash
from sync.pump import Message

CATALOG = load_catalog()
EPOCH = str(uuid.UUID(int=7))


def a_block(*, rows: int = 1, text: str = "x", columns: int = 1) -> ChangeBlock:
    return ChangeBlock(
        table="production_notes", op=Op.INSERT, columns=tuple(f"c{k}" for k in range(columns)),
        sites=["S"] * rows, created=["2026-11-26T08:00:00.000Z"] * rows,
        ids=[""] * rows, new=[[text] * rows] * columns,
    )  # fmt: skip


def in_messages(n: int, *bodies: bytes) -> list[tuple[Part, Message]]:
    """Return a transaction with one part for each uncompressed body."""
    digests = tuple(map(digest, bodies))
    tx_id = str(uuid.UUID(int=n))
    own = transaction_hash(GENESIS, EPOCH, n, tx_id, digests)
    parts = [
        Part("S", EPOCH, n, tx_id, k, len(bodies), GENESIS, own, digests, codec.compress(body))
        for k, body in enumerate(bodies)
    ]
    return [(part, Message(codec.encode_part(part), 1)) for part in parts]


def a_body(*blocks: ChangeBlock) -> bytes:
    return codec.encode_body(PartBody(1, 1 << 16, 0, blocks))


async def all_runs(messages) -> list[runs.Run]:
    made = Runs(groups_of(messages), CATALOG)
    found = []
    while run := await made.next():
        found.append(run)
    return found


def test_only_parts_that_follow_one_another_go_together():
    first, second, third = in_messages(1, *[a_body(a_block(text=text)) for text in "abc"])
    (other,) = in_messages(2, a_body())
    for delivered, together in (
        ([first, second, third, other], [[0, 1, 2], [0]]),
        ([first, third], [[0], [2]]),
        ([first, first, second], [[0], [0, 1]]),
        ([second, first], [[1], [0]]),
        ([first, other, second], [[0], [0], [1]]),
    ):
        found = [[part.part for part, _ in group] for group in groups_of(delivered)]
        assert found == together


async def test_a_run_ends_with_the_transaction_that_fills_its_bytes():
    body = a_body(a_block(text="x" * (3 << 20)))
    made = await all_runs([each for n in range(1, 8) for each in in_messages(n, body)])
    assert [len(run.incoming) for run in made] == [3, 3, 1]
    assert 2 * len(body) < runs.RUN_BYTES_MAX < 3 * len(body)


async def test_a_run_ends_where_a_few_bytes_stand_for_very_many_values():
    body = a_body(a_block(rows=100, columns=10_000))
    messages = [each for n in range(1, 13) for each in in_messages(n, body)]
    assert sum(len(message.payload) for _, message in messages) < 1 << 20
    made = await all_runs(messages)
    assert [len(run.incoming) for run in made] == [4, 4, 4]


async def test_a_transaction_too_large_for_memory_is_kept_in_parts_and_never_opened():
    bomb = bytes(codec.BODY_BYTES_MAX)
    messages = in_messages(1, *[bomb] * runs.PARTS_MAX)
    del bomb
    tracemalloc.start()
    made = await all_runs(messages)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(run.incoming, len(run.kept)) for run in made] == [([], runs.PARTS_MAX)]
    assert peak < 1 << 20


async def test_a_transaction_of_too_many_values_is_kept_in_parts():
    body = a_body(a_block(rows=180, columns=10_000))
    made = await all_runs(in_messages(1, body, body, body))
    assert [(run.incoming, len(run.kept)) for run in made] == [([], 3)]
