"""What a site may tell of a history that the centre lost, and what it may not."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from psycopg_pool import AsyncConnectionPool

from central.control import Control
from central.migrate import migrate
from central.roles import as_role
from shared.catalog import Catalog, Column, ColumnType, Kind, Policy
from shared.changes import Fate, HeadBlock
from sync import codec
from tests.integration.central_world import CATALOG, SITES, execute, fetch
from tests.integration.test_central_snapshot import hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SITE, OTHER = "SITE_001", "SITE_002"
MATERIAL = "018f4b7e-0000-7000-8000-0000000000aa"
CREATED = "2026-11-01T00:00:00.000Z"


@pytest.fixture
async def control(centre):
    async with control_of(centre, CATALOG) as control:
        yield control


@asynccontextmanager
async def control_of(centre: str, catalog: Catalog) -> AsyncIterator[Control]:
    async def waiting(_: str) -> int:
        return 0

    # As the feed process: what a client writes is captured.
    url = as_role(centre, "mes_ingest")
    async with AsyncConnectionPool(url, min_size=1, max_size=4, open=False) as pool:
        yield Control(pool, catalog, waiting)


async def ask(control: Control, verb: str, site: str = SITE, **fields: object) -> dict:
    answer = await control.answer(f"ctl.{site}.{verb}", codec.encode_control(fields))
    return codec.decode_control(answer)


async def told(control: Control, block: HeadBlock, site: str = SITE, **fields: object) -> dict:
    life = (await ask(control, "life", lives=[]))["life"]
    chunk = codec.encode_chunk([block])
    return await ask(control, "home", site, chunk=chunk, life=life, **fields)


def a_head(table: str, owner: str, fate: Fate = Fate.PUT, **values: object) -> HeadBlock:
    names = tuple(values)
    return HeadBlock(
        table, fate, names, [owner], [CREATED], [MATERIAL], [str(uuid.uuid4())], [9],
        [[value] for value in values.values()],
    )  # fmt: skip


async def shared_material(centre: str) -> None:
    await execute(
        centre,
        "INSERT INTO mes.material_definitions (id, site_id, created_at, material_code, version)"
        f" VALUES ('{MATERIAL}', '*', '{CREATED}', 'M-1', 'A')",
    )
    # As the feed does: what is still queued at a start was written since.
    await execute(centre, "DELETE FROM sync.touched")


async def name_of(centre: str) -> list[tuple]:
    return await fetch(centre, "SELECT material_code FROM mes.material_definitions")


async def test_a_site_that_has_agreed_has_no_say_in_shared_rows(control, centre):
    await shared_material(centre)
    assert (await ask(control, "hello", **hello()))["verdict"] == "ok"
    forged = a_head("material_definitions", "*", material_code="HACKED", version="A")
    assert (await told(control, forged))["rows"] == 0
    assert await name_of(centre) == [("M-1",)]


async def test_no_site_tells_that_a_shared_row_is_gone(control, centre):
    await shared_material(centre)
    assert (await told(control, a_head("material_definitions", "*", Fate.GONE)))["rows"] == 0
    assert await name_of(centre) == [("M-1",)]


async def test_no_site_gets_a_row_of_another_by_telling_who_gets_it(control, centre):
    await execute(
        centre,
        "INSERT INTO mes.persons (id, site_id, created_at, home_site_id, person_no, name)"
        f" VALUES ('{MATERIAL}', '*', '{CREATED}', 'SITE_002', 'P1', 'Ada')",
    )
    before = await fetch(centre, "SELECT * FROM mes.persons")
    forged = a_head("persons", "*", assigned_sites=f'["{SITE}"]', name="Eve")
    assert (await told(control, forged))["rows"] == 0
    assert await fetch(centre, "SELECT * FROM mes.persons") == before


async def test_a_row_of_several_sites_that_the_backup_lacks_comes_home_with_who_gets_it(
    control, centre
):
    head = a_head("persons", "*", home_site_id=SITE, person_no="P1", name="Ada",
                  assigned_sites='["SITE_002"]', active=1)  # fmt: skip
    assert await told(control, head) == {"rows": 1, "parked": 0}
    assert await fetch(centre, "SELECT home_site_id, assigned_sites::text FROM mes.persons") == [
        (SITE, '["SITE_002"]')
    ]


async def test_a_site_whose_server_was_started_brings_home_what_only_it_has(control, centre):
    head = a_head("work_orders", SITE, order_no="N1", source="ERP", qty_ordered="1", uom="pcs",
                  exec_state="CREATED", cancel_requested=0, priority=50)  # fmt: skip
    assert (await told(control, head))["rows"] == 1
    assert (await told(control, head))["rows"] == 0  # told again, it is known
    assert await fetch(centre, "SELECT order_no FROM mes.work_orders") == [("N1",)]


async def test_what_comes_home_of_a_shared_row_goes_to_the_other_sites_as_well(control, centre):
    await shared_material(centre)
    known = a_head("material_definitions", "*", material_code="M-2", version="A")
    assert (await told(control, known))["rows"] == 1
    assert await fetch(centre, "SELECT row_id::text, scopes FROM sync.touched") == [
        (MATERIAL, ["*"])
    ]


async def test_a_site_tells_of_a_row_that_was_made_since_the_start_as_of_one_that_stands(
    control, centre
):
    await ask(control, "life", lives=[])
    await execute(
        centre,
        "INSERT INTO mes.persons (id, site_id, created_at, home_site_id, person_no, name)"
        f" VALUES ('{MATERIAL}', '*', '{CREATED}', '{SITE}', 'P1', 'Ada')",
    )
    assert (await told(control, a_head("persons", "*", name="Ada L.")))["rows"] == 1
    ((here, there),) = await fetch(
        centre, "SELECT here_value, central_value FROM mes.sync_conflicts"
    )
    assert "Ada L." in str(here)
    assert "Ada L." not in str(there)


async def test_of_two_sites_words_the_later_one_of_the_lost_history_stands_in_either_order(
    control, centre
):
    await shared_material(centre)
    older, newer = (
        replace(a_head("material_definitions", "*", material_code=code, version="A"), order=[order])
        for code, order in (("OLDER", 20), ("NEWER", 30))
    )
    history = str(uuid.uuid4())
    await told(control, older, history=history)
    await told(control, newer, site=OTHER, history=history)
    assert await name_of(centre) == [("NEWER",)]
    await told(control, replace(older, version=[str(uuid.uuid4())]), history=history)
    assert await name_of(centre) == [("NEWER",)]
    assert await fetch(centre, "SELECT count(*) FROM mes.sync_conflicts") == [(0,)]


async def test_of_two_lost_histories_each_word_that_does_not_stand_is_on_record(control, centre):
    await shared_material(centre)
    for site, code in ((SITE, "FIRST"), (OTHER, "SECOND")):
        head = a_head("material_definitions", "*", material_code=code, version="A")
        await told(control, head, site=site, history=str(uuid.uuid4()))
    ((stands,),) = await name_of(centre)
    ((here, there),) = await fetch(
        centre, "SELECT here_value::text, central_value::text FROM mes.sync_conflicts"
    )
    assert stands in ("FIRST", "SECOND")
    assert "SECOND" in here
    assert "FIRST" in there


async def test_a_later_word_meets_what_a_client_wrote_meanwhile_by_policy(control, centre):
    await shared_material(centre)
    await ask(control, "life", lives=[])
    history = str(uuid.uuid4())
    head = a_head("material_definitions", "*", material_code="M-1", version="A", description="Bolt")
    await told(control, replace(head, order=[20]), history=history)
    await execute(centre, "UPDATE mes.material_definitions SET description = 'by a client'")
    later = a_head(
        "material_definitions", "*", material_code="M-1", version="B", description="Screw"
    )
    await told(control, replace(later, order=[30]), site=OTHER, history=history)
    assert await fetch(centre, "SELECT version FROM mes.material_definitions") == [("B",)]
    ((here, there),) = await fetch(
        centre, "SELECT here_value::text, central_value::text FROM mes.sync_conflicts"
    )
    assert "Screw" in here
    assert "by a client" in there


@pytest.mark.timeout(60)
async def test_a_row_that_comes_home_and_can_not_be_applied_is_parked_and_holds_up_nobody(
    control, centre
):
    await execute(
        centre,
        "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, source, qty_ordered, uom)"
        f" VALUES ('{uuid.uuid4()}', '{SITE}', '{CREATED}', 'N1', 'ERP', 1, 'pcs')",
    )
    values = {"source": "ERP", "qty_ordered": "1", "uom": "pcs", "exec_state": "CREATED",
              "cancel_requested": 0, "priority": 50}  # fmt: skip
    taken = a_head("work_orders", SITE, order_no="N1", **values)
    assert await told(control, taken) == {"rows": 0, "parked": 1}
    lacking = a_head("persons", "*", home_site_id=SITE, name="Ada")
    assert await told(control, lacking) == {"rows": 0, "parked": 1}
    rows = await fetch(centre, "SELECT reason FROM mes.sync_parked ORDER BY 1")
    assert rows == [("database",), ("key_taken",)]


AN_ORDER = {
    "order_no": "N1", "source": "ERP", "qty_ordered": "1", "uom": "pcs",
    "exec_state": "CREATED", "cancel_requested": 0, "priority": 50,
}  # fmt: skip


@pytest.mark.parametrize("renamed", ["order_no", "uom"])
async def test_what_a_site_of_a_later_release_brings_home_is_known_by_its_place(
    control, centre, renamed
):
    names = CATALOG.table("work_orders").names
    later = {"renamed_since" if c == renamed else c: AN_ORDER.get(c) for c in names}
    later["to_come"] = "of no place here"
    assert (await told(control, a_head("work_orders", SITE, **later)))["rows"] == 1
    assert await fetch(centre, f"SELECT {renamed} FROM mes.work_orders") == [(AN_ORDER[renamed],)]


def added_and_renamed(*names: str) -> Catalog:
    orders = CATALOG.table("work_orders")
    *earlier, last = names
    added = Column(
        last, ColumnType(Kind.TEXT, length=40), policy=Policy.LAST_WRITE, since=2,
        renamed_from=tuple(earlier),
    )  # fmt: skip
    others = tuple(t for t in CATALOG.tables if t is not orders)
    grown = replace(orders, columns=(*orders.columns, added))
    return Catalog(CATALOG.version + len(names), (*others, grown))


# Tips hold what their store has no column for in the order of the names.
@pytest.mark.parametrize("names", [("colour", "shade"), ("shade", "colour")])
@pytest.mark.parametrize("told_of", [1, 2])
async def test_a_site_two_releases_behind_brings_home_the_value_under_the_latest_name_it_has(
    centre, names, told_of
):
    catalog = added_and_renamed(*names)
    await migrate(centre, catalog, SITES)
    kept = dict(zip(names[:told_of], ("first", "last"), strict=False))
    tip = {c: AN_ORDER.get(c) for c in CATALOG.table("work_orders").names}
    tip |= {name: kept[name] for name in sorted(kept)}
    async with control_of(centre, catalog) as control:
        assert (await told(control, a_head("work_orders", SITE, **tip)))["rows"] == 1
    shown = await fetch(centre, f"SELECT {names[-1]} FROM mes.work_orders")
    assert shown == [(kept[names[told_of - 1]],)]
