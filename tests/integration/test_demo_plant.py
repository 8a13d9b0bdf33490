from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.plainsql import PlainStore
from deploy.local.probe import Probe
from deploy.local.shopfloor import MACHINES, Shopfloor
from edge.store import EdgeStore
from shared.catalog_file import load_catalog

ROOT = Path(__file__).parents[2]
CATALOG = load_catalog()
NOW_MS = 1_795_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "site.db")


def make_store(path: Path) -> Path:
    opened = EdgeStore.open(path, CATALOG, site="SITE_001", now_ms=NOW_MS, host="here")
    opened.close()
    return path


def plant(store: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "deploy.local.plant"),
            *("--store", str(store), "--site", "SITE_001", *arguments),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, failed = process.communicate(timeout=60)
    return process.returncode, said, failed


def counts(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as connection:
        found = {
            table.name: connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
            for table in CATALOG.tables
        }
    connection.close()
    return {name: count for name, count in found.items() if count}


def work(path: Path, seed: int, steps: int) -> Shopfloor:
    chance = random.Random(seed)
    plain = PlainStore(path, chance)
    shopfloor = Shopfloor(plain, "SITE_001", chance)
    for _ in range(steps):
        shopfloor.step()
    plain.close()
    return shopfloor


def test_a_plant_writes_about_as_many_rows_a_second_as_it_was_told(store):
    status, said, failed = ends(plant(store, "--rate", "200", "--seconds", "2", "--seed", "3"))
    assert status == 0, failed
    told = json.loads(said)
    assert 300 <= told["rows"] <= 500


def test_a_plant_writes_every_kind_of_thing_that_a_plant_does(store):
    work(store, 5, 600)
    assert counts(store).keys() >= {
        *("work_orders", "job_orders", "job_responses", "inventory_movements", "material_lots"),
        *("equipment", "equipment_state_events", "downtime_annotations", "holds"),
        *("inspection_results", "measurements", "quality_alerts", "user_sessions"),
        "lot_genealogy",
    }


def test_the_same_seed_makes_the_same_choices(tmp_path):
    first, again, other = (make_store(tmp_path / f"{name}.db") for name in ("a", "b", "c"))
    work(first, 5, 150)
    work(again, 5, 150)
    work(other, 6, 150)
    assert counts(first) == counts(again) != counts(other)


def test_an_order_reaches_its_end_through_all_its_steps(store):
    work(store, 5, 900)
    with sqlite3.connect(store) as connection:
        done = connection.execute(
            "SELECT count(*) FROM work_orders WHERE exec_state = 'COMPLETED'"
            " AND actual_start <= actual_end"
        ).fetchone()[0]
        torn = connection.execute(
            "SELECT count(*) FROM work_orders w JOIN job_orders j ON j.work_order_id = w.id"
            " WHERE w.exec_state = 'COMPLETED' AND j.exec_state <> 'COMPLETED'"
        ).fetchone()[0]
    connection.close()
    assert done > 0
    assert torn == 0


def test_a_plant_that_is_told_to_stop_ends_in_good_order(store):
    process = plant(store, "--rate", "50", "--seconds", "0")
    while counts(store).get("equipment_state_events", 0) < 3:
        assert process.poll() is None, process.stderr and process.stderr.read()
    process.send_signal(signal.SIGTERM)
    status, said, _ = ends(process)
    assert status == 0
    assert json.loads(said)["rows"] > 0


def test_two_plants_in_a_row_share_their_machines(store):
    work(store, 1, 10)
    work(store, 2, 10)
    assert counts(store)["equipment"] == len(MACHINES)


def test_a_burst_is_as_large_as_it_was_asked_for(store):
    chance = random.Random(1)
    plain = PlainStore(store, chance)
    written = Shopfloor(plain, "SITE_001", chance).burst(1_234)
    plain.close()
    assert 1_234 <= written <= 1_240


def test_a_probe_that_a_store_refuses_is_told_at_the_end(tmp_path, database):
    sqlite3.connect(tmp_path / "empty.db").close()
    stores = {"SITE_001": tmp_path / "empty.db"}
    probe = Probe(stores, database, random.Random(1))
    with pytest.raises(sqlite3.OperationalError, match="no such table"), probe:
        probe._thread.join(10)
    assert probe.latencies_ms == []


def test_a_plant_makes_no_store_of_its_own(tmp_path):
    status, _, failed = ends(plant(tmp_path / "missing.db"))
    assert status == 2
    assert "does not exist" in failed
    assert not (tmp_path / "missing.db").exists()
