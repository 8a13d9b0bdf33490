"""Charts and capability of a characteristic, out of the values that sites brought."""

from __future__ import annotations

import asyncio
import json
from statistics import fmean, stdev
from typing import Any

import pytest

from central.reports import spc_values
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world
from tests.integration.quality_world import WINDOW, Plant, new
from tests.unit.test_spc import BOARDS, CANS, FLOW, RINGS

__all__ = ["api", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

NORTH, SOUTH = "SITE_001", "SITE_002"


async def asked(api: Api, name: str, grant: str = "corporate", **params: Any) -> tuple[int, Any]:
    async with await api.asked_by(grant) as client:
        answer = await client.get(f"/v1/reports/spc/{name}", params=WINDOW | params)
    return answer.status_code, answer.json()


async def charted(api: Api, name: str, grant: str = "corporate", **params: Any) -> dict[str, Any]:
    status, found = await asked(api, name, grant, **params)
    assert status == 200, found
    return found


def fired(chart: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["rule"], each["point"]) for each in chart["violations"]]


# --- charts --------------------------------------------------------------------------------------


async def test_single_values_are_charted_as_individuals_of_the_nist_handbook(world, api):
    plant = Plant(world)
    name = await plant.characteristic(lsl="44", usl="57", target="50", uom="mm")
    await plant.samples(name, [[value] for value in FLOW])
    found = await charted(api, name)
    assert (found["schema"], found["chart"], found["chart_chosen_by"]) == (
        "mes-central.spc/v1", "i-mr", "subgroup_size",
    )  # fmt: skip
    individuals, ranges = found["charts"]
    assert [each["value"] for each in individuals["points"]] == list(FLOW)
    assert individuals["centre"] == pytest.approx(50.81)
    assert individuals["upper"] == pytest.approx(55.8041, abs=0.002)
    assert ranges["centre"] == pytest.approx(1.8778, abs=1e-4)
    assert found["limits"]["provisional"]  # ten subgroups are too few to judge by
    assert found["capability"]["cp"]["value"] == pytest.approx(
        13 / 6 / (1.87778 / 1.12838), rel=1e-4
    )
    assert found["capability"]["ppk"]["value"] == pytest.approx((57 - 50.81) / 3 / stdev(FLOW))
    assert found["capability"]["cm"]["formula"] == "(usl - lsl) / (6 s of all values)"
    assert found["outside_specification"] == {"below": 0, "above": 0, "of": 10}
    assert sum(found["histogram"]["counts"]) == 10
    assert set(found["rules"]) == {f"nelson-{n}" for n in range(1, 9)}
    assert found["as_of"].endswith("Z")
    assert found["complete_through"][NORTH].startswith("2026-11-26T05:00")


async def test_samples_of_five_are_charted_as_means_and_ranges_of_the_book(world, api):
    plant = Plant(world)
    name = await plant.characteristic(subgroup_size=5, lsl="73.95", usl="74.05")
    await plant.samples(name, RINGS)
    found = await charted(api, name)
    assert found["chart"] == "xbar-r"
    means, ranges = found["charts"]
    assert (means["lower"], means["upper"]) == pytest.approx((73.98805, 74.01431), abs=2e-5)
    assert ranges["upper"] == pytest.approx(0.04812, abs=2e-5)
    assert found["capability"]["cpk"]["value"] == pytest.approx(1.663, abs=5e-4)
    assert (found["limits"]["provisional"], found["values"]) == (False, 125)
    assert found["subgroups"][0]["values"] == [74.03, 74.002, 74.019, 73.992, 74.008]
    by_s = await charted(api, name, chart="xbar-s")
    assert (by_s["chart"], by_s["chart_chosen_by"]) == ("xbar-s", "request")
    assert by_s["charts"][1]["centre"] == pytest.approx(fmean(map(stdev, RINGS)))


