"""What an agent tells a centre that went back: all that has come, shown or not."""

from __future__ import annotations

from edge.homecoming import Homecoming
from sync import codec
from tests.integration.edge_world import SITE, plant, put, thread, uid  # noqa: F401


class Centre:
    """A centre that lost everything, and notes which rows it is told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        asked = codec.decode_control(payload)
        if subject.endswith(".life"):
            return codec.encode_control({"life": uid(1), "held_order": 0})
        assert subject == f"ctl.{SITE}.home"
        ids = [row_id for block in codec.decode_chunk(asked["chunk"]) for row_id in block.ids]
        self.told += ids
        return codec.encode_control({"rows": len(ids), "parked": 0})


async def test_what_waits_for_the_other_feed_comes_home_as_well(plant, thread):
    """A planner's order of the lost time: it has come to the site, and could not be shown yet."""
    for number in (1, 2):
        head = put("orders", {"id": uid(number), "order_no": f"WO-{number}"}, order=number)
        plant.receive(plant.own.entry(head, beside=number - 1))
    assert plant.value("SELECT count(*) FROM orders") == 1
    centre = Centre()
    home = Homecoming(centre, plant.store, thread, SITE, {"applied_n": 0})
    assert await home.show(whole=True) == 2
    assert centre.told == [uid(1), uid(2)]


async def test_a_centre_that_may_be_whole_is_asked_before_anything_is_shown_in_part(plant, thread):
    head = put("orders", {"id": uid(1), "order_no": "WO-1"}, order=1)
    plant.receive(plant.own.entry(head, beside=1))
    home = Homecoming(Centre(), plant.store, thread, SITE, {"applied_n": 0})
    assert await home.show(whole=False) == 0
    assert plant.value("SELECT count(*) FROM orders") == 0
