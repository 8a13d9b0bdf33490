"""Who reads and writes which rows: by grant, of their sites alone, noted, and once."""

from __future__ import annotations

import uuid

import pytest

from central.access import Scope
from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import (
    MATERIALS,
    ORDERS,
    PERSONS,
    changed,
    made,
    made_order,
    noted,
    order,
    rules,
    seen,
)

__all__ = ["api", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
NOBODYS = "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c01"


# --- tables ----------------------------------------------------------------------------------


async def test_tables_of_central_and_two_way_rows_are_told_with_their_rules(client):
    found = (await client.get("/v1/tables")).json()
    tables = {each["name"]: each for each in found["tables"]}
    assert {"work_orders", "equipment_rates", "bom_items", "sites"} <= set(tables)
    assert not {"job_responses", "lot_releases", "sync_reviews", "sync_parked"} & set(tables)
    assert tables["bom_items"]["writes"] == ["insert"]
    orders = tables["work_orders"]
    assert (orders["direction"], orders["natural_keys"]) == ("both", [["order_no"]])
    columns = {each["name"]: each for each in orders["columns"]}
    assert columns["priority"] == {
        "name": "priority", "type": "integer", "nullable": False, "default": 50,
        "policy": "central", "group": "priority", "values": [], "is_ordered": False, "low": "0",
        "high": "100", "unit": None, "references": None, "is_writer": False,
        "about": "higher is more urgent",
    }  # fmt: skip
    assert columns["qty_ordered"]["group"] == columns["uom"]["group"] == "quantity"
    assert columns["exec_state"]["values"][0] == "CREATED"
    assert columns["exec_state"]["is_ordered"]
    assert columns["cancel_requested"]["default"] is False
    assert columns["changed_by"]["is_writer"]


@pytest.mark.parametrize(
    ("grants", "may", "sites"),
    [
        (("planner",), True, ["SITE_001", "SITE_002", "SITE_003", "*"]),
        (("planner:SITE_002",), True, ["SITE_002"]),
        (("corporate",), False, []),
        (("corporate", "planner:SITE_002"), True, ["SITE_002"]),
    ],
)
async def test_who_may_write_is_told_to_who_asks(api, grants, may, sites):
    async with await api.asked_by(*grants) as one:
        found = (await one.get("/v1/tables")).json()
        assert (found["scope"], found["may_write"], found["sites"]) == ("plan", may, sites)


@pytest.mark.parametrize("table", ["job_responses", "sync_reviews", "lot_releases", "colours"])
async def test_rows_of_facts_and_of_the_sync_itself_are_nobodys_to_plan(client, table):
    path = f"/v1/tables/{table}/rows"
    body = {"site": "SITE_001", "values": {}}
    at, shown = f"{path}/{NOBODYS}", {"If-Match": f'"{NOBODYS}"'}
    for asked in (
        client.get(path), client.post(path, json=body), client.get(at),
        client.patch(at, json={"values": {}}, headers=shown),
        client.put(at, json={"values": {}}, headers=shown), client.delete(at, headers=shown),
    ):  # fmt: skip
        answer = await asked
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-plan")


# --- whose -----------------------------------------------------------------------------------


@pytest.mark.parametrize("grant", ["plant:SITE_001", "region:SITE_001", "corporate"])
async def test_who_has_no_scope_to_plan_writes_nothing(api, client, world, grant):
    row = await made_order(client)
    async with await api.asked_by(grant) as one:
        path = f"{ORDERS}/{row['id']}"
        assert (await one.get(path)).json() == row
        for asked in (
            one.post(ORDERS, json={"site": "SITE_001", "values": order()}),
            one.put(path, json={"values": order()}, headers=seen(row)),
            changed(one, row, priority=1),
            one.delete(path, headers=seen(row)),
        ):
            answer = await asked
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-in-scope")
    assert await world.value("SELECT count(*) FROM sync.version") == 1


async def test_a_key_for_reading_writes_nothing_though_its_grant_allows_it(api):
    key = await api.key("planner", scopes=[Scope.READ])
    async with api.client(key) as one:
        answer = await one.post(ORDERS, json={"site": "SITE_001", "values": order()})
        assert answer.status_code == 403


async def test_a_row_of_another_site_is_not_told_from_one_that_is_not_there(api, client, world):
    theirs = await made_order(client, "SITE_002")
    async with await api.asked_by("planner:SITE_001") as one:
        for shown in ({}, {"X-Site-Id": "SITE_001"}):
            for asked in ("GET", "PUT", "PATCH", "DELETE"):
                body = {} if asked in ("GET", "DELETE") else {"json": {"values": order()}}
                answers = [
                    await one.request(
                        asked, f"{ORDERS}/{row_id}", headers=seen(theirs) | shown, **body
                    )
                    for row_id in (theirs["id"], NOBODYS)
                ]
                assert [each.status_code for each in answers] == [404, 404]
                first, second = (
                    {k: str(v).replace(row_id, "ID") for k, v in each.json().items()}
                    for each, row_id in zip(answers, (theirs["id"], NOBODYS), strict=True)
                )
                assert first == second
        added = await one.post(ORDERS, json={"site": "SITE_002", "values": order()})
        nowhere = await one.post(ORDERS, json={"site": "SITE_999", "values": order()})
        assert (added.status_code, nowhere.status_code) == (403, 403)
        assert added.json()["detail"] == nowhere.json()["detail"].replace("999", "002")
        assert (await one.get(ORDERS)).json()["rows"] == []
    assert await world.head(theirs["id"]) == theirs["version"]


async def test_a_header_narrows_what_is_read_and_written(client):
    row = await made_order(client)
    part = await made(client, MATERIALS, "*", material_code="P-1")
    narrowed = {"X-Site-Id": "SITE_002"}
    answer = await client.get(f"{ORDERS}/{row['id']}", headers=narrowed)
    assert answer.status_code == 404
    assert (await client.get(ORDERS, headers=narrowed)).json()["rows"] == []
    body = {"site": "SITE_001", "values": order()}
    assert (await client.post(ORDERS, json=body, headers=narrowed)).status_code == 403
    shared = f"{MATERIALS}/{part['id']}"
    assert (await client.get(shared, headers=narrowed)).json() == part  # all sites read it
    asked = await client.delete(shared, headers=narrowed | seen(part))
    assert (asked.status_code, asked.json()["type"]) == (403, "/problems/not-your-site")


async def test_rows_of_all_sites_are_written_by_who_plans_for_every_site(api, client):
    part = await made(client, MATERIALS, "*", material_code="P-1")
    async with await api.asked_by("planner:SITE_001,SITE_002,SITE_003", "corporate") as one:
        assert (await one.get(f"{MATERIALS}/{part['id']}")).json() == part
        assert (await changed(one, part, description="x")).status_code == 403
        made_here = {"site": "*", "values": {"material_code": "P-2"}}
        assert (await one.post(MATERIALS, json=made_here)).status_code == 403
    async with await api.asked_by("planner") as one:
        assert (await changed(one, part, description="x")).status_code == 200


async def test_nobody_hands_a_row_to_a_site_that_they_do_not_reach(api, client):
    person = {"person_no": "1", "home_site_id": "SITE_001"}
    async with await api.asked_by("planner:SITE_001,SITE_002") as one:
        for more in ({"home_site_id": "SITE_003"}, {"assigned_sites": ["SITE_003"]},
                     {"assigned_sites": ["*"]}):  # fmt: skip
            body = {"site": "SITE_001", "values": person | more}
            answer = await one.post(PERSONS, json=body)
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-your-site")
        for owner in ("SITE_003", "*"):  # though it would go to a site of theirs alone
            answer = await one.post(PERSONS, json={"site": owner, "values": person})
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/not-your-site")
        row = await made(one, PERSONS, **person, assigned_sites=["SITE_002"])
        assert (await changed(one, row, assigned_sites=["SITE_003"])).status_code == 403
        # What stands there already is not theirs to judge.
        more = ["SITE_002", "SITE_003"]
        row = (await changed(client, row, assigned_sites=more)).json()
        assert row["values"]["assigned_sites"] == more
        assert (await changed(one, row, name="K. Lee")).status_code == 200


async def test_a_person_is_shown_to_the_sites_that_share_them(api, client):
    row = await made(client, PERSONS, "*", person_no="1", home_site_id="SITE_002")
    async with await api.asked_by("planner:SITE_001") as one:
        assert (await one.get(f"{PERSONS}/{row['id']}")).status_code == 404
        assert (await changed(one, row, name="x")).status_code == 404
        assert (await one.get(PERSONS)).json()["rows"] == []
    async with await api.asked_by("planner:SITE_002") as one:
        assert (await one.get(f"{PERSONS}/{row['id']}")).json() == row
        assert (await changed(one, row, name="x")).status_code == 403


# --- noted, and once -------------------------------------------------------------------------


async def test_a_write_is_in_the_audit_log_with_what_it_changed_or_is_not_made(client, world):
    row = await made_order(client, priority=1)
    now = (await changed(client, row, priority=2)).json()
    await client.delete(f"{ORDERS}/{row['id']}", headers=seen(now))
    added, altered, deleted = await noted(world)
    assert added["after"]["priority"] == 1
    assert (altered["before"], altered["after"]) == ({"priority": 1}, {"priority": 2})
    assert (altered["site"], altered["id"], altered["version"]) == (
        "SITE_001", row["id"], now["version"],
    )  # fmt: skip
    assert deleted["before"] == now["values"] | {"changed_by": deleted["before"]["changed_by"]}
    told = await world.rows("SELECT action, sites, status FROM sync.audit ORDER BY no")
    assert told[0] == ("POST /v1/tables/{table}/rows", ["SITE_001"], 201)
    assert told[1] == ("PATCH /v1/tables/{table}/rows/{row_id}", ["SITE_001"], 200)
    await world.admin.execute("REVOKE INSERT ON sync.audit FROM mes_ingest")
    answer = await client.post(ORDERS, json={"site": "SITE_001", "values": order()})
    assert answer.status_code == 500
    assert await world.rows("SELECT FROM mes.work_orders") == []


async def test_a_write_that_can_not_be_kept_is_not_noted(client, world):
    await world.admin.execute("ALTER TABLE sync.answer ADD CHECK (answer IS NULL)")
    body = {"site": "SITE_001", "values": order()}
    assert (await client.post(ORDERS, json=body, headers=KEY)).status_code == 500
    assert await world.rows("SELECT FROM mes.work_orders") == []
    assert await noted(world) == []


async def test_a_write_is_one_line_of_the_log(api, client, world):
    row = await made_order(client)
    await changed(client, row, priority=1)
    assert [action for _, action, *_ in await api.audited()] == [
        "POST /v1/tables/{table}/rows", "PATCH /v1/tables/{table}/rows/{row_id}",
    ]  # fmt: skip


async def test_a_row_is_written_by_a_role_that_may_write_no_other_site(client, world):
    """It is mes_app that writes, which owns nothing, and names the one site of the row."""
    await world.admin.execute("REVOKE INSERT ON mes.work_orders FROM mes_app")
    answer = await client.post(ORDERS, json={"site": "SITE_001", "values": order()})
    assert answer.status_code == 500
    assert answer.json()["detail"] == "Something went wrong here; it is logged."
    assert await world.rows("SELECT FROM mes.work_orders") == []


async def test_the_same_key_has_the_same_answer_and_nothing_is_written_again(client, world):
    body = {"site": "SITE_001", "values": order(order_no="A1")}
    first, again = [await client.post(ORDERS, json=body, headers=KEY) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["ETag"] == again.headers["ETag"]
    assert first.headers["Location"] == again.headers["Location"]
    row, path = first.json(), f"{ORDERS}/{first.json()['id']}"
    for number, (method, given) in enumerate(
        [("PATCH", {"json": {"values": {"priority": 3}}}), ("DELETE", {})]
    ):
        shown = seen(row) | {"Idempotency-Key": f"key-{number}"}
        answers = [await client.request(method, path, headers=shown, **given) for _ in range(2)]
        assert [each.status_code for each in answers] == [200, 200], method
        assert answers[0].content == answers[1].content
        row = answers[0].json()
    assert await world.value("SELECT count(*) FROM sync.version") == 3
    assert len(await noted(world)) == 3


async def test_an_answer_is_not_given_to_a_key_that_no_longer_reaches_the_site(client):
    row = await made_order(client)
    path, narrowed = f"{ORDERS}/{row['id']}", KEY | {"X-Site-Id": "SITE_002"}
    shown = seen(row) | KEY
    assert (await client.delete(path, headers=shown)).status_code == 200
    assert (await client.delete(path, headers=seen(row) | narrowed)).status_code == 404


async def test_what_was_refused_leaves_its_key_free(client):
    await made_order(client, order_no="A1")
    body = {"site": "SITE_001", "values": order(order_no="A1")}
    assert (await client.post(ORDERS, json=body, headers=KEY)).status_code == 409
    body["values"]["order_no"] = "A2"
    assert (await client.post(ORDERS, json=body, headers=KEY)).status_code == 201


# --- lists -----------------------------------------------------------------------------------


async def test_a_list_is_read_page_by_page_while_rows_are_added(client):
    mine = [await made_order(client, f"SITE_00{1 + n % 3}") for n in range(7)]
    found, after = [], {}
    for _ in range(4):
        page = (await client.get(ORDERS, params={"limit": 2} | after)).json()
        assert len(page["rows"]) <= 2
        found += page["rows"]
        after = {"after": page["next"]}
        if not found[2:]:
            await made_order(client, "SITE_001")  # among those that were given already, or after
    known = {each["id"] for each in mine}
    assert [each["id"] for each in found if each["id"] in known] == [
        each["id"] for each in sorted(mine, key=lambda row: (row["site"], row["created_at"]))
    ]
    assert len({each["id"] for each in found}) == len(found)


async def test_the_last_page_has_no_next(client):
    row = await made_order(client)
    page = (await client.get(ORDERS, params={"limit": 1})).json()
    assert (page["next"], page["table"]) == (None, "work_orders")
    told = {name: row[name] for name in ("site", "id", "created_at", "version", "values")}
    assert page["rows"] == [told]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (["order_no:eq:A1"], "A1"),
        (["order_no:not:A1"], "A2 B1"),
        (["priority:lt:50"], "A1"),
        (["priority:le:50"], "A1 B1"),
        (["priority:gt:50"], "A2"),
        (["priority:ge:50", "order_no:contains:A"], "A2"),
        (["due_at:null:true"], "A2 B1"),
        (["due_at:null:false"], "A1"),
        (["due_at:eq:2026-12-01T02:00:00+02:00"], "A1"),
        (["cancel_requested:eq:true"], "B1"),
        (["qty_ordered:eq:10.0"], "A1 A2 B1"),
        (["site_id:eq:SITE_001"], "A1 A2"),
        (["notes:contains:a:b"], "A1"),
        (["notes:not:a:b:c"], "A2 B1"),
        (["order_no:contains:%"], ""),
    ],
)
async def test_rows_are_found_by_what_their_columns_hold(client, filters, numbers):
    await made_order(client, order_no="A1", priority=1, due_at="2026-12-01T00:00:00Z",
                     notes="a:b:c")  # fmt: skip
    await made_order(client, order_no="A2", priority=99)
    await made_order(client, "SITE_002", order_no="B1", cancel_requested=True)
    found = (await client.get(ORDERS, params={"filter": filters})).json()["rows"]
    assert sorted(each["values"]["order_no"] for each in found) == numbers.split()


