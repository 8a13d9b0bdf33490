"""Whatever a transaction holds, it is decided: nothing is dropped, and the queue never stops."""

from __future__ import annotations

import math
import random
import uuid
from dataclasses import replace

import pytest

from shared.changes import ChangeBlock, Op, Value
from shared.errors import MalformedMessage
from sync import codec
from sync.protocol import Verdict
from tests.integration.apply_world import CREATED, Site, World, world  # noqa: F401
from tests.integration.test_central_facts_large import parts_of, untimed


def incompressible(chance: random.Random, length: int) -> str:
    """Return a text of three bytes a character that no compression makes short enough to index."""
    return "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(length))


async def test_each_of_three_rows_of_one_id_is_parked_by_itself(world: World) -> None:
    site = world.site()
    thrice, once = site.order(), site.order()
    orders = [{**thrice, "notes": note} for note in ("a", "b", "b")]
    sent = site.sends(site.insert("work_orders", *orders, once))
    outcome = await site.apply(sent)
    assert (outcome.verdict, outcome.rows, outcome.parked) == (Verdict.APPLY, 1, 3)
    kept = await world.rows("SELECT content->>'notes' FROM mes.sync_parked ORDER BY 1")
    assert kept == [("a",), ("b",), ("b",)]
    tickets = await world.rows("SELECT ticket::text FROM sync.waiting ORDER BY ord")
    # Each can be tried again by itself, and is told apart from the others.
    assert await world.store.retry(tickets[1][0])
    assert await world.value("SELECT notes FROM mes.work_orders WHERE notes IS NOT NULL") == "b"
    assert await world.store.discard(tickets[0][0], "ann")
    states = await world.rows("SELECT state FROM mes.sync_parked ORDER BY 1")
    assert states == [("applied",), ("discarded",), ("parked",)]


async def test_a_row_that_comes_in_two_blocks_is_parked_with_both_changes(world: World) -> None:
    site = world.site()
    order = site.order()
    base = await site.writes(site.insert("work_orders", order))
    row_id = str(order["id"])
    changes = [
        site.update("work_orders", row_id, base=base, notes=(None, "a")),
        site.update("work_orders", row_id, base=base, priority=(50, 1000)),
    ]
    outcome = await site.apply(site.sends(*changes))
    assert (outcome.rows, outcome.parked) == (0, 2)
    assert len(await world.parked()) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_a_number_that_is_none_is_parked_as_a_text(world: World, value: float) -> None:
    site = world.site()
    outcome = await site.apply(
        site.sends(
            site.insert("work_orders", site.order(qty_ordered=value)),
            site.insert("job_responses", site.report(qty_good=value), site.report()),
        )
    )
    assert (outcome.verdict, outcome.rows, outcome.parked) == (Verdict.APPLY, 1, 2)
    listed = await world.rows(
        "SELECT coalesce(content->>'qty_ordered', content->>'qty_good') FROM mes.sync_parked"
    )
    assert listed == [(str(value),)] * 2


async def test_an_id_of_a_thousand_characters_is_parked_whole(world: World, seed: int) -> None:
    site = world.site()
    row_id = incompressible(random.Random(seed), 1_000)
    orders = site.insert("work_orders", site.order(), {**site.order(), "id": row_id})
    outcome = await site.apply(site.sends(orders))
    assert (outcome.verdict, outcome.rows, outcome.parked) == (Verdict.APPLY, 1, 1)
    (block,) = codec.decode_body(await world.value("SELECT block FROM sync.waiting")).blocks
    assert block.ids == [row_id]


async def test_one_transaction_twice_in_a_run_has_one_effect(world: World) -> None:
    site = world.site()
    tx_id = str(uuid.uuid4())
    order = site.order()
    sent = [
        site.sends(site.insert("work_orders", order), tx_id=tx_id),
        site.sends(site.insert("work_orders", order), tx_id=tx_id),
        site.sends(site.insert("job_responses", site.report())),
    ]
    outcome = await site.apply(*sent)
    assert (outcome.rows, outcome.parked, outcome.skipped) == (2, 0, 1)
    assert outcome.position.n == 3
    assert await world.value("SELECT count(*) FROM sync.version") == 1


