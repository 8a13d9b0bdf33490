"""What the database refuses by rules of its own is told as such; so is what is not theirs to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.api_world import Api, api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import ORDERS, changed, made_order, order
from tests.integration.quarrel import Quarrel, quarrel, stands
from tests.integration.test_web_pages import signed_in

if TYPE_CHECKING:
    import httpx

    from tests.integration.apply_world import World

__all__ = ["api", "client", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def rule(world: World, said: str) -> None:
    """Have the plant refuse orders by a trigger of its own."""
    await world.admin.execute(
        "CREATE FUNCTION public.plants_rule() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {said} END $$;"
        " CREATE TRIGGER plants_rule BEFORE INSERT OR UPDATE ON mes.work_orders"
        " FOR EACH ROW EXECUTE FUNCTION public.plants_rule()".encode()
    )


@pytest.mark.parametrize(
    "how",
    [
        "RAISE EXCEPTION 'line 4 is closed for the holidays'"
        " USING DETAIL = 'secret', HINT = 'secret';",
        "RAISE EXCEPTION 'line 4 is closed for the holidays' USING ERRCODE = 'check_violation',"
        " DETAIL = 'secret';",
    ],
)
async def test_a_rule_of_the_plant_that_refuses_a_write_is_told_in_its_own_words(
    client: httpx.AsyncClient, world: World, how: str
):
    standing = await made_order(client)
    await rule(world, how)
    for answer in (
        await client.post(ORDERS, json={"site": "SITE_001", "values": order()}),
        await changed(client, standing, priority=1),
    ):
        assert answer.status_code == 409, answer.text
        told = answer.json()
        assert told["type"] == "/problems/refused"
        assert told["detail"] == "line 4 is closed for the holidays"
        assert "secret" not in answer.text
    assert await world.value("SELECT count(*)::int FROM mes.work_orders") == 1


async def test_a_constraint_of_the_plant_is_told_without_what_the_database_says_of_it(
    client: httpx.AsyncClient, world: World
):
    await world.admin.execute(
        "ALTER TABLE mes.work_orders ADD CONSTRAINT secret CHECK (qty_ordered < 100)"
    )
    answer = await client.post(
        ORDERS, json={"site": "SITE_001", "values": order(qty_ordered="500")}
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/refused")
    assert "secret" not in answer.text
    assert "work_orders" not in answer.json()["detail"]
    assert (await made_order(client, qty_ordered="50"))["values"]["qty_ordered"] == "50"


# --- rows of all sites ----------------------------------------------------------------------------


async def of_all_sites(world: World) -> Quarrel:
    """Have a conflict on a row that all sites share."""
    quarrelled = await quarrel(world, world.site())
    await world.admin.execute(
        "SET session_replication_role = replica;"
        " UPDATE mes.sync_conflicts SET site_id = '*'; UPDATE mes.sync_reviews SET site_id = '*';"
        " UPDATE mes.nonconformances SET site_id = '*'; UPDATE sync.head SET site_id = '*';"
        " SET session_replication_role = origin"
    )
    return quarrelled


@pytest.mark.parametrize(
    ("grants", "narrowed", "may"),
    [
        (("plant:SITE_001",), {}, False),
        (("planner:SITE_001",), {}, False),
        (("admin",), {"X-Site-Id": "SITE_001"}, False),
        (("admin",), {}, True),
    ],
)
async def test_a_row_of_all_sites_is_decided_by_who_reviews_for_every_site(
    api: Api, world: World, grants: tuple[str, ...], narrowed: dict[str, str], may: bool
):
    quarrelled = await of_all_sites(world)
    before = await stands(world, quarrelled.row_id)
    decision = {"take": "here", "reason": "r", "seen": await world.head(quarrelled.row_id)}
    async with await api.asked_by(*grants) as one:
        answer = await one.post(
            f"/v1/conflicts/{quarrelled.conflict_id}/resolve", json=decision, headers=narrowed
        )
    if may:
        assert answer.status_code == 200, answer.text
    else:
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-your-site")
        assert await stands(world, quarrelled.row_id) == before


async def test_the_page_decides_no_row_of_all_sites_for_a_plant_either(api: Api, world: World):
    quarrelled = await of_all_sites(world)
    before = await stands(world, quarrelled.row_id)
    async with signed_in(api, "plant:SITE_001") as browser:
        page = (await browser.get("/conflicts")).text
        (token,) = set(re.findall(r'name="form_token" value="([^"]+)"', page))
        answer = await browser.post(f"/conflicts/{quarrelled.conflict_id}", data={
            "form_token": token, "take": "here", "reason": "x",
            "seen": await world.head(quarrelled.row_id),
        })  # fmt: skip
    assert answer.status_code == 403, answer.text
    assert await stands(world, quarrelled.row_id) == before
