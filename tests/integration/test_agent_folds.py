"""The centre folds what sites report, and checks the sums, while it goes on."""

from __future__ import annotations

from tests.integration.whole_world import SITE, world

__all__ = ["world"]


async def test_reports_are_folded_while_sites_go_on_and_count_once(world):
    edge = world.edges[SITE]
    for turn in range(3):
        edge.write(
            "INSERT INTO job_responses (report_type, qty_good, qty_scrap)"
            f" VALUES ('PRODUCTION', {turn}, 1), ('SETUP', 0, 0)"
        )
        await world.settle()

    async def folded() -> bool:
        return not await world.central("SELECT FROM mes.job_responses_deltas")

    await world.eventually(folded)
    (sums,) = await world.central(
        "SELECT sum(reports)::int, sum(qty_good)::int, sum(qty_scrap)::int FROM mes.output_days"
    )
    assert tuple(sums) == (6, 3, 3)


async def test_the_sums_of_a_site_are_checked_by_themselves(world):
    async def checked() -> bool:
        return bool(await world.central("SELECT FROM sync.rollup_check WHERE differing = 0"))

    await world.eventually(checked)