async def test_single_values_make_subgroups_one_after_the_other_where_those_are_asked_for(
    world, api
):
    plant = Plant(world)
    name = await plant.characteristic(subgroup_size=2)
    await plant.samples(name, [[each] for each in (1, 3, 4, 8, 9)])
    found = await charted(api, name)
    assert found["subgroups_made_of"] == "consecutive values"
    assert [each["values"] for each in found["subgroups"]] == [[1, 3], [4, 8]]
    assert found["left_out"] == {"incomplete subgroup": 1}


async def test_what_is_judged_is_charted_by_shares_and_by_defects(world, api):
    plant = Plant(world)
    cans = await plant.characteristic(kind="ATTRIBUTE", seq=1)
    for bad in CANS[:6]:
        await plant.sample(cans, *({"passed": int(n >= bad)} for n in range(50)))
    found = await charted(api, cans)
    (shares,) = found["charts"]
    assert (found["chart"], found["inspected"], found["found"]) == ("p", 300, sum(CANS[:6]))
    assert [each["value"] for each in shares["points"]] == [bad / 50 for bad in CANS[:6]]
    assert (await charted(api, cans, chart="np"))["charts"][0]["points"][0]["value"] == CANS[0]

    boards = await plant.characteristic(kind="ATTRIBUTE", seq=1, chart_type="C chart")
    await plant.samples(boards, [[{"defects": each}] for each in BOARDS])
    found = await charted(api, boards)
    assert (found["chart"], found["chart_chosen_by"]) == ("u", "kind")  # no chart is named so
    found = await charted(api, boards, chart="c", rules="we-1")
    assert found["charts"][0]["upper"] == pytest.approx(33.22, abs=0.01)
    assert fired(found["charts"][0]) == [("we-1", 5), ("we-1", 19)]
    assert "capability" not in found


async def test_limits_of_a_baseline_are_held_against_what_came_later(world, api):
    plant = Plant(world)
    name = await plant.characteristic(chart_type="I-MR")
    await plant.samples(name, [[value] for value in (*FLOW, 60, 61)])
    later = {"from": "2026-11-20T08:10:00Z"}
    before = {"limits_from": "2026-11-20T08:00:00Z", "limits_to": "2026-11-20T08:10:00Z"}
    alone = await charted(api, name, **later)
    assert fired(alone["charts"][0]) == []
    held = await charted(api, name, **later, **before)
    assert held["charts"][0]["centre"] == pytest.approx(50.81)
    assert (held["limits"]["subgroups"], held["values"]) == (10, 2)
    assert fired(held["charts"][0]) == [("nelson-1", 0), ("nelson-1", 1)]
    assert held["mean"] == 60.5  # capability is of the values of the chart


async def test_rules_are_those_that_were_asked_for(world, api):
    plant = Plant(world)
    name = await plant.characteristic()
    await plant.samples(name, [[value] for value in (5, 1, 2, 3, 4, 5, 6, 7)])
    assert fired((await charted(api, name))["charts"][0]) == [("nelson-3", 6), ("nelson-3", 7)]
    assert fired((await charted(api, name, rules="western-electric"))["charts"][0]) == []
    some = await charted(api, name, rules="nelson-3,we-1")
    assert some["charts"][0]["rules"] == ["nelson-3", "we-1"]
    assert some["charts"][1]["rules"] == ["we-1"]


# --- what takes part -----------------------------------------------------------------------------


async def test_second_attempts_and_results_that_were_taken_back_do_not_take_part(world, api):
    plant = Plant(world)
    name = await plant.characteristic()
    await plant.sample(name, 1)
    wrong = await plant.sample(name, 100)
    await plant.sample(name, 50, attempt=2)
    right = await plant.sample(name, 2, corrects_id=wrong)
    await plant.sample(name, 200, corrects_id=wrong)  # the first correction counts
    await plant.sample(name, 3, corrects_id=right)
    found = await charted(api, name)
    assert [each["value"] for each in found["charts"][0]["points"]] == [1, 3]


