"""A change only waits, and its site takes it for applied; then it will not count after all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.catalogue import CREATED
from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import of_two_orders, tickets

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

STEP = id_of(20)
_COLUMNS = "order_id, seq, note"


async def at_both(s: Story) -> list[tuple[Any, ...]]:
    """Return the step, which both ends hold alike."""
    found = s.site().read(f"SELECT {_COLUMNS} FROM steps WHERE id = ?", STEP)
    rows = await s.world.database.rows(
        f"SELECT order_id::text, seq, note FROM mes.steps WHERE id = '{STEP}'"
    )
    assert found == rows
    return rows


def insert(s: Story, order: int, note: str, seq: int = 1, step: str = STEP) -> None:
    s.write(
        f"INSERT INTO steps (id, site_id, created_at, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
        step, NORTH, CREATED, id_of(order), seq, note,
    )  # fmt: skip


async def plan_step(s: Story, text: str, *given: Any) -> None:
    assert await s.world._execute(NORTH, text, [*given, STEP])
    await s.rest()


async def without_parent(s: Story) -> None:
    """NORTH makes an order that is going to be parked: the centre gave its code to another one."""
    await s.plan(1, code="C9")
    s.order(3, code="C9")
    await s.step("drain")


async def discard(s: Story, table: str) -> None:
    ((ticket,),) = await s.world.database.rows(
        "SELECT ticket::text FROM sync.waiting WHERE table_name = %s AND behind IS NULL", table
    )
    assert await s.world.centre.by_hand.discard(ticket, "a person")


async def waits(s: Story) -> None:
    """Let all come to rest; the step waits, and NORTH takes what it wrote for applied."""
    await s.world._rounds()
    assert await s.count("sync.waiting", "table_name = 'steps' AND quiet") == 1
    assert s.site().read("SELECT count(*) FROM _sync_pending") == [(0,)]
    assert s.site().read(f"SELECT order_id FROM steps WHERE id = '{STEP}'") == [(id_of(3),)]


async def a_step(s: Story) -> None:
    s.order(1, code="C1")
    insert(s, 1, "first")
    await s.rest()
    # A head that comes from the centre: NORTH knows its order, and takes no such head again.
    await plan_step(s, "UPDATE mes.steps SET note = 'of the centre' WHERE id = %s")


def test_of_an_update_that_only_waited_its_site_takes_the_head_as_it_is_discarded(play):
    async def story(s: Story) -> None:
        await a_step(s)
        await without_parent(s)
        s.write("UPDATE steps SET order_id = ?, note = 'moved' WHERE id = ?", id_of(3), STEP)
        await waits(s)
        await discard(s, "steps")
        await discard(s, "orders")
        await s.rest()
        assert await at_both(s) == [(id_of(1), 1, "of the centre")]
        assert await s.conflicts() == []

    play(story)


def test_of_a_row_made_anew_that_only_waited_its_site_learns_as_it_is_discarded(play):
    async def story(s: Story) -> None:
        await a_step(s)
        await plan_step(s, "DELETE FROM mes.steps WHERE id = %s")
        await without_parent(s)
        insert(s, 3, "anew")
        await waits(s)
        await discard(s, "steps")
        await discard(s, "orders")
        await s.rest()
        assert await at_both(s) == []

    play(story)


@pytest.mark.parametrize("built_on", [True, False])
def test_of_an_update_that_only_waited_its_site_takes_the_head_as_it_is_refused(play, built_on):
    async def story(s: Story) -> None:
        await a_step(s)
        await s.plan(1, code="C9")
        s.order(3, code="C9")
        insert(s, 3, "the other", step=id_of(21))  # it has the number, and comes with its order
        await s.world._rounds()
        s.write("UPDATE steps SET order_id = ? WHERE id = ?", id_of(3), STEP)
        await waits(s)
        if built_on:
            s.write("UPDATE steps SET note = 'built on it' WHERE id = ?", STEP)
            await s.world._rounds()
        await s.plan(1, code="C1")
        orders = "SELECT ticket::text FROM sync.waiting WHERE table_name = 'orders'"
        ((ticket,),) = await s.world.database.rows(orders)
        await s.world.centre.by_hand.retry(ticket)
        await s.rest(owed=True)
        assert await at_both(s) == [(id_of(1), 1, "of the centre")]
        assert await s.count("sync.waiting", "quiet") == 0
        await discard(s, "steps")
        await s.rest()
        # What was built on a version that never was is in conflict with all, and on record.
        assert await at_both(s) == [(id_of(1), 1, "of the centre")]
        lost = ("note", '{"note":"built on it"}', '{"note":"of the centre"}')
        assert await s.conflicts() == ([lost] if built_on else [])

    play(story)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_count_that_was_parked_and_applied_is_not_sent_again_by_a_copy_that_held_it(play, hidden):
    async def story(s: Story) -> None:
        await of_two_orders(s)
        s.change(2, code="C9", made=5, severity=5, note="of the copy")
        s.copy()  # it holds that in its log
        await s.step("drain")
        if hidden:
            await s.plan(2, severity=7)
        await s.rest(owed=True)
        await s.plan(1, code="C1")
        await s.rest(owed=True)
        (ticket,) = await tickets(s)
        assert await s.world.centre.by_hand.retry(ticket)
        await s.rest()
        s.put_back()
        await s.rest()
        assert await s.both(2, "made", "note") == (5, "of the copy")
        assert await s.count("mes.sync_conflicts", "column_group = 'made'") == 0

    play(story)