async def test_a_part_of_a_transaction_without_end_is_malformed(world: World) -> None:
    site = world.site()
    reports = [untimed(site.insert("job_responses", site.report())) for _ in range(2)]
    part = replace(parts_of(site, reports)[0], n=1 << 63)
    with pytest.raises(MalformedMessage):
        codec.decode_part(codec.encode_part(part))


# --- any of it, at random -------------------------------------------------------------------------


class Garbage:
    """Makes blocks that the codec lets pass, of which little is as it should be."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self.site, self.chance = site, chance
        self._ids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(6)]
        self._ids += ["not an id \x00", "x" * 3_000, incompressible(chance, 1_000), ""]
        self._values: list[Value] = [
            math.nan, math.inf, -math.inf, -0.0, 1 << 63, -(1 << 63), (1 << 64) - 1, 1e308, 5,
            "5", "", "\x00", "x" * 5_000, "\U0001f600" * 700, "PRODUCTION", CREATED, b"\xff", None,
            self._ids[0], '{"a": "\\u0000"}', "1e99999",
        ]  # fmt: skip

    def block(self) -> ChangeBlock:
        """Return some rows, more often than not of ids that come more than once."""
        pick, rows = self.chance.choice, self.chance.randint(1, 6)
        name = pick(["work_orders", "job_orders", "job_responses", "persons", "no\x00 such table"])
        op = pick(list(Op))
        fact = name in self.site.world.catalog and self.site.world.catalog.table(name).fact
        names = self._columns(name) if op is not Op.DELETE else ()
        untouched: list[str | None] = [None, pick(self._ids), "y\x00"]
        return ChangeBlock(
            table=name,
            op=op,
            columns=names,
            sites=[pick(["SITE_001"] * 9 + ["\x00"]) for _ in range(rows)],
            created=[pick([CREATED] * 5 + ["yesterday", "0001-01-01T00:00:00.000Z"])] * rows,
            ids=[pick(self._ids) for _ in range(rows)],
            at=[] if fact else [pick([0, 1 << 62, -(1 << 63), self.site.at_ms])] * rows,
            base=[] if fact else [pick(untouched) for _ in range(rows)],
            after=[] if fact else [pick(untouched) for _ in range(rows)],
            new=[self._column(rows) for _ in names],
            old=[self._column(rows) for _ in names] if op is Op.UPDATE else [],
        )

    def _columns(self, name: str) -> tuple[str, ...]:
        if name not in self.site.world.catalog:
            return ("a\x00b",)
        names = list(self.site.world.catalog.table(name).names)
        self.chance.shuffle(names)
        return tuple(names[: self.chance.randint(1, len(names))])

    def _column(self, rows: int) -> list[Value]:
        return [self.chance.choice(self._values) for _ in range(rows)]


async def test_random_garbage_in_a_block_stops_nothing(world: World, seed: int) -> None:
    site = world.site()
    garbage = Garbage(site, random.Random(seed))
    for n in range(1, 41):
        blocks = [garbage.block() for _ in range(3)]
        good = site.report()
        sent = site.sends(*blocks, untimed(site.insert("job_responses", good)))
        sent = replace(sent, hlc=1 << 63, schema=garbage.chance.choice([0, 1, 1 << 40]))
        outcome = await site.apply(sent)
        assert (outcome.verdict, outcome.position.n) == (Verdict.APPLY, n), sent
        # Each row has had its effect, or is kept as it was sent.
        assert outcome.rows + outcome.parked == sum(map(len, sent.blocks)), sent
        assert await world.value("SELECT 1 FROM mes.job_responses WHERE id = %s", good["id"])
    assert await world.value("SELECT count(*) FROM sync.refused") == 0
    listed = "SELECT count(*) FROM mes.sync_parked WHERE state IN ('parked', 'waiting')"
    assert await world.value(listed) == await world.value("SELECT count(*) FROM sync.waiting")
