"""Thousands of rows wait for one: none of them stops the queue of their site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from central.store import retry
from tests.integration.apply_world import World, world

if TYPE_CHECKING:
    import pytest

__all__ = ["world"]


async def test_what_thousands_wait_for_is_applied_in_bounded_time_and_they_soon_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that is woken costs its run some time, and a run that takes too long is undone."""
    monkeypatch.setattr(retry, "WOKEN_MAX", 3)
    site = world.site()
    order = site.order()
    some = [site.report(work_order_id=order["id"]) for _ in range(8)]
    assert (await site.apply(site.sends(site.insert("job_responses", *some)))).parked == 8
    assert (await site.apply(site.sends(site.insert("work_orders", order)))).rows == 4
    assert await world.store.retry_due("SITE_001") == 5
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 8
    assert {state for _, state, *_ in await world.parked()} == {"applied"}
