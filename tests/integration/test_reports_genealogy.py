"""Where lots came from and where they went: edges that stand, of the asker's sites, with stock."""

from __future__ import annotations

import csv
import io
import uuid
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from central.api.asking import reading
from central.reports import spc_values
from central.reports.genealogy import Bounds, Way, walk
from central.reports.lots import read_stock
from central.roles import INGEST, as_role
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import World, world
from tests.integration.quality_world import BEGAN, Plant, new, shared_lot

__all__ = ["api", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

NORTH, SOUTH = "SITE_001", "SITE_002"


async def asked(api: Api, path: str, grant: str = "corporate", **params: Any) -> tuple[int, Any]:
    async with await api.asked_by(grant) as client:
        answer = await client.get(f"/v1/reports/{path}", params=params)
    return answer.status_code, answer.json()


async def genealogy(api: Api, lot: str, grant: str = "corporate", **params: Any) -> dict[str, Any]:
    status, found = await asked(api, f"genealogy/{lot}", grant, **params)
    assert status == 200, found
    return found


def levels(found: dict[str, Any], way: str) -> dict[str, int]:
    return {
        each.get("lot_no", each["lot"]): level
        for each in found["lots"]
        if (level := each.get(f"level_{way}")) is not None
    }


async def stocked(world: World, statement: str, *given: Any) -> None:
    """Write facts past their site, as nobody but the ingest may."""
    url = as_role(world.url, INGEST)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as ingest:
        await ingest.execute(statement.encode(), list(given))


# --- both ways -----------------------------------------------------------------------------------


async def test_a_lot_is_followed_up_to_its_parts_and_down_to_where_it_went(world, api):
    plant = Plant(world)
    steel, resin, blank, part, other = await plant.lots("STEEL", "RESIN", "BLANK", "PART", "OTHER")
    await plant.edges((steel, blank), (resin, blank), (blank, part), (steel, other))
    found = await genealogy(api, blank)
    assert levels(found, "up") == {"BLANK": 0, "STEEL": 1, "RESIN": 1}
    assert levels(found, "down") == {"BLANK": 0, "PART": 1}
    assert len(found["edges"]) == 3  # what else the steel went into is no kin of this lot
    assert (found["truncated"], found["truncated_by"]) == (False, [])
    assert levels(await genealogy(api, part, direction="up"), "up") == {
        "PART": 0, "BLANK": 1, "STEEL": 2, "RESIN": 2,
    }  # fmt: skip
    down = await genealogy(api, steel, direction="down")
    assert levels(down, "down") == {"STEEL": 0, "BLANK": 1, "OTHER": 1, "PART": 2}
    assert levels(down, "up") == {}


async def test_an_answer_says_of_when_it_is_and_until_when_each_site_is_whole(world, api):
    lot = await Plant(world).lot("L")
    found = await genealogy(api, lot)
    assert found["schema"] == "mes-central.genealogy/v1"
    assert found["as_of"].endswith("Z")
    assert set(found["complete_through"]) == {"SITE_001", "SITE_002", "SITE_003"}
    assert found["complete_through"][NORTH] == "2026-11-26T05:00:01.000Z"
    assert found["complete_through"][SOUTH] is None
    mine = await genealogy(api, lot, f"plant:{NORTH}")
    assert set(mine["complete_through"]) == {NORTH}


async def test_lots_in_a_circle_are_each_told_once(world, api):
    plant = Plant(world)
    a, b, c = await plant.lots("A", "B", "C")
    await plant.edges((a, b), (b, c), (c, a), (a, a), relation="REWORKED")
    found = await genealogy(api, a, depth=50)
    assert levels(found, "down") == {"A": 0, "B": 1, "C": 2}
    assert levels(found, "up") == {"A": 0, "C": 1, "B": 2}
    assert len(found["edges"]) == 4
    assert not found["truncated"]


async def test_a_thousand_paths_to_one_lot_are_walked_as_one(world, api):
    plant = Plant(world)
    rungs = [await plant.lots(f"L{n}", f"R{n}") for n in range(40)]
    pairs = [
        (parent, child) for above, below in pairwise(rungs) for parent in above for child in below
    ]
    await plant.edges(*pairs)  # 2^39 paths from top to bottom
    found = await genealogy(api, rungs[0][0], direction="down", depth=50)
    assert len(found["lots"]) == 1 + 2 * 39
    assert max(levels(found, "down").values()) == 39


# --- edges that were wrong -----------------------------------------------------------------------


async def test_an_edge_that_was_voided_is_not_followed(world, api):
    plant = Plant(world)
    a, b, c = await plant.lots("A", "B", "C")
    wrong, _ = await plant.edges((a, b), (a, c))
    await plant.void(wrong, a, b)
    found = await genealogy(api, a)
    assert levels(found, "down") == {"A": 0, "C": 1}
    assert len(found["edges"]) == 1


async def test_an_edge_whose_void_was_voided_stands_again(world, api):
    plant = Plant(world)
    a, b = await plant.lots("A", "B")
    edge = await plant.edge(a, b)
    void = await plant.void(edge, a, b)
    await plant.void(void, a, b)
    found = await genealogy(api, a)
    assert [each["id"] for each in found["edges"]] == [edge]
    await plant.void(edge, a, b)  # one of the two that void it still stands
    assert (await genealogy(api, a))["edges"] == []


async def test_no_site_voids_what_another_one_wrote(world, api):
    north, south = Plant(world), Plant(world, SOUTH)
    a, b = await north.lots("A", "B")
    edge = await north.edge(a, b)
    await south.void(edge, a, b)
    for grant in ("corporate", f"plant:{NORTH}"):
        assert [each["id"] for each in (await genealogy(api, a, grant))["edges"]] == [edge]


# --- sites ---------------------------------------------------------------------------------------


@pytest.fixture
async def across(world) -> dict[str, str]:
    """Steel of the south that went into a part of the north, which went back."""
    north, south = Plant(world), Plant(world, SOUTH)
    steel, melt = await south.lots("S-STEEL", "S-MELT")
    part, box = await north.lots("N-PART", "N-BOX")
    await south.edge(melt, steel)
    await north.edges((steel, part), (part, box))
    sold = await south.lot("S-SOLD")
    await south.edge(box, sold)
    await south.moves(steel, "100", "-40")
    await north.moves(part, "7")
    return {"steel": steel, "melt": melt, "part": part, "box": box, "sold": sold}


async def test_whoever_reaches_all_sites_follows_a_lot_across_them(api, across):
    found = await genealogy(api, across["part"])
    assert levels(found, "up") == {"N-PART": 0, "S-STEEL": 1, "S-MELT": 2}
    assert levels(found, "down") == {"N-PART": 0, "N-BOX": 1, "S-SOLD": 2}
    assert all(each["visible"] for each in found["lots"])
    (steel,) = [each for each in found["lots"] if each["lot"] == across["steel"]]
    assert steel["on_hand"] == [{"site": SOUTH, "uom": "pcs", "qty": 60}]


async def test_a_lot_of_a_site_that_is_not_the_askers_is_told_without_its_name(api, across):
    found = await genealogy(api, across["part"], f"plant:{NORTH}")
    assert levels(found, "up") == {"N-PART": 0, "hidden-1": 1}
    assert levels(found, "down") == {"N-PART": 0, "N-BOX": 1}
    (hidden,) = [each for each in found["lots"] if not each["visible"]]
    assert set(hidden) == {
        "lot", "visible", "because", "level_up", "level_down", "on_hand", "holds",
        "archived_not_counted",
    }  # fmt: skip
    assert hidden["on_hand"] == []
    for secret in ("SITE_002", "S-STEEL", *(across[name] for name in ("steel", "melt", "sold"))):
        assert secret not in str(found)


async def test_a_lot_behind_a_hidden_one_is_found_by_the_askers_own_edges(world, api):
    north, south = Plant(world), Plant(world, SOUTH)
    coated = await south.lot("S-COATED")
    raw, done = await north.lots("N-RAW", "N-DONE")
    await north.edges((raw, coated), (coated, done))
    found = await genealogy(api, raw, f"plant:{NORTH}")
    assert levels(found, "down") == {"N-RAW": 0, "hidden-1": 1, "N-DONE": 2}
    assert {each["parent"] for each in found["edges"]} == {raw, "hidden-1"}


async def test_a_lot_of_another_site_is_answered_as_one_that_is_not_there(api, across):
    nowhere = new()
    there = await asked(api, f"genealogy/{across['steel']}", f"plant:{NORTH}")
    none = await asked(api, f"genealogy/{nowhere}", f"plant:{NORTH}")
    assert there[0] == none[0] == 404
    assert str(there[1]).replace(across["steel"], nowhere) == str(none[1])
    assert none[1]["type"] == "/problems/unknown-lot"


# --- bounds --------------------------------------------------------------------------------------


async def test_what_is_deeper_than_asked_for_is_cut_and_told(world, api):
    plant = Plant(world)
    chain = await plant.lots("A", "B", "C", "D")
    await plant.edges(*pairwise(chain))
    found = await genealogy(api, chain[0], depth=2)
    assert levels(found, "down") == {"A": 0, "B": 1, "C": 2}
    assert (found["truncated"], found["truncated_by"]) == (True, ["depth"])
    assert len(found["edges"]) == 2
    whole = await genealogy(api, chain[0], depth=3)
    assert (len(whole["lots"]), whole["truncated"]) == (4, False)


async def test_more_lots_than_asked_for_are_cut_and_told(world, api):
    plant = Plant(world)
    top, *rest = await plant.lots("TOP", *(f"L{n}" for n in range(9)))
    await plant.edges(*((top, each) for each in rest))
    found = await genealogy(api, top, lots=5)
    assert (len(found["lots"]), len(found["edges"])) == (5, 4)
    assert (found["truncated"], found["truncated_by"]) == (True, ["lots"])
    assert not (await genealogy(api, top, lots=10))["truncated"]


@pytest.mark.slow
async def test_a_hundred_thousand_edges_are_walked_within_the_time_of_a_request(world, api):
    plant = Plant(world)
    top = await plant.lot("TOP")
    await stocked(
        world,
        "INSERT INTO mes.lot_genealogy (site_id, created_at, id, parent_lot_id, child_lot_id,"
        " relation) SELECT 'SITE_001', now(), gen_random_uuid(),"
        " CASE WHEN n < 4000 THEN %s::uuid ELSE md5((n %% 4000)::text)::uuid END,"
        " md5(n::text)::uuid, 'CONSUMED' FROM generate_series(0, 99999) AS n",
        top,
    )
    found = await genealogy(api, top, direction="down", lots=5_000)
    assert (len(found["lots"]), found["truncated_by"]) == (5_000, ["edges", "lots"])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"depth": 0}, "depth"), ({"depth": 51}, "depth"), ({"lots": 5_001}, "lots"),
        ({"direction": "sideways"}, "direction"), ({"format": "pdf"}, "format"),
        ({"deep": 1}, "deep"),
    ],
)  # fmt: skip
async def test_a_request_that_breaks_a_rule_is_told_which(api, params, field):
    status, problem = await asked(api, f"genealogy/{new()}", **params)
    assert (status, problem["type"]) == (422, "/problems/invalid")
    assert problem["errors"][0]["field"] == f"query.{field}"


