"""Orders by their due dates: at which moment they are judged, which ones, and by whose word."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta

import pytest

from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import made_order, rules
from tests.integration.states_world import known_until
from tests.integration.test_reports_due import DONE, FUTURE, PAST, ask, output, reported

__all__ = ["api", "ask", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

DUE = datetime.fromisoformat(PAST)


async def heard(world, through: datetime, *names: str) -> None:
    """Have sites send something, after which they are complete until then."""
    for name in names or ("SITE_001",):
        site = world.site(name)
        await site.writes(site.insert("equipment", {"equipment_code": "M"}))
        await known_until(world, through, name)


async def now(world) -> datetime:
    return await world.value("SELECT clock_timestamp()")


@pytest.mark.parametrize("is_heard", [True, False], ids=["until now", "until before"])
async def test_all_late_orders_are_on_some_page_though_all_of_them_get_later(
    client, world, is_heard
):
    through = await now(world) + timedelta(hours=1 if is_heard else -1)
    await heard(world, through, "SITE_001", "SITE_003")
    for n in range(7):
        await made_order(client, ("SITE_001", "SITE_003")[n % 2], order_no=f"A{n}", due_at=PAST)
    found, lates, cursor = [], set(), {}
    for page in range(1, 9):
        asked = {"limit": 3} | cursor
        answer = (await client.get("/v1/reports/orders", params=asked)).json()
        found += [row["order"] for row in answer["rows"]]
        lates |= {row["late_h"] for row in answer["rows"]}
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
        for name in ("SITE_001", "SITE_003"):
            await known_until(world, through + timedelta(seconds=page), name)
    assert sorted(found) == [f"A{n}" for n in range(7)]
    assert len(lates) == 1  # of one moment


def tampered(cursor: str, **texts: str) -> str:
    """Return a cursor with another moment, or another distance of sites from it."""
    mark, at, behind, *values = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    given = [mark, texts.get("at", at), texts.get("behind", behind), *values]
    return base64.urlsafe_b64encode(
        json.dumps(given[: int(texts.get("most", 99))]).encode()
    ).decode()


@pytest.mark.parametrize(
    "texts",
    [
        {"at": "soon"}, {"at": "2026-11-02T06:00:00"}, {"at": "9999-12-31T23:59:59-23:59"},
        {"at": "1900-01-01T00:00:00+00:00"}, {"at": "2026-11-02"},
        {"behind": "x"}, {"behind": "-5,,"}, {"behind": "1" * 40 + ",,"}, {"behind": "5"},
        {"behind": "\u0665,,"}, {"most": "1"}, {"most": "2"}, {"most": "3"},
    ],
)  # fmt: skip
async def test_a_moment_that_no_answer_gave_is_refused(client, world, texts):
    await heard(world, await now(world))
    for _ in range(2):
        await made_order(client, due_at=PAST)
    first = (await client.get("/v1/reports/orders", params={"limit": 1})).json()
    on = {"limit": 1, "cursor": tampered(first["next"])}
    assert len((await client.get("/v1/reports/orders", params=on)).json()["rows"]) == 1
    for more in ({}, {"format": "csv", "whole": "true"}):
        asked = {"limit": 1, "cursor": tampered(first["next"], **texts), **more}
        answer = await client.get("/v1/reports/orders", params=asked)
        assert answer.status_code == 422, answer.text
        assert list(rules(answer)) == ["query.cursor"]


async def test_an_unfinished_order_is_late_as_far_as_its_site_is_known(client, world, ask):
    for name in ("SITE_001", "SITE_002", "SITE_003"):
        for n, due in enumerate((DUE, DUE + timedelta(hours=5))):
            await made_order(client, name, order_no=f"{name[-1]}{n}", due_at=due.isoformat())
        await made_order(client, name, order_no=f"{name[-1]} done", due_at=PAST, actual_end=PAST,
                         **DONE)  # fmt: skip
    await heard(world, await now(world) + timedelta(hours=1), "SITE_001")
    await heard(world, DUE + timedelta(hours=2), "SITE_002")  # and SITE_003 never
    asked = {"group_by": "site", "measures": "orders_open,orders_due,orders_late,on_time_delivery"}
    rows = {row.pop("site"): tuple(row.values()) for row in await ask("on-time", **asked)}
    assert rows == {
        "SITE_001": (2, 3, 2, 0.333333333), "SITE_002": (2, 2, 1, 0.5), "SITE_003": (2, 1, 0, 1),
    }  # fmt: skip
    (late,) = await ask("orders", site="SITE_002", order="20")
    assert late["late_h"] == 2
    (late,) = await ask("orders", site="SITE_001", order="10")
    assert late["late_h"] > 24


async def test_what_a_plant_adds_to_a_shared_definition_counts_for_no_other(client, world, ask):
    definition = await output(client)
    # The API takes no such row; one of before may be there.
    await world.admin.execute(
        b"INSERT INTO mes.operation_segments (id, site_id, created_at, definition_id, seq, code,"
        b" is_output) VALUES (gen_random_uuid(), 'SITE_001', now(), %s, 9, 'Turning', true)",
        [definition],
    )
    for name in ("SITE_001", "SITE_002"):
        site = world.site(name)
        for number, of in ((f"{name} own", {"definition_id": definition}), (f"{name} any", {})):
            order = await made_order(client, name, order_no=number, due_at=PAST, **of)
            at = "2020-11-02T10:00:00.000Z"
            await reported(site, order, ended=at, good="7", segment="Turning")
    rows = await ask("orders", sort="order", measures="qty_made", group_by="order")
    assert {row["order"]: row["qty_made"] for row in rows} == {
        "SITE_001 own": 7, "SITE_001 any": 7, "SITE_002 own": 0, "SITE_002 any": 0,
    }  # fmt: skip


async def test_orders_that_are_late_and_open_are_asked_for_beside_those_of_the_days(
    client, world, ask
):
    await heard(world, await now(world))
    for number, due, more in (
        ("then", "2026-11-03T12:00:00Z", {}),
        ("late and open", PAST, {}),
        ("late and done", PAST, {"actual_end": "2020-11-03T12:00:00Z", **DONE}),
        ("cancelled", PAST, {"exec_state": "RELEASED", "cancel_requested": True}),
        ("to come", FUTURE, {}),
        ("never due", None, {}),
        ("never due and done", None, {"actual_end": PAST, **DONE}),
    ):
        await made_order(client, order_no=number, due_at=due, **more)
    days = {"from": "2026-11-01", "to": "2026-11-08", "sort": "order"}

    async def told(**given):
        return [row["order"] for row in await ask("orders", **given)]

    assert await told(**days) == ["then"]
    assert await told(**days, due="or_late") == ["late and open", "then"]
    after = {"from": "2099-01-01", "sort": "order"}
    assert await told(**after, due="or_late") == ["late and open", "then", "to come"]
    assert await told(due="never", sort="order") == ["never due", "never due and done"]
    (row,) = await ask("on-time", due="never", measures="orders,orders_open,orders_due,orders_late")
    assert tuple(row.values()) == (2, 1, 0, 0)


async def test_what_is_in_no_window_is_asked_for_without_one(client):
    answer = await client.get("/v1/reports/orders", params={"due": "never", "from": "2026-11-01"})
    assert answer.status_code == 422
    assert list(rules(answer)) == ["query.due"]
    assert (await client.get("/v1/reports/orders", params={"due": "soon"})).status_code == 422
