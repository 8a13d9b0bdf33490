"""A change is parked: what its site had built on it still meets the values that it hid there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sim.story import Story, lab, play
from tests.sim.test_parked_and_counted_on import tickets

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def hidden(s: Story, **values: Any) -> None:
    """NORTH's change is going to be parked; it hides what the centre wrote into the same columns.

    What NORTH writes next names the centre's version as the one that it is made on, though.
    """
    s.order(2, severity=3, note="first", dose=9)
    await s.rest()
    s.change(2, made=50, severity=5, note="parked", dose=8)
    await s.step("drain")
    await s.plan(2, made=40, **values)  # both together are more than the column holds
    for step in ("sequence", "publish", "fetch"):
        await s.step(step)
    assert s.shown(2, "severity", "note", "dose") == (5, "parked", 8)


async def discard(s: Story) -> None:
    first, *_ = await tickets(s)
    assert await s.world.centre.by_hand.discard(first, "a person")


@pytest.mark.parametrize("when", ["before it", "after it"])
def test_a_value_that_a_discarded_change_hid_is_decided_on_by_its_policy(play, when):
    async def story(s: Story) -> None:
        await hidden(s, severity=7, note="of the centre", dose=6)
        s.change(2, severity=4, note="built on it", dose=7)
        await s.step("drain")
        if when == "before it":
            await s.rest(owed=True)
            assert await s.count("mes.sync_parked", "state = 'waiting'") == 1
        else:
            await s.step("send")
            await s.step("ingest")
        await discard(s)
        await s.rest()
        assert await s.both(2, "severity", "note", "dose") == (7, "built on it", 6)
        found = {group: (json.loads(a), json.loads(b)) for group, a, b in await s.conflicts()}
        four, seven = ({"severity": value, "severity_by": None} for value in (4, 7))
        assert found["alarm"] == (four, seven)
        assert found["note"] == ({"note": "built on it"}, {"note": "of the centre"})
        assert await s.count("mes.sync_reviews", "state = 'OPEN' AND column_group = 'dose'") == 1

    play(story)


def test_a_value_that_nobody_else_wrote_is_not_in_conflict_with_what_was_built_on_a_parked_one(
    play,
):
    async def story(s: Story) -> None:
        await hidden(s)
        s.change(2, severity=2, note="built on it", dose=10)  # contested, 3 and 9 would stay
        await s.rest(owed=True)
        await discard(s)
        await s.rest()
        assert await s.both(2, "severity", "note", "dose") == (2, "built on it", 10)
        assert await s.count("mes.sync_conflicts", "verdict <> 'here'") == 0

    play(story)


@pytest.mark.parametrize("when", ["before it comes", "after it came"])
def test_what_a_site_writes_once_it_has_heard_of_the_parked_change_is_in_no_conflict(play, when):
    async def story(s: Story) -> None:
        await hidden(s, severity=7, note="of the centre", dose=6)
        await s.rest(owed=True)
        assert await s.both(2, "severity", "note", "dose") == (7, "of the centre", 6)
        s.change(2, severity=4, note="seen", dose=7)
        await s.step("drain")
        if when == "after it came":
            await s.rest(owed=True)
        await discard(s)
        await s.rest()
        assert await s.both(2, "severity", "note", "dose") == (4, "seen", 7)
        assert await s.conflicts() == []

    play(story)
