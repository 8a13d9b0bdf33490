"""A store whose disk is nearly full: facts are refused, everything else goes on.

The limit is put above what this machine's disk has, so the room that is measured is the real one.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager

import pytest

from edge.status import read_picture
from edge.store import EdgeStore
from edge.store.fullness import Limits
from edge.verdict import Level, judge
from shared.errors import StoreFull
from tests.integration import site_world
from tests.integration.edge_world import CATALOG, Plant, plant, put, uid  # noqa: F401
from tests.integration.import_world import CATALOG as MES
from tests.integration.import_world import LINE, NOW_MS, SMALL_MAP, Site, file_of, rejects
from tests.integration.test_edge_agent import offline_agent, until

MORE_THAN_THERE_IS = 1 << 60
FULL = Limits(stop=MORE_THAN_THERE_IS, go=MORE_THAN_THERE_IS)
ROOMY = Limits(stop=0, go=0)
REFUSED = "MES-DISK-FULL: the store's disk is nearly full, so .* takes no new rows; make room"


@contextmanager
def agent_of(site: Site):
    with closing(
        EdgeStore.open(site.store, MES, site=site.name, now_ms=NOW_MS, host="test")
    ) as store:
        yield store


def test_a_fact_is_refused_with_its_cause_and_the_next_step(plant):
    assert plant.store.keep_room(FULL, 1) is True
    with pytest.raises(sqlite3.IntegrityError, match=REFUSED):
        plant.insert("reports", id=uid(1), good=1)
    with pytest.raises(sqlite3.IntegrityError, match=REFUSED):
        plant.write("INSERT OR IGNORE INTO reports (id, good) VALUES (?, 1)", uid(1))
    assert plant.value("SELECT count(*) FROM reports") == 0


def test_two_way_rows_and_the_centres_rows_are_written_as_ever(plant):
    plant.insert("reports", id=uid(1), good=1)
    plant.store.keep_room(FULL, 1)
    plant.insert("orders", id=uid(2), order_no="A")
    plant.update("orders", uid(2), notes="goes on")
    assert plant.drain() == 1
    plant.take(put("parts", {"id": uid(3), "code": "P", "description": None}, order=1))
    assert plant.row("parts", uid(3))["code"] == "P"
    assert {block.table for block in plant.sent(1)} == {"orders", "reports"}


def test_facts_that_the_centre_sends_are_not_hindered(plant):
    """A new store, or one that was restored, gets its own facts back."""
    plant.store.keep_room(FULL, 1)
    plant.take(put("reports", {"id": uid(1), "good": 7}, order=0))
    assert plant.row("reports", uid(1))["good"] == 7


def test_facts_are_taken_again_when_there_is_room_and_both_are_told(plant):
    assert plant.store.keep_room(FULL, 1) is True
    assert plant.store.keep_room(FULL, 2) is True
    assert plant.store.keep_room(ROOMY, 3) is False
    plant.insert("reports", id=uid(1), good=1)
    plant.drain()
    assert plant.events() == ["MES-DISK-FULL", "MES-DISK-FULL"]


def test_refusing_outlives_the_agent_and_a_set_up_anew(plant):
    plant.store.keep_room(FULL, 1)
    plant.write("DROP TRIGGER _sync_reports_guard_insert")  # so that the set-up has work to do
    plant.close()
    plant.open()
    with pytest.raises(sqlite3.IntegrityError, match=REFUSED):
        plant.insert("reports", id=uid(1), good=1)
    assert plant.store.keep_room(ROOMY, 2) is False
    plant.insert("reports", id=uid(1), good=1)


def test_the_refusing_triggers_do_not_count_as_triggers_of_the_plant(plant):
    plant.store.keep_room(FULL, 1)
    plant.take(put("parts", {"id": uid(1), "code": "P", "description": None}, order=1))
    assert plant.store.opened.knock_on.tables == frozenset()


def test_a_table_that_a_later_catalogue_brings_is_refused_as_well(plant, tmp_path):
    fewer = type(CATALOG)(1, tuple(t for t in CATALOG.tables if t.name != "reports"))
    later = Plant(tmp_path / "later.db", fewer)
    later.store.keep_room(FULL, 1)
    later.close()
    later.open(type(CATALOG)(2, CATALOG.tables))
    later.store.keep_room(FULL, 2)
    with pytest.raises(sqlite3.IntegrityError, match=REFUSED):
        later.insert("reports", id=uid(1), good=1)
    later.close()


# --- who meets the refusal ----------------------------------------------------------------------


def test_an_import_stops_without_rejecting_a_line_and_goes_on_later(tmp_path):
    site = Site.new(tmp_path)
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    bad = LINE.replace("2012-01-02 06:00", "never")
    file = file_of(site, LINE, LINE.replace("A-1", "A-2"), bad, LINE.replace("A-1", "A-3"))
    with agent_of(site) as store:
        store.keep_room(FULL, NOW_MS)
        with pytest.raises(StoreFull, match="the same command goes on after what was taken"):
            site.load(file, tmp_path / "map.toml", batch_rows=2)
        assert site.rows("SELECT count(*) FROM work_orders") == [(0,)]
        assert not site.store.with_suffix(".rejects.csv").exists()
        store.keep_room(ROOMY, NOW_MS)
    outcome = site.load(file, tmp_path / "map.toml", batch_rows=2)
    assert (outcome.taken, outcome.rejected, len(rejects(site))) == (3, 1, 2)
    assert site.rows("SELECT count(*) FROM job_responses") == [(3,)]


def test_an_import_with_a_line_that_the_store_refuses_stops_all_the_same(tmp_path):
    """Its lines are then taken one by one, and none must pass for a bad one."""
    site = Site.new(tmp_path)
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    with closing(sqlite3.connect(site.store)) as program:
        program.execute(
            "CREATE TRIGGER picky BEFORE INSERT ON work_orders WHEN NEW.order_no = 'A-2'"
            " BEGIN SELECT RAISE(ABORT, 'no such order here'); END"
        )
    file = file_of(site, LINE.replace("A-1", "A-2"), LINE)
    with agent_of(site) as store:
        store.keep_room(FULL, NOW_MS)
        with pytest.raises(StoreFull):
            site.load(file, tmp_path / "map.toml")
    assert not site.store.with_suffix(".rejects.csv").exists()


def test_the_import_command_says_try_later(tmp_path):
    site = Site.new(tmp_path)
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    with agent_of(site) as store:
        store.keep_room(FULL, NOW_MS)
        done = site.run("import", file_of(site, LINE), "--map", tmp_path / "map.toml")
    assert (done.returncode, done.stdout) == (75, "")
    assert "MES-DISK-FULL" in done.stderr


def test_the_status_says_that_facts_are_refused(tmp_path):
    site = Site.new(tmp_path)
    with agent_of(site) as store:
        store.keep_room(FULL, NOW_MS)
        verdict = judge(read_picture(site.store, NOW_MS))
        assert verdict.level is Level.CRITICAL
        assert "MES-DISK-FULL" in [reason.code for reason in verdict.reasons]
        said = site_world.mes_sync(site, "status", "--json")
    assert said.code == 2
    assert json.loads(said.out)["space"]["facts_refused"] is True


async def test_an_agent_looks_at_its_start_and_lets_facts_go_again(tmp_path):
    site = Site("F07", tmp_path / "made here.db")  # a copy would be refused by its agent

    def refuses() -> bool:
        return read_picture(site.store, NOW_MS).space.facts_refused

    async with offline_agent(site, facts_stop_bytes=FULL.stop, facts_go_bytes=FULL.go):
        await until(refuses)
    assert refuses()  # it stays so without an agent
    async with offline_agent(site):
        await until(lambda: not refuses())
