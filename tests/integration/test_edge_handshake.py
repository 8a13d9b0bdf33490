"""The edge's side of the handshake with a centre that answers as no healthy one does."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from edge.handshake import Handshake
from edge.lanes import DownLane
from shared.changes import GENESIS
from shared.errors import BrokerUnreachable, Transient
from sync import codec
from tests.integration.edge_world import SITE, Plant, thread, uid  # noqa: F401


class Centre:
    """Gives these verdicts to one hello after the other, and the last for ever; "" is no answer."""

    def __init__(self, *verdicts: str, ahead_ms: int = 0, slow_s: float = 0.0) -> None:
        self.verdicts, self.hellos = list(verdicts), 0
        self.ahead_ms, self.slow_s = ahead_ms, slow_s

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        if subject.endswith(".life"):
            return codec.encode_control({"life": uid(1), "held_order": 0})
        if not subject.endswith(".hello"):
            return codec.encode_control({})
        self.hellos += 1
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        if not verdict:
            raise BrokerUnreachable("the line went")
        now_ms = codec.decode_control(payload)["now_ms"] + self.ahead_ms
        await asyncio.sleep(self.slow_s)  # its clock was read, and then the line was slow
        return codec.encode_control(
            {
                "verdict": verdict, "why": "no backup is known", "life": uid(1), "now_ms": now_ms,
                "noted_ms": 0, "applied_n": 0, "applied_hash": GENESIS, "included": [0, GENESIS],
            }
        )  # fmt: skip


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db")
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, n, table_name, row_id)")
    yield plant
    plant.close()


def shaking(plant, thread, centre):
    down = DownLane(plant.store, thread, centre, SITE)
    return Handshake(SITE, plant.store, thread, centre, {}, down)


async def test_a_centre_with_which_no_hello_agrees_is_left_for_a_while(plant, thread):
    centre = Centre("show")
    with pytest.raises(Transient, match="no backup is known"):
        await shaking(plant, thread, centre).agree(0)
    assert centre.hellos == 20


async def test_why_both_do_not_agree_is_known_until_they_do_or_nobody_answers(plant, thread):
    for verdicts, why in (
        (("show",), "no backup is known"),
        (("show", "ok"), ""),
        (("show", ""), ""),
    ):
        hands = shaking(plant, thread, Centre(*verdicts))
        with contextlib.suppress(Transient):
            await hands.agree(0)
        assert hands.apart_because == why


async def test_what_was_healed_before_the_line_went_is_told_when_both_agree(plant, thread):
    hands = shaking(plant, thread, Centre("lost", "", "ok"))
    with pytest.raises(BrokerUnreachable):
        await hands.agree(0)
    assert (await hands.agree(0)).healed
    assert not (await hands.agree(0)).healed


async def test_a_slow_hello_does_not_spoil_the_offset_that_a_fast_one_measured(plant, thread):
    hour_ms = 3_600_000
    fast = await shaking(plant, thread, Centre("ok", ahead_ms=hour_ms)).agree(0)
    slow = await shaking(plant, thread, Centre("ok", ahead_ms=hour_ms, slow_s=0.3)).agree(0)
    assert fast.offset_ms == slow.offset_ms == plant.store.position().offset_ms
    assert fast.offset_ms != 0
