"""What was parked of a life that its site's store has lost, and is applied in the next one."""

from __future__ import annotations

import pytest

from central.store import epochs
from sync.handshake import Closure
from tests.integration.apply_world import world  # noqa: F401


@pytest.mark.parametrize(("fork_n", "is_told"), [(0, True), (1, False)])
async def test_a_fact_that_a_lost_life_sent_comes_home_when_it_is_applied(world, fork_n, is_told):
    site, order = world.site(), world.site().order()
    report = site.report(work_order_id=order["id"])
    await site.apply(site.sends(site.insert("job_responses", report)))
    assert [state for _, state, *_ in await world.parked()] == ["waiting"]
    await epochs.close_chain(world.admin, site.name, Closure(site.epoch, fork_n, 1))
    later = world.site()
    await world.admin.execute(
        b"INSERT INTO sync.epoch (site, epoch, opened_at) VALUES (%s, %s, now())",
        [later.name, later.epoch],
    )
    await later.writes(later.insert("work_orders", order))
    assert await world.value("SELECT count(*) FROM mes.job_responses") == 1
    told = await world.rows(
        "SELECT t.row_id::text, t.scopes FROM sync.touched AS t JOIN sync.table_no AS n"
        " ON n.no = t.table_no WHERE n.name = 'job_responses'"
    )
    assert told == ([(report["id"], [site.name])] if is_told else [])
