"""A store that went back, and has not followed since, tells a centre of what is parked there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import edge.homecoming
from shared.errors import Transient
from sync import codec
from tests.sim.catalogue import CREATED, GOOD_MAX
from tests.sim.story import NORTH, Story, id_of, lab, play
from tests.sim.test_parked_and_counted_on import of_two_orders, park, tickets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]


async def order_and_report(s: Story) -> None:
    """An order comes with a report that the centre can't take: both are parked."""
    keys = (NORTH, CREATED)
    refused = s.site().write([
        ("INSERT INTO orders (id, site_id, created_at, state, holds, made, note)"
         " VALUES (?, ?, ?, 'planned', '[]', 0, 'of the site')", (id_of(3), *keys)),
        ("INSERT INTO reports (id, site_id, created_at, order_id, good) VALUES (?, ?, ?, ?, ?)",
         (id_of(30), *keys, id_of(3), GOOD_MAX + 1)),
    ])  # fmt: skip
    assert refused == ""
    await s.step("drain")


async def parked(s: Story, table: str) -> str:
    """Return the ticket of the order, which waits for its report, or of the report."""
    ((ticket,),) = await s.world.database.rows(
        "SELECT ticket::text FROM sync.waiting WHERE table_name = %s", table
    )
    return str(ticket)


def test_what_waits_stays_away_though_a_store_that_went_back_tells_of_it(play):
    async def story(s: Story) -> None:
        await order_and_report(s)
        s.order(8)
        s.copy()  # with the order in its log, which is sent before it is put back
        await s.world._rounds()
        ticket = await parked(s, "orders")
        s.put_back()
        await s.world.database_starts()
        await s.rest(owed=True)
        assert homecomings(s) == 1
        assert await s.count("mes.orders", f"id = '{id_of(3)}'") == 0
        assert s.site().read("SELECT id FROM orders WHERE id = ?", id_of(3)) == []
        assert await parked(s, "orders") == ticket
        assert await s.world.centre.by_hand.discard(await parked(s, "reports"), "a person")
        await s.rest()
        assert await s.both(3, "note") == ("of the site",)

    play(story)


def test_what_was_applied_in_a_lost_history_comes_home_with_its_record(play):
    async def story(s: Story) -> None:
        await order_and_report(s)
        await s.world._rounds()
        await s.world.centre_is_backed_up()
        ticket = await parked(s, "orders")
        assert await s.world.centre.by_hand.discard(await parked(s, "reports"), "a person")
        await s.rest()
        assert await s.both(3, "note") == ("of the site",)
        s.order(8)
        s.copy()
        await s.world._rounds()
        s.put_back()
        await s.step("hello")  # it begins an epoch, and has followed nothing since
        await s.restore()
        await s.rest()
        assert homecomings(s) == 1
        assert await s.both(3, "note") == ("of the site",)
        assert await s.count("sync.waiting") == 0
        records = "SELECT state FROM mes.sync_parked WHERE id = %s"
        assert await s.world.database.rows(records, ticket) == [("applied",)]

    play(story)


def homecomings(s: Story) -> int:
    return len(s.site().read("SELECT 1 FROM _sync_event WHERE code = 'MES-CENTRE-RESTORED'"))


async def cut_before(s: Story, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    """A homecoming is killed before it tells of rows of a table."""
    ask = edge.homecoming._ask

    async def asked(link: Any, site: str, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
        if verb == "home" and any(
            block.table == table for block in codec.decode_chunk(fields["chunk"])
        ):
            raise Transient("killed")
        return await ask(link, site, verb, fields)

    with monkeypatch.context() as patched:
        patched.setattr(edge.homecoming, "_ask", asked)
        await s.step("hello")


async def cut_before_records(s: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site brings home its orders, and is killed before the records of what was parked."""
    await cut_before(s, monkeypatch, "sync_parked")


async def inserted(s: Story) -> None:
    """An order is parked, as its key is taken; the key is free again after a backup and a copy."""
    s.order(1, code="C1")
    await s.rest()
    await s.plan(1, code="C9")
    s.order(2, code="C9", note="of the site", made=5)
    await s.step("drain")
    await s.world._rounds()


async def updated(s: Story) -> None:
    await of_two_orders(s)
    await park(s, made=5, note="of the site")


async def applied_since(s: Story, parked_row: Callable[[Story], Awaitable[None]]) -> None:
    await parked_row(s)
    await s.world.centre_is_backed_up()
    await s.plan(1, code="C1")
    await s.rest(owed=True)
    (ticket,) = await tickets(s)
    assert await s.world.centre.by_hand.retry(ticket)
    await s.rest()


@pytest.mark.parametrize("is_behind", [True, False])
@pytest.mark.parametrize("parked_row", [inserted, updated])
def test_a_person_who_tries_it_between_its_row_and_its_record_has_it_counted_once(
    play, monkeypatch, parked_row: Callable[[Story], Awaitable[None]], is_behind
):
    async def story(s: Story) -> None:
        if is_behind:
            s.order(7)
            await s.rest()
            s.copy()
        await applied_since(s, parked_row)
        await s.restore()
        (ticket,) = await tickets(s)
        await cut_before_records(s, monkeypatch)
        if is_behind:
            s.put_back()  # to a copy that has not heard of it, nor will it
        assert not await s.world.centre.by_hand.retry(ticket)
        await s.rest(owed=True)
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")

    play(story)


@pytest.mark.parametrize("parked_row", [inserted, updated])
def test_a_row_that_came_home_without_its_record_takes_effect_once(
    play, monkeypatch, parked_row: Callable[[Story], Awaitable[None]]
):
    async def story(s: Story) -> None:
        await applied_since(s, parked_row)
        await s.restore()
        await cut_before_records(s, monkeypatch)
        await s.rest()
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")
        assert await s.count("sync.waiting") == 0

    play(story)


@pytest.mark.parametrize("parked_row", [inserted, updated])
def test_an_agent_of_before_that_does_not_tell_what_took_effect_brings_it_home(
    play, monkeypatch, parked_row: Callable[[Story], Awaitable[None]]
):
    async def story(s: Story) -> None:
        await applied_since(s, parked_row)
        s.order(8)
        s.copy()
        await s.world._rounds()
        s.put_back()
        await s.step("hello")
        await s.restore()
        ask = edge.homecoming._ask

        async def of_before(link: Any, site: str, verb: str, fields: dict[str, Any]) -> Any:
            told = {name: each for name, each in fields.items() if name != "took_effect"}
            return await ask(link, site, verb, told)

        monkeypatch.setattr(edge.homecoming, "_ask", of_before)
        await s.rest()
        assert await s.both(2, "made", "note", "code") == (5, "of the site", "C9")
        assert await s.count("sync.waiting") == 0

    play(story)


@pytest.mark.parametrize("by_site", [True, False])
def test_what_was_applied_and_deleted_in_a_lost_history_stays_away(play, by_site):
    async def story(s: Story) -> None:
        await applied_since(s, inserted)
        if by_site:
            s.write("DELETE FROM orders WHERE id = ?", id_of(2))
        else:
            text = "DELETE FROM mes.orders WHERE id = %s"
            assert await s.world._execute(NORTH, text, [id_of(2)])
            s.world.oracle.deleted_by_clients.add(("orders", id_of(2)))
        await s.rest()
        await s.restore()
        await s.rest(owed=True)
        await s.step("retry_due")
        await s.rest(owed=True)
        assert await s.count("mes.orders", f"id = '{id_of(2)}'") == 0
        assert s.site().read("SELECT id FROM orders WHERE id = ?", id_of(2)) == []

    play(story)
