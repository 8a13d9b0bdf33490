"""A site on a disk that becomes read-only; run by the test of it, in a mount namespace of its own.

What happened is printed as JSON: the test reads it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from edge.store import EdgeStore
from tests.faults.cases import local_orders
from tests.integration.import_world import CATALOG, NOW_MS, Site
from tests.integration.site_world import mes_sync, run
from tests.integration.test_edge_agent import offline_agent, until


async def look(folder: Path) -> dict[str, object]:
    """Write and drain, make the disk read-only and look, mend it and go on; tell all."""
    site = Site("F07", folder / "F07.db")  # made in its place: a copy would be refused
    EdgeStore.open(site.store, CATALOG, site=site.name, now_ms=NOW_MS, host="test").close()
    told: dict[str, object] = {"before": await _write_and_drain(site, "A1")}
    _remount(folder, "ro")
    told["program"] = _refusal(site)
    agent = run("edge", "run", MES_SITE=site.name, MES_STORE=str(site.store))
    told["agent"] = {"code": agent.code, "said": agent.err}
    status = mes_sync(site.store, "status", "--json")
    codes = [each["code"] for each in status.document["reasons"]]
    told["status"] = {"code": status.code, "codes": codes}
    _remount(folder, "rw")
    told["after"] = await _write_and_drain(site, "A2")
    return told


async def _write_and_drain(site: Site, order: str) -> int:
    """Have a program write an order and the agent drain it; return how many rows are kept."""
    with closing(sqlite3.connect(site.store)) as program, program:
        program.execute(local_orders(order))
    async with offline_agent(site):
        await until(lambda: site.rows("SELECT count(*) FROM _sync_log_work_orders") == [(0,)])
    return int(site.rows("SELECT sum(rows) FROM _sync_out")[0][0])


def _refusal(site: Site) -> str:
    """Return what a program is told that writes."""
    try:
        with closing(sqlite3.connect(site.store)) as program, program:
            program.execute(local_orders("A3"))
    except sqlite3.OperationalError as error:
        return str(error)
    return "taken"


def _remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(look(Path(sys.argv[1])))))  # noqa: T201
