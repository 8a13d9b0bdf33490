"""Planners write central and two-way rows: each write by the rules, shown what it builds on."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from central.feed import Sequencer
from shared.changes import Fate
from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.central_world import CATALOG, connect
from tests.integration.planner_world import (
    EQUIPMENT,
    MATERIALS,
    ORDERS,
    RATES,
    changed,
    made,
    made_order,
    noted,
    order,
    rules,
    seen,
)
from tests.integration.test_feed import follow, rows

__all__ = ["api", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]


async def stands(world, row, *names):
    columns = ", ".join(f"{name}::text" for name in names)
    return await world.one(f"SELECT {columns} FROM mes.{row['table']} WHERE id = %s", row["id"])


# --- adding ----------------------------------------------------------------------------------


async def test_an_order_that_is_added_goes_the_way_of_any_clients_write_to_its_site(
    api, client, world
):
    answer = await client.post(ORDERS, json={"site": "SITE_001", "values": order(order_no="A1")})
    row = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{ORDERS}/{row['id']}"
    assert answer.headers["ETag"] == f'"{row["version"]}"'
    assert row["values"]["qty_ordered"] == "10"
    assert row["values"]["exec_state"] == "CREATED"  # its default
    assert await world.head(row["id"]) == row["version"]
    who = await world.value("SELECT changed_by FROM mes.work_orders")
    assert who.startswith("key test-")
    assert await world.value("SELECT writer FROM sync.version") == who
    async with connect(world.url, autocommit=False) as connection:
        await Sequencer(connection, CATALOG).step(now_ms=1)
    assert [number for _, number in rows(await follow(world.url, "SITE_001"))] == ["A1"]
    assert await follow(world.url, "SITE_002") == []


async def test_a_row_is_read_as_it_was_answered(client):
    row = await made_order(client, cancel_requested=False, routing={"steps": [1, "ü"]})
    answer = await client.get(f"{ORDERS}/{row['id']}")
    assert (answer.json(), answer.headers["ETag"]) == (row, f'"{row["version"]}"')
    assert row["values"]["routing"] == '{"steps":[1,"ü"]}'
    assert row["values"]["cancel_requested"] is False


@pytest.mark.parametrize(
    ("values", "field", "rule"),
    [
        ({"colour": "red"}, "colour", "no such column"),
        ({"id": str(uuid.uuid4())}, "id", "no such column"),
        ({"changed_by": "me"}, "changed_by", "who writes"),
        ({"order_no": None}, "order_no", "null is not allowed"),
        ({"order_no": "x" * 61}, "order_no", "at most 60"),
        ({"order_no": "a\x00"}, "order_no", "no NUL"),
        ({"qty_ordered": "-1"}, "qty_ordered", "below the least value allowed, 0"),
        ({"qty_ordered": "1.0000001"}, "qty_ordered", "at most 6 digits"),
        ({"qty_ordered": True}, "qty_ordered", "not true or false"),
        ({"priority": 101}, "priority", "above the largest value allowed, 100"),
        ({"source": "ELSE"}, "source", "one of ERP, LOCAL, REWORK"),
        ({"due_at": "2026-12-01T00:00:00"}, "due_at", "without Z or offset"),
        ({"cancel_requested": "perhaps"}, "cancel_requested", "0 or 1"),
        ({"material_id": "P-100"}, "material_id", "hexadecimal"),
        ({"routing": "{"}, "routing", "not a valid json"),
    ],
)
async def test_a_value_that_breaks_a_rule_is_refused_by_its_column(client, values, field, rule):
    answer = await client.post(ORDERS, json={"site": "SITE_001", "values": order(**values)})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-row")
    ((at, said),) = rules(answer).items()
    assert at == f"body.values.{field}"
    assert rule in said


async def test_all_that_is_wrong_with_a_row_is_told_at_once(client):
    made = {"site": "SITE_001", "values": {"priority": -1, "source": "ELSE"}}
    answer = await client.post(ORDERS, json=made)
    assert set(rules(answer)) == {f"body.values.{n}" for n in ("priority", "source", "order_no")}
    assert "a value is required" in rules(answer)["body.values.order_no"]


async def test_a_key_that_another_row_of_the_site_has_is_refused_by_its_columns(client, world):
    await made_order(client, order_no="A1")
    answer = await client.post(ORDERS, json={"site": "SITE_001", "values": order(order_no="A1")})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/key-taken")
    assert list(rules(answer)) == ["body.values.order_no"]
    other = await made_order(client, "SITE_002", order_no="A1")
    assert other["values"]["order_no"] == "A1"
    third = await made_order(client)
    clash = await changed(client, third, order_no="A1")
    assert (clash.status_code, clash.json()["type"]) == (409, "/problems/key-taken")


async def test_of_rows_with_one_key_that_come_at_once_one_is_made(client, world):
    body = {"site": "SITE_001", "values": order(order_no="A1")}
    answers = await asyncio.gather(*(client.post(ORDERS, json=body) for _ in range(5)))
    assert sorted(each.status_code for each in answers) == [201, 409, 409, 409, 409]
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 1


async def test_one_request_that_comes_several_times_at_once_makes_one_row(client, world):
    body, named = {"site": "SITE_001", "values": order()}, {"Idempotency-Key": "plan-1"}
    asked = (client.post(ORDERS, json=body, headers=named) for _ in range(5))
    answers = await asyncio.gather(*asked)
    assert {each.status_code for each in answers} == {201}
    assert len({each.content for each in answers}) == 1
    assert await world.value("SELECT count(*) FROM mes.work_orders") == 1


async def test_a_reference_to_nothing_or_to_another_sites_row_is_refused_by_its_column(client):
    theirs = await made(client, EQUIPMENT, "SITE_002", equipment_code="M2")
    rate = {"pri_s": "2", "effective_from": "2026-12-01T00:00:00Z"}
    for value in (str(uuid.uuid4()), theirs["id"]):
        body = {"site": "SITE_001", "values": {**rate, "equipment_id": value}}
        answer = await client.post(RATES, json=body)
        assert answer.status_code == 422
        assert "of SITE_001 or shared" in rules(answer)["body.values.equipment_id"]
    ours = await made(client, EQUIPMENT, equipment_code="M1")
    shared = await made(client, MATERIALS, "*", material_code="P-1")
    row = await made(client, RATES, **rate, equipment_id=ours["id"], material_id=shared["id"])
    assert row["values"]["material_id"] == shared["id"]
    answer = await changed(client, row, equipment_id=theirs["id"])
    assert "of SITE_001 or shared" in rules(answer)["body.values.equipment_id"]


async def test_an_order_of_a_month_without_a_partition_finds_one(client, world):
    await world.admin.execute("DROP TABLE mes.work_orders__site_001")
    row = await made_order(client)
    name = await world.value("SELECT tableoid::regclass::text FROM mes.work_orders")
    assert name == f"mes.work_orders__site_001__{row['created_at'][:7].replace('-', '_')}"


# --- changing --------------------------------------------------------------------------------


async def test_a_change_is_written_where_the_version_that_was_seen_still_stands(client, world):
    row = await made_order(client, notes="first")
    answer = await changed(client, row, priority=90, due_at="2026-12-01T08:00:00+02:00")
    now = answer.json()
    assert answer.status_code == 200
    assert answer.headers["ETag"] == f'"{now["version"]}"' != f'"{row["version"]}"'
    assert now["values"] == row["values"] | {"priority": 90, "due_at": "2026-12-01T06:00:00.000Z"}
    assert await stands(world, row, "priority", "notes") == ("90", "first")
    mask = await world.value("SELECT mask FROM sync.version WHERE op = 'U'")
    assert CATALOG.table("work_orders").names_of(mask) == ("priority", "due_at")


async def test_a_write_that_names_no_version_is_refused(client, world):
    row = await made_order(client)
    path = f"{ORDERS}/{row['id']}"
    for asked in (
        client.patch(path, json={"values": {"priority": 1}}),
        client.put(path, json={"values": order()}),
        client.delete(path),
    ):
        answer = await asked
        assert (answer.status_code, answer.json()["type"]) == (428, "/problems/needs-version")
    assert await world.head(row["id"]) == row["version"]


async def test_nobodys_write_is_lost_by_a_write_that_had_not_seen_it(client, world):
    row = await made_order(client, notes="first")
    await world.client("UPDATE mes.work_orders SET notes = 'theirs' WHERE id = %s", row["id"])
    path = f"{ORDERS}/{row['id']}"
    for asked in (
        changed(client, row, notes="ours"),
        client.put(path, json={"values": order(notes="ours")}, headers=seen(row)),
        client.delete(path, headers=seen(row)),
    ):
        answer = await asked
        assert (answer.status_code, answer.json()["type"]) == (412, "/problems/row-moved")
    assert await stands(world, row, "notes") == ("theirs",)


async def test_of_writes_that_come_at_once_one_is_done(client, world):
    row = await made_order(client)
    answers = await asyncio.gather(*(changed(client, row, priority=n) for n in range(1, 6)))
    assert sorted(each.status_code for each in answers) == [200, 412, 412, 412, 412]
    (done,) = (each.json() for each in answers if each.status_code == 200)
    assert await stands(world, row, "priority") == (str(done["values"]["priority"]),)


async def test_a_row_that_is_written_between_the_look_and_the_write_is_not_overwritten(
    client, world, monkeypatch
):
    """The version is held in the transaction that writes, and not only compared before it."""
    row = await made_order(client)
    path = f"{ORDERS}/{row['id']}"
    async with connect(world.url, autocommit=False) as other:
        await other.execute("SELECT FROM sync.head WHERE id = %s FOR UPDATE", [row["id"]])
        waiting = asyncio.create_task(
            client.patch(path, json={"values": {"notes": "ours"}}, headers=seen(row))
        )
        await asyncio.sleep(0.5)
        await other.execute("UPDATE mes.work_orders SET notes = 'theirs'")
        await other.commit()
        assert (await waiting).status_code == 412
    assert await stands(world, row, "notes") == ("theirs",)


@pytest.mark.parametrize("shown", ["*", "abc", 'W/"0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c01"'])
async def test_a_version_that_is_none_is_refused_by_its_field(client, shown):
    row = await made_order(client)
    answer = await client.delete(f"{ORDERS}/{row['id']}", headers={"If-Match": shown})
    assert answer.status_code == 422
    assert list(rules(answer)) == ["header.If-Match"]


async def test_what_becomes_no_different_makes_no_version_and_no_line_of_the_log(client, world):
    row = await made_order(client, notes="same", routing={"a": 1})
    before = len(await noted(world))
    answer = await changed(client, row, notes="same", qty_ordered="10.0", routing={"a": 1})
    assert (answer.status_code, answer.json()) == (200, row)
    assert await world.value("SELECT count(*) FROM sync.version") == 1
    assert len(await noted(world)) == before


async def test_a_row_that_is_replaced_has_its_defaults_in_what_is_left_out(client, world):
    row = await made_order(client, priority=90, notes="first")
    path = f"{ORDERS}/{row['id']}"
    left = {"order_no": row["values"]["order_no"], "qty_ordered": "7"}
    answer = await client.put(path, json={"values": left}, headers=seen(row))
    assert answer.status_code == 200
    now = answer.json()["values"]
    assert (now["qty_ordered"], now["priority"], now["notes"]) == ("7", 50, None)
    unsaid = await client.put(path, json={"values": {}}, headers=seen(answer.json()))
    assert "a value is required" in rules(unsaid)["body.values.order_no"]


async def test_a_state_never_goes_back_whichever_way_it_is_written(client, world):
    row = await made_order(client, exec_state="IN_PROGRESS")
    back = await changed(client, row, exec_state="RELEASED")
    left_out = {"order_no": row["values"]["order_no"]}
    path = f"{ORDERS}/{row['id']}"
    replaced = await client.put(path, json={"values": left_out}, headers=seen(row))
    for answer in (back, replaced):
        assert answer.status_code == 422
        assert "never goes back" in rules(answer)["body.values.exec_state"]
    on = await changed(client, row, exec_state="COMPLETED")
    assert on.status_code == 200
    assert await stands(world, row, "exec_state") == ("COMPLETED",)


# --- deleting --------------------------------------------------------------------------------


async def test_a_row_that_is_deleted_is_gone_here_and_at_its_site(client, world):
    row = await made_order(client)
    path = f"{ORDERS}/{row['id']}"
    answer = await client.delete(path, headers=seen(row))
    assert answer.status_code == 200
    assert answer.json()["version"] == await world.head(row["id"]) != row["version"]
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path, headers=seen(row))).status_code == 404
    assert (await changed(client, row, notes="x")).status_code == 404
    async with connect(world.url, autocommit=False) as connection:
        await Sequencer(connection, CATALOG).step(now_ms=1)
    assert [fate for fate, _ in rows(await follow(world.url, "SITE_001"))] == [Fate.GONE]


async def test_a_row_that_others_refer_to_is_not_deleted(client, world):
    machine = await made(client, EQUIPMENT, equipment_code="M1")
    rate = {"pri_s": "2", "effective_from": "2026-12-01T00:00:00Z", "equipment_id": machine["id"]}
    child = await made(client, RATES, **rate)
    path = f"{EQUIPMENT}/{machine['id']}"
    answer = await client.delete(path, headers=seen(machine))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/still-referred-to")
    assert "equipment_rates" in answer.json()["detail"]
    await client.delete(f"{RATES}/{child['id']}", headers=seen(child))
    assert (await client.delete(path, headers=seen(machine))).status_code == 200
    again = await client.post(RATES, json={"site": "SITE_001", "values": rate})
    assert list(rules(again)) == ["body.values.equipment_id"]  # a deleted row is none


async def test_an_order_that_was_reported_on_is_not_deleted(client, world):
    row = await made_order(client)
    site = world.site()
    await site.writes(site.insert("job_responses", site.report(work_order_id=row["id"])))
    answer = await client.delete(f"{ORDERS}/{row['id']}", headers=seen(row))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/still-referred-to")


async def test_a_shared_row_that_any_site_refers_to_is_not_deleted(client):
    part = await made(client, MATERIALS, "*", material_code="P-1")
    await made_order(client, "SITE_003", material_id=part["id"])
    answer = await client.delete(f"{MATERIALS}/{part['id']}", headers=seen(part))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/still-referred-to")


async def test_a_row_is_held_until_what_refers_to_it_stands(client, world):
    """Who deletes it waits for who refers to it, so that nothing refers to nothing."""
    machine = await made(client, EQUIPMENT, equipment_code="M1")
    rate = {"pri_s": "2", "effective_from": "2026-12-01T00:00:00Z", "equipment_id": machine["id"]}
    gone = client.delete(f"{EQUIPMENT}/{machine['id']}", headers=seen(machine))
    rated = client.post(RATES, json={"site": "SITE_001", "values": rate})
    deleted, added = await asyncio.gather(gone, rated)
    assert (deleted.status_code, added.status_code) in {(200, 422), (409, 201)}


# --- what is only added ----------------------------------------------------------------------


async def test_rows_that_are_only_added_are_neither_changed_nor_deleted(client):
    part = await made(client, MATERIALS, "*", material_code="P-1")
    path = "/v1/tables/bom_items/rows"
    line = {"parent_material_id": part["id"], "seq": 1, "component_id": part["id"],
            "qty_per": "2", "uom": "pcs"}  # fmt: skip
    row = await made(client, path, "*", **line)
    at = f"{path}/{row['id']}"
    for asked in (
        changed(client, row, qty_per="3"),
        client.put(at, json={"values": line}, headers=seen(row)),
        client.delete(at, headers=seen(row)),
    ):
        answer = await asked
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/only-added")
