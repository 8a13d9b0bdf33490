"""What a site may tell of a history that the centre lost, and what it may not."""

from __future__ import annotations

import uuid

import pytest
from psycopg_pool import AsyncConnectionPool

from central.control import Control
from shared.changes import Fate, HeadBlock
from sync import codec
from tests.integration.central_world import CATALOG, execute, fetch
from tests.integration.test_central_snapshot import hello

SITE = "SITE_001"
MATERIAL = "018f4b7e-0000-7000-8000-0000000000aa"
CREATED = "2026-11-01T00:00:00.000Z"


@pytest.fixture
async def control(centre):
    async def waiting(_: str) -> int:
        return 0

    async with AsyncConnectionPool(centre, min_size=1, max_size=4, open=False) as pool:
        yield Control(pool, CATALOG, waiting)


async def ask(control: Control, verb: str, **fields: object) -> dict:
    answer = await control.answer(f"ctl.{SITE}.{verb}", codec.encode_control(fields))
    return codec.decode_control(answer)


async def told(control: Control, block: HeadBlock) -> dict:
    life = (await ask(control, "life", lives=[]))["life"]
    return await ask(control, "home", chunk=codec.encode_chunk([block]), life=life)


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


async def test_a_site_whose_server_was_started_brings_home_what_only_it_has(control, centre):
    head = a_head("work_orders", SITE, order_no="N1", source="ERP", qty_ordered="1", uom="pcs",
                  exec_state="CREATED", cancel_requested=0, priority=50)  # fmt: skip
    assert (await told(control, head))["rows"] == 1
    assert (await told(control, head))["rows"] == 0  # told again, it is known
    assert await fetch(centre, "SELECT order_no FROM mes.work_orders") == [("N1",)]
