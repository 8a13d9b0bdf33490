"""What one restore has begun, and the next one cuts short: nothing of it is forgotten too early."""

from __future__ import annotations

import pytest

from tests.sim.story import Story, id_of, lab, play
from tests.sim.test_restores_in_a_row import killed_before

__all__ = ["lab", "play"]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


# --- what is to be done again --------------------------------------------------------------------


async def parked_twice(s: Story, number: int) -> None:
    """Have a write parked, then the store go back, then the centre behind all of it."""
    await s.rest(owed=True)
    assert await s.count("mes.sync_parked", "state = 'parked'") == 1
    s.copy()
    s.change(1, note="lost life")
    await s.rest(owed=True)
    s.put_back()
    await s.step("hello")  # a new epoch, of which nothing is acked
    await s.restore()
    await s.step("hello")
    again = s.site().read("SELECT table_name, id FROM _sync_again")
    assert again == [("orders", id_of(number))]


@pytest.mark.parametrize("loaded", [False, True])
def test_what_is_parked_is_parked_again_though_a_snapshot_came_before_it_was_sent_again(
    play, loaded
):
    async def story(s: Story) -> None:
        s.order(1, code="C1")
        await s.back_up()
        await s.plan(1, code="C2")
        s.order(3, code="C2")
        await s.step("send")
        await s.step("ingest")
        await parked_twice(s, 3)
        if loaded:
            await s.step("load")  # of which the ack ends before that transaction
        await s.restore()
        await s.rest(owed=True)
        found = await s.count("mes.orders", f"id = '{id_of(3)}'")
        assert found + await s.count("mes.sync_parked", "state = 'parked'") == 1

    play(story)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_parked_on_a_row_that_a_half_loaded_snapshot_brought_is_parked_again(
    play, monkeypatch, restarted
):
    async def story(s: Story) -> None:
        s.world._check_own_writes = lambda *_: None  # type: ignore[method-assign]
        s.order(1, code="C1")
        s.order(2, code="C9")
        await s.back_up()
        await s.plan(1, code="C2")
        s.change(2, code="C2")
        await s.step("send")
        await s.step("ingest")
        await parked_twice(s, 2)
        if restarted:
            with killed_before(monkeypatch, "finish_snapshot"):
                await s.step("load")
            assert s.site().store.snapshot_state() is not None
            await s.world.database_starts()  # as it was
            await s.step("hello")
        await s.rest(owed=True)
        assert await s.count("mes.sync_parked", "state = 'parked'") == 1

    play(story)
