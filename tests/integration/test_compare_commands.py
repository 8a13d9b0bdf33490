"""``mes-sync verify``, ``mes-central verify``, the nightly comparison, and what the status says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sqlite3
import sys
from datetime import datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlite_utils import Database

from central.migrate import migrate
from central.roles import as_role
from edge.adopt import adopt
from edge.compare import schedule
from edge.compare.schedule import next_start
from edge.status import read_picture
from edge.store.setup import Owner
from edge.verdict import judge
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Table
from tests.integration.central_world import CATALOG, SITES
from tests.integration.compare_world import counts, tampered, verify
from tests.integration.test_compare import orders, reports
from tests.integration.whole_world import Edge, whole_world

ROOT = Path(__file__).parents[2]
SITE = SITES[0]
NEW = "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c02"


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,), metrics_port=1) as world:
        await world.settle()
        yield world


async def ran(module: str, *arguments: str, **settings: object) -> tuple[int, str, str]:
    """Run a command as an operator does; return its exit code and what it wrote."""
    named = {f"MES_{name.upper()}": str(value) for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=ROOT, env=named,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def mes_sync(edge: Edge, *arguments: str) -> tuple[int, str, str]:
    given = {"store": edge.path, "nats_servers": edge.nats_url}
    return await ran("edge.cli.sync_command", *arguments, **given)


async def mes_central(world, *arguments: str) -> tuple[int, str, str]:
    given = {"database_url": as_role(world.url, "mes_ingest"), "nats_servers": world.nats_url}
    return await ran("central.cli.command", *arguments, **given)


async def test_the_command_of_a_site_names_rows_and_columns_and_repairs_them(world):
    edge = world.edges[SITE]
    edge.write(orders(20), reports(20))
    await world.settle()
    code, out, err = await mes_sync(edge, "verify")
    assert (code, err) == (0, "")
    assert out.startswith(f"EQUAL  {SITE}: 40 rows of ")
    tampered(edge, "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-7'")
    code, out, _ = await mes_sync(edge, "verify", "--table", "work_orders")
    assert code == 1
    assert "work_orders  WO-7  notes   mine  line one two  other values" in out
    assert "next      mes-sync verify --table work_orders --repair" in out
    picture = read_picture(edge.path, 0)
    assert [each.code for each in judge(picture).reasons if each.code == "MES-DIFFERS"]
    code, out, _ = await mes_sync(edge, "verify", "--repair", "--json")
    found = json.loads(out)
    assert (code, found["schema"]) == (0, "mes-sync.verify/v1")
    assert (found["found"], found["differing"]) == (1, 0)
    (difference,) = found["differences"]
    assert difference["columns"] == {"notes": {"here": "mine", "centre": "line one\ntwo"}}
    assert (difference["cause"], difference["repair"]) == ("altered_here", "sent")
    compared = read_picture(edge.path, 0).compared
    assert (compared.differing, compared.at_ms is not None) == (0, True)


async def test_what_was_written_past_triggers_that_a_tool_took_away_is_found_told_and_mended(world):
    edge = world.edges[SITE]
    edge.write(orders(3))
    await world.settle()
    await edge.stop()
    with contextlib.closing(edge.program()) as program:  # as a migration tool of the plant's does
        Database(program).table("work_orders").transform()
    edge.write(
        "UPDATE work_orders SET notes = 'unwatched' WHERE order_no = 'WO-1'",
        "INSERT INTO work_orders (id, site_id, created_at, order_no) VALUES"
        f" ('{NEW}', '{SITE}', '2026-11-01T00:00:00.000Z', 'WO-NEW')",
    )
    await edge.start()

    def reasons() -> set[str]:
        return {each.code for each in judge(read_picture(edge.path, 0)).reasons}

    # It is compared at once, by itself.
    await world.eventually(lambda: {"MES-CAPTURE-LOST", "MES-DIFFERS"} <= reasons())
    code, out, _ = await mes_sync(edge, "verify", "--repair")
    assert (code, "2 rows differed, none differs any more" in out) == (0, True), out
    assert not {"MES-CAPTURE-LOST", "MES-DIFFERS", "MES-ASIDE"} & reasons()
    await world.settle()
    query = "SELECT order_no FROM mes.work_orders WHERE id = %s"
    assert await world.central(query, NEW) == [("WO-NEW",)]
    query = "SELECT here_value FROM mes.sync_conflicts WHERE policy = 'repair'"
    assert "unwatched" in str(await world.central(query))


async def test_the_command_of_the_centre_has_a_site_compare_and_repair(world):
    edge = world.edges[SITE]
    edge.write(orders(20))
    await world.settle()
    tampered(edge, "DELETE FROM work_orders WHERE order_no = 'WO-7'")
    code, out, err = await mes_central(world, "verify", "--site", SITE)
    assert (code, err) == (1, "")
    assert "work_orders: 0 different, 1 missing, 0 extra" in out
    code, out, _ = await mes_central(world, "status", SITE)
    assert "MES-DIFFERS" in out
    code, out, _ = await mes_central(world, "verify", "--site", SITE, "--repair")
    assert code == 0
    assert "1 row differed, none differs any more" in out
    code, out, _ = await mes_central(world, "status", SITE)
    assert "MES-DIFFERS" not in out
    assert "all rows are the same" in out
    await world.settle()


async def test_a_parked_row_is_told_as_left_out_at_the_centre_as_at_the_site(world):
    edge = world.edges[SITE]
    edge.write("INSERT INTO measurements (result_id, value)"
               " VALUES ('01a00000-0000-7000-8000-00000000dead', '1')")  # fmt: skip
    await world.settle_counts()
    code, out, err = await mes_central(world, "verify", "--site", SITE, "--table", "measurements")
    assert (code, err) == (0, "")
    verdict, left_out = out.splitlines()
    assert verdict.startswith(
        f"EQUAL  {SITE}: 1 row of 1 table are the same at both ends, but for what was left out ("
    )
    listing = f"mes-central parked list --site {SITE} --all"
    assert left_out == f"  left out  1 row waits at the centre, or given up there: {listing}"
    code, out, _ = await mes_central(world, *listing.split()[1:])
    assert (code, "measurements" in out) == (0, True)
    code, out, _ = await mes_sync(edge, "verify", "--table", "measurements")
    assert (code, out.splitlines()[1].split(":")[0]) == (0, left_out.split(":")[0])


async def test_the_next_step_at_the_centre_names_the_table_that_was_asked_for(world):
    edge = world.edges[SITE]
    edge.write(orders(3))
    await world.settle()
    tampered(edge, "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-2'")
    asked = ("verify", "--site", SITE, "--table", "work_orders")
    code, out, _ = await mes_central(world, *asked)
    assert code == 1
    assert "  cause     both ends name the same version" in out
    assert out.splitlines()[-1] == f"  next      mes-central {' '.join(asked)} --repair"
    code, out, _ = await mes_central(world, *asked, "--repair")
    assert code == 0
    assert f"`mes-central conflicts list --all --site {SITE}`" in out
    code, out, _ = await mes_central(world, "conflicts", "list", "--all", "--site", SITE)
    assert (code, "WO-2" in out) == (0, True)


async def test_the_centre_is_told_why_a_site_can_not_compare(world):
    edge = world.edges[SITE]
    code, out, _ = await mes_central(world, "verify", "--site", SITE, "--table", "nonsense")
    assert code == 1
    assert "neither end has a table nonsense" in out
    await edge.stop()
    code, _, err = await mes_central(world, "verify", "--site", SITE, "--timeout", "1")
    assert code == 69
    assert "has sent no report in 1 s" in err
    code, _, err = await mes_central(world, "verify", "--site", "NOBODY")
    assert code == 1
    assert "not registered" in err


async def test_the_agent_compares_by_itself_when_the_hour_has_come(world, monkeypatch):
    edge = world.edges[SITE]
    edge.write(orders(5))
    await world.settle()
    tampered(edge, "UPDATE work_orders SET notes = 'mine' WHERE order_no = 'WO-1'")
    await edge.stop()
    monkeypatch.setattr(schedule, "next_start", lambda now, hour, minutes: now)
    await edge.start()
    await world.eventually(lambda: read_picture(edge.path, 0).compared.differing == 1)
    there = "SELECT differing, whole FROM sync.compare ORDER BY at DESC LIMIT 1"
    await world.eventually(lambda: world.central(there))
    assert await world.central(there) == [(1, True)]
    monkeypatch.undo()
    await edge.stop()
    assert edge.read("SELECT notes FROM work_orders WHERE order_no = 'WO-1'") == [("mine",)]
    await edge.start()
    await world.eventually(
        lambda: REGISTRY.get_sample_value("mes_edge_compare_differing_rows", {"site": SITE}) == 1
    )


def test_the_next_start_is_tonight_or_tomorrow_and_spread_over_two_hours():
    noon = datetime(2026, 11, 26, 12, 0)  # noqa: DTZ001 - any clock of a wall
    assert next_start(noon, 2, 75) == datetime(2026, 11, 27, 3, 15)  # noqa: DTZ001
    assert next_start(noon, 12, 1) == datetime(2026, 11, 26, 12, 1)  # noqa: DTZ001
    minutes = {random.Random(seed).randrange(schedule.SPREAD_MIN) for seed in range(2_000)}
    assert (min(minutes), max(minutes)) == (0, 119)


GAUGES = Table(
    "gauges",
    Direction.BOTH,
    (
        Column("number", ColumnType(Kind.INTEGER)),
        Column("serial", ColumnType(Kind.TEXT)),
        Column("reading", ColumnType(Kind.DECIMAL, precision=18, scale=6)),
        Column("made", ColumnType(Kind.TIMESTAMP)),
    ),
)
WITH_GAUGES = Catalog(CATALOG.version + 1, (*CATALOG.tables, GAUGES))


async def test_a_table_that_a_plant_had_before_is_compared_in_the_forms_it_keeps(
    centre, nats_server, tmp_path
):
    path = tmp_path / "plant.db"
    plant = sqlite3.connect(path)
    plant.execute("CREATE TABLE gauges (number INTEGER PRIMARY KEY, serial, reading REAL,"
                  " made DATETIME, created_at TEXT)")  # fmt: skip
    plant.executemany(
        "INSERT INTO gauges VALUES (?, ?, ?, ?, '2025-06-01 12:00:00')",
        [(k, f"A-{k}", k / 4, "2011-01-01T00:00:00Z") for k in range(1, 41)],
    )
    plant.commit()
    plant.close()
    adopt(path, "gauges", WITH_GAUGES, Owner(SITE, socket.gethostname(), 1_700_000_000_000),
          zone="Europe/Berlin")  # fmt: skip
    async with whole_world(centre, nats_server.url, tmp_path, ()) as world:
        await world.stop_centre()
        await migrate(world.url, WITH_GAUGES, SITES)
        await world.start_centre(WITH_GAUGES)
        edge = world.edges[SITE] = Edge(SITE, path, nats_server.url, catalog=WITH_GAUGES)
        await edge.start()
        try:
            await world.settle_counts()
            report = await verify(edge, "gauges")
            assert (report.found, report.tables[0].rows) == (0, 40)
            tampered(edge, "UPDATE gauges SET reading = 99.5 WHERE number = 3")
            report = await verify(edge, "gauges", repair=True)
            assert counts(report) == {"gauges": (1, 0, 0)}
            assert report.differing == 0
            assert dict(report.differences[0].columns) == {"reading": ("99.5", "0.75")}
            assert edge.read("SELECT reading FROM gauges WHERE number = 3") == [(0.75,)]
        finally:
            await edge.stop()