async def test_values_of_another_unit_or_without_a_value_are_counted_and_left_out(world, api):
    plant = Plant(world)
    name = await plant.characteristic(uom="mm")
    for piece in ({"value": "1", "uom": "mm"}, {"value": "2"}, {"value": "3", "uom": "in"}, {}):
        await plant.sample(name, piece)
    found = await charted(api, name)
    assert [each["value"] for each in found["charts"][0]["points"]] == [1, 2]
    assert found["left_out"] == {"another unit": 1, "not measured": 1}


async def test_values_of_one_machine_are_charted_and_machine_capability_is_of_one(world, api):
    plant = Plant(world)
    name = await plant.characteristic(lsl="0", usl="9")
    lathe, mill = new(), new()
    for value, machine in ((1, lathe), (5, mill), (3, lathe), (8, mill)):
        await plant.sample(name, value, equipment_id=machine)
    both = await charted(api, name)
    assert (both["values"], both["capability"]["cm"]["value"]) == (4, None)
    assert "several machines" in both["capability"]["cmk"]["because"]
    one = await charted(api, name, equipment_id=lathe)
    assert [each["value"] for each in one["charts"][0]["points"]] == [1, 3]
    assert one["capability"]["cm"]["value"] is not None


async def test_a_window_holds_its_beginning_and_not_its_end(world, api):
    plant = Plant(world)
    name = await plant.characteristic()
    await plant.samples(name, [[value] for value in range(5)])
    found = await charted(
        api, name, **{"from": "2026-11-20T08:01:00Z", "to": "2026-11-20T08:03:00Z"}
    )
    assert [each["value"] for each in found["charts"][0]["points"]] == [1, 2]


async def test_a_characteristic_without_values_has_an_empty_chart(world, api):
    found = await charted(api, await Plant(world).characteristic(lsl="1"))
    assert (found["values"], found["mean"], found["histogram"]["counts"]) == (0, None, [])
    assert all(each["value"] is None for each in found["capability"].values())
    assert found["charts"][0]["points"] == []


async def test_more_values_than_a_chart_may_have_are_refused_with_what_to_do(
    world, api, monkeypatch
):
    monkeypatch.setattr(spc_values, "VALUES_MAX", 3)
    plant = Plant(world)
    name = await plant.characteristic()
    await plant.samples(name, [[1], [2], [3]])
    assert (await charted(api, name))["values"] == 3
    await plant.sample(name, 4)
    status, problem = await asked(api, name)
    assert (status, problem["type"]) == (422, "/problems/too-many-values")
    assert "a chart has 3 values at most" in problem["detail"]


async def test_ten_thousand_values_are_charted_while_others_are_answered(world, api):
    plant = Plant(world)
    name = await plant.characteristic()
    await plant.sample(name, *(n * n % 97 for n in range(spc_values.VALUES_MAX)))
    async with await api.asked_by("corporate") as client:
        long = asyncio.create_task(client.get(f"/v1/reports/spc/{name}", params=WINDOW))
        quick = 0
        while not long.done():
            assert (await client.get("/healthz")).status_code == 200
            quick += 1
        found = (await long).json()
    assert len(found["charts"][0]["points"]) == spc_values.VALUES_MAX
    assert quick > 3


# --- sites ---------------------------------------------------------------------------------------


async def test_a_characteristic_of_another_site_is_answered_as_one_that_is_not_there(world, api):
    theirs = await Plant(world, SOUTH).characteristic()
    nowhere = new()
    there, none = [await asked(api, each, f"plant:{NORTH}") for each in (theirs, nowhere)]
    assert there[0] == none[0] == 404
    assert json.dumps(there[1]).replace(theirs, nowhere) == json.dumps(none[1])
    assert none[1]["type"] == "/problems/unknown-characteristic"
    assert (await asked(api, theirs))[0] == 200