async def test_a_member_of_a_set_is_found_by_its_whole_name(client):
    machines = "/v1/tables/equipment/rows"
    await made(client, machines, equipment_code="M1", tags=["hot", 'a"b'])
    for text, count in (("hot", 1), ("ho", 0), ('a"b', 1)):
        answer = await client.get(machines, params={"filter": f"tags:contains:{text}"})
        assert len(answer.json()["rows"]) == count, text


@pytest.mark.parametrize(
    ("asked", "field", "rule"),
    [
        ({"filter": "colour:eq:red"}, "query.filter.0", "no column colour"),
        ({"filter": "priority:like:1"}, "query.filter.0", "should match"),
        ({"filter": "priority:eq:red"}, "query.filter.0", "whole number"),
        ({"filter": ["priority:eq:1", "routing:eq:{}"]}, "query.filter.1", "only `null`"),
        ({"filter": "priority:contains:1"}, "query.filter.0", "for texts and sets"),
        ({"filter": "due_at:null:perhaps"}, "query.filter.0", "0 or 1"),
        ({"filter": ["priority:eq:1"] * 21}, "query.filter", "at most 20"),
        ({"after": "abc"}, "query.after", "as an answer's `next` gave it"),
        ({"after": "WzEsMiwzXQ"}, "query.after", "as an answer's `next` gave it"),
        ({"limit": 0}, "query.limit", "greater than or equal to 1"),
        ({"limit": 1001}, "query.limit", "less than or equal to 1000"),
        ({"colour": "red"}, "query.colour", "not permitted"),
    ],
)
async def test_a_list_that_means_nothing_is_refused_by_its_field(client, asked, field, rule):
    answer = await client.get(ORDERS, params=asked)
    assert answer.status_code == 422
    assert rule in rules(answer)[field]


async def test_what_can_be_done_at_an_address_is_told_in_full(client):
    answer = await client.request("POST", f"{ORDERS}/{uuid.uuid4()}")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "PUT", "PATCH", "DELETE"}