async def test_what_is_no_id_at_all_is_told_by_field(api):
    for path in ("genealogy/L-1", "genealogy/%00", "spc/7", "spc/00000000"):
        status, problem = await asked(api, path)
        assert (status, problem["errors"][0]["field"][:5]) == (422, "path."), path


# --- stock and holds -----------------------------------------------------------------------------


async def test_what_is_on_hand_is_the_sum_of_all_that_moved_by_site_and_unit(world, api):
    north, south = Plant(world), Plant(world, SOUTH)
    lot = await shared_lot(world, "L")
    await north.moves(lot, "100", "-30.25", "0.000001")
    await north.moves(lot, "2", uom="kg")
    await south.moves(lot, "-5")
    found = await genealogy(api, lot)
    assert found["lots"][0]["on_hand"] == [
        {"site": NORTH, "uom": "kg", "qty": 2},
        {"site": NORTH, "uom": "pcs", "qty": 69.750001},
        {"site": SOUTH, "uom": "pcs", "qty": -5},
    ]
    (mine,) = (await genealogy(api, lot, f"plant:{SOUTH}"))["lots"]
    assert (mine["site"], len(mine["on_hand"])) == ("*", 1)
    async with await api.asked_by("corporate") as client:
        table = (await client.get(f"/v1/reports/genealogy/{lot}?format=csv")).text
    assert [line.split(",")[9:11] for line in table.split()[1:]] == [
        [NORTH, "2"], [NORTH, "69.750001"], [SOUTH, "-5"],
    ]  # fmt: skip