async def test_a_shared_characteristic_is_charted_for_one_site_with_its_values_alone(world, api):
    plan, shared = new(), new()
    await world.client(
        "INSERT INTO mes.inspection_plans (site_id, id, plan_code) VALUES ('*', %s, 'P')", plan,
        site="*",
    )  # fmt: skip
    await world.client(
        "INSERT INTO mes.inspection_characteristics (site_id, id, plan_id, seq, name)"
        " VALUES ('*', %s, %s, 1, 'bore')", shared, plan, site="*",
    )  # fmt: skip
    await Plant(world, NORTH).samples(shared, [[1], [2]])
    await Plant(world, SOUTH).samples(shared, [[7]])
    status, problem = await asked(api, shared)
    assert (status, problem["errors"][0]["field"]) == (422, "query.site")
    south = await charted(api, shared, site=SOUTH)
    assert ([each["value"] for each in south["charts"][0]["points"]], south["site"]) == ([7], SOUTH)
    assert set(south["complete_through"]) == {SOUTH}
    mine = await charted(api, shared, f"plant:{NORTH}")
    assert [each["value"] for each in mine["charts"][0]["points"]] == [1, 2]
    assert (await asked(api, shared, f"plant:{NORTH}", site=SOUTH))[0] == 403


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "2026-11-21T00:00:00Z"}, "from"), ({"from": "2020-01-01T00:00:00Z"}, "from"),
        ({"from": "2026-11-20T00:00:00"}, "from"), ({"from": "0001-01-01T00:00:00Z"}, "from"),
        ({"to": "9999-12-31T23:59:59Z"}, "to"), ({"to": "soon"}, "to"),
        ({"limits_to": "2026-11-20T00:00:00Z"}, "limits_from"),
        ({"limits_from": "2026-11-20T00:00:00Z", "limits_to": "2026-11-19T00:00:00Z"},
         "limits_from"),
        ({"rules": "nelson-9"}, "rules"), ({"rules": ""}, "rules"), ({"chart": "pie"}, "chart"),
        ({"chart": "p"}, "chart"), ({"bins": 0}, "bins"),
        ({"equipment_id": "lathe"}, "equipment_id"),
        ({"site": SOUTH}, "site"), ({"until": "now"}, "until"),
    ],
)  # fmt: skip
async def test_a_question_that_breaks_a_rule_is_told_which(world, api, params, field):
    name = await Plant(world).characteristic()
    status, problem = await asked(api, name, **params)
    assert (status, problem["type"]) == (422, "/problems/invalid"), problem
    assert problem["errors"][0]["field"] == f"query.{field}"


async def test_without_a_window_the_last_thirty_days_are_charted(world, api):
    name = await Plant(world).characteristic()
    async with await api.asked_by("corporate") as client:
        found = (await client.get(f"/v1/reports/spc/{name}")).json()
    assert found["to"] == found["as_of"]
    assert found["from"] < found["to"]


# --- which there are -----------------------------------------------------------------------------


async def listed(api: Api, grant: str = "corporate", **params: Any) -> dict[str, Any]:
    async with await api.asked_by(grant) as client:
        answer = await client.get("/v1/reports/spc", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_is_inspected_is_listed_with_its_plan_and_its_limits(world, api):
    plant = Plant(world)
    name = await plant.characteristic(name="Bore of the ring", lsl="44", usl="57.5", uom="mm")
    await plant.characteristic(name="length")
    found = await listed(api, text="BORE")
    (bore,) = found["characteristics"]
    assert (bore["id"], bore["name"], bore["site"]) == (name, "Bore of the ring", NORTH)
    assert (bore["lsl"], bore["usl"], bore["uom"], found["more"]) == (44, 57.5, "mm", False)
    by_plan = await listed(api, text=bore["plan_code"])
    assert by_plan["characteristics"] == [bore]
    assert (await charted(api, bore["id"]))["characteristic"]["name"] == bore["name"]


async def test_a_list_says_whether_there_are_more(world, api):
    plant = Plant(world)
    for _ in range(3):
        await plant.characteristic()
    for limit, more in ((2, True), (3, False)):
        found = await listed(api, limit=limit)
        assert (len(found["characteristics"]), found["more"]) == (limit, more)


async def test_of_another_site_nothing_is_listed(world, api):
    await Plant(world).characteristic()
    assert (await listed(api, "plant:SITE_002"))["characteristics"] == []
    assert (await listed(api, "plant:SITE_001"))["characteristics"] != []
