"""Large transactions at the centre: in parts, whole or not at all, in the memory of one part."""

from __future__ import annotations

import asyncio
import json
import random
import tracemalloc
import uuid
from dataclasses import replace

import pytest

from shared.changes import GENESIS, ChangeBlock, Part
from shared.errors import MalformedMessage
from sync import codec
from sync.codec import PartBody
from sync.protocol import Verdict, digest, transaction_hash
from tests.integration.apply_world import NOON_MS, Site, World, open_world, world  # noqa: F401

REPORTS = "SELECT count(*) FROM mes.job_responses"


def parts_of(site: Site, blocks: list[ChangeBlock]) -> list[Part]:
    """Return one transaction in as many parts as blocks."""
    bodies = [
        codec.encode_body(PartBody(site.world.catalog.version, 1 << 16, 0, (block,)))
        for block in blocks
    ]
    digests = tuple(digest(body) for body in bodies)
    tx_id = str(uuid.uuid4())
    site.n += 1
    previous, site.hash = (
        site.hash,
        transaction_hash(site.hash, site.epoch, site.n, tx_id, digests),
    )
    return [
        Part(
            site=site.name, epoch=site.epoch, n=site.n, tx_id=tx_id, part=number,
            parts=len(bodies), previous=previous, hash=site.hash, digests=digests,
            body=codec.compress(body),
        )
        for number, body in enumerate(bodies)
    ]  # fmt: skip


async def send_parts(world: World, parts: list[Part]) -> list[Verdict]:
    lease = world.leases["SITE_001"]
    verdicts = []
    for part in parts:
        await world.store.spool_part(part, codec.encode_part(part), NOON_MS)
        outcome = await world.store.apply_spooled(part, lease)
        verdicts.append(outcome.verdict)
    return verdicts


def untimed(block: ChangeBlock) -> ChangeBlock:
    block.at = block.base = block.after = []
    return block


async def test_a_part_whose_bytes_are_other_ones_is_not_kept_and_the_right_one_is(
    world: World,
) -> None:
    site = world.site()
    reports = [untimed(site.insert("job_responses", site.report())) for _ in range(2)]
    first, second = parts_of(site, reports)
    damaged = replace(first, body=second.body)
    with pytest.raises(MalformedMessage, match="digest"):
        await world.store.spool_part(damaged, codec.encode_part(damaged), NOON_MS)
    assert await world.value("SELECT count(*) FROM sync.part") == 0
    assert await send_parts(world, [first, second]) == [Verdict.GAP, Verdict.APPLY]
    assert await world.value(REPORTS) == 2


async def test_a_transaction_in_parts_is_applied_when_the_last_has_come(world: World) -> None:
    site = world.site()
    order = site.order()
    orders = site.insert("work_orders", order)
    orders.at = [site.at_ms]
    reports = site.insert("job_responses", site.report(work_order_id=order["id"]), site.report())
    # The child's part goes first: the order of parts is not that of applying.
    parts = parts_of(site, [untimed(reports), orders])
    verdicts = await send_parts(world, [parts[1], parts[0]])
    assert verdicts == [Verdict.GAP, Verdict.APPLY]
    assert await world.value(REPORTS) == 2
    assert await world.parked() == []
    assert await world.value("SELECT count(*) FROM sync.part") == 0
    # A late copy of a part is neither kept nor applied.
    assert await send_parts(world, [parts[0]]) == [Verdict.APPLY]
    assert await world.value("SELECT count(*) FROM sync.part") == 0
    assert await world.value(REPORTS) == 2


@pytest.mark.slow
async def test_200_000_facts_in_one_transaction_need_the_memory_of_a_part(world: World) -> None:
    site = world.site()
    rows_a_part, count = 10_000, 20

    def block() -> ChangeBlock:
        return untimed(site.insert("job_responses", *(site.report() for _ in range(rows_a_part))))

    parts = parts_of(site, [block() for _ in range(count)])
    lease = world.leases["SITE_001"]
    for part in parts:
        await world.store.spool_part(part, codec.encode_part(part), NOON_MS)
    tracemalloc.start()
    outcome = await world.store.apply_spooled(parts[-1], lease)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.rows == rows_a_part * count
    assert await world.value(REPORTS) == rows_a_part * count
    assert peak < 100 << 20, f"{peak >> 20} MB"


async def test_parts_are_read_one_at_a_time_however_many_there_are(world: World) -> None:
    site = world.site()
    count, row_bytes, chance = 40, 400_000, random.Random(1)

    def block() -> ChangeBlock:
        detail = json.dumps(chance.randbytes(row_bytes // 2).hex())
        row = {"action": "y", "detail": detail}
        return untimed(site.insert("audit_log", row))

    parts = parts_of(site, [block() for _ in range(count)])
    lease = world.leases["SITE_001"]
    for part in parts:
        await world.store.spool_part(part, codec.encode_part(part), NOON_MS)
    last = parts.pop()
    parts.clear()
    tracemalloc.start()
    outcome = await world.store.apply_spooled(last, lease)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (outcome.rows, outcome.parked) == (count, 0)
    assert peak < 10 * row_bytes, f"{peak >> 10} kB"


async def test_the_parts_of_a_transaction_that_failed_are_let_go_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("central.store.apply.apply_parts", stumble)
    site = world.site()
    reports = [untimed(site.insert("job_responses", site.report())) for _ in range(2)]
    assert await send_parts(world, parts_of(site, reports)) == [Verdict.GAP, Verdict.APPLY]
    assert await world.value(REPORTS) == 2
    assert await world.value("SELECT count(*) FROM sync.part") == 0


async def test_a_part_of_another_history_does_not_complete_a_transaction(world: World) -> None:
    site = world.site()
    copy = replace(site, n=0, hash=GENESIS)
    ours = parts_of(site, [untimed(site.insert("job_responses", site.report())) for _ in range(2)])
    theirs = parts_of(
        copy, [untimed(copy.insert("job_responses", copy.report())) for _ in range(2)]
    )
    assert await send_parts(world, [ours[0], theirs[1]]) == [Verdict.GAP, Verdict.GAP]
    assert await send_parts(world, [theirs[0]]) == [Verdict.APPLY]
    assert await world.value(REPORTS) == 2


async def test_thirty_sites_could_apply_at_once_by_connections_of_their_own(
    world: World,
) -> None:
    async def apply(name: str) -> int:
        async with open_world(world.url) as own:
            site = own.site(name)
            done = [
                await site.apply(site.sends(site.insert("job_responses", site.report())))
                for _ in range(5)
            ]
            return sum(each.rows for each in done)

    assert await asyncio.gather(*(apply(f"SITE_00{n}") for n in (1, 2, 3))) == [5, 5, 5]
    assert await world.value(REPORTS) == 15