async def test_holds_that_were_released_block_nothing(world, api):
    plant = Plant(world)
    lot = await plant.lot("L", quality_status="QUARANTINED")
    await plant.hold(lot, reason_code="CRACK", placed_by="q.chief")
    await plant.hold(lot, released_at="2026-11-20T09:00:00.000Z")
    await plant.hold(lot, target_type="EQUIPMENT")
    (found,) = (await genealogy(api, lot))["lots"]
    assert found["quality_status"] == "QUARANTINED"
    assert [(each["reason_code"], each["placed_by"]) for each in found["holds"]] == [
        ("CRACK", "q.chief")
    ]


async def test_a_site_that_has_an_edge_of_the_same_id_takes_back_no_edge_of_another(world, api):
    south, north = Plant(world, SOUTH), Plant(world)
    steel, box = await south.lots("STEEL", "BOX")
    edge = await south.edge(steel, box)
    other, another = await north.lots("OTHER", "ANOTHER")
    await north.edge(other, another, id=edge)
    await north.void(edge, other, another)
    found = await genealogy(api, steel, direction="down")
    assert levels(found, "down") == {"STEEL": 0, "BOX": 1}
    assert [(each["site"], each["id"]) for each in found["edges"]] == [(SOUTH, edge)]
    assert levels(await genealogy(api, other, direction="down"), "down") == {"OTHER": 0}


# --- as a table ----------------------------------------------------------------------------------


async def test_a_recall_list_has_a_line_for_each_lot_and_site_with_stock(api, across):
    async with await api.asked_by("corporate") as client:
        answer = await client.get(
            f"/v1/reports/genealogy/{across['steel']}?direction=down",
            headers={"Accept": "text/csv"},
        )
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["X-Data-As-Of"].endswith("Z")
    assert answer.headers["X-Truncated"] == "false"
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    told = [
        (each["lot_no"], each["level_down"], each["site"], each["on_hand"], each["truncated"])
        for each in lines
    ]
    assert told == [
        ("S-STEEL", "0", SOUTH, "60", "no"), ("N-PART", "1", NORTH, "7", "no"),
        ("N-BOX", "2", "", "", "no"),
        ("S-SOLD", "3", "", "", "no"),
    ]  # fmt: skip
    assert lines[0]["complete_through"].startswith("2026-11-26T05:00")


async def test_partitions_of_other_sites_are_locked_by_no_plan_however_old_it_is(world, api):
    lot = uuid.UUID(await shared_lot(world, "L"))
    for name in (NORTH, SOUTH):
        plant = Plant(world, name)
        await plant.moves(str(lot), "1")
        bore = await plant.characteristic()
        await plant.sample(bore, 1.5)
    window = spc_values.Window(BEGAN, BEGAN + timedelta(hours=1))
    async with reading(api.reach.reading, (SOUTH,)) as connection:
        found = await spc_values.read_characteristic(connection, (SOUTH,), uuid.UUID(bore))
        asked_for = spc_values.Asked(characteristic=found, site=SOUTH)
        for _ in range(12):  # from the eleventh time on a plan is made for all parameters
            stock = await read_stock(connection, (SOUTH,), [lot])
            await walk(connection, (SOUTH,), lot, tuple(Way), Bounds())
            values = await spc_values.read_measured(connection, asked_for, window)
        locked = await connection.execute(
            "SELECT DISTINCT relation::regclass::text FROM pg_locks"
            " WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE '%\\_\\_site\\_00%'"
        )
        names = {name for (name,) in await locked.fetchall()}
    assert stock.on_hand[lot] == [{"site": SOUTH, "uom": "pcs", "qty": 1}]
    assert [each.value for each in values] == [Decimal("1.5")]
    for table in ("inventory_movements", "measurements"):
        assert any(f"{table}__site_002" in name for name in names), table
    assert not [name for name in names if "site_001" in name or "site_003" in name]
