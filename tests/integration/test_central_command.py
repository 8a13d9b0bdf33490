"""``mes-central``: help, settings, migration, sites, keys, catalogue and reports."""

from __future__ import annotations

import json

import pytest

from central.cli import exits
from central.roles import as_role
from sync.accounts import creds_path
from tests.integration.command_world import at_the_centre, fetch, mes_central  # noqa: F401

pytestmark = pytest.mark.postgres


# --- help, usage, errors ---------------------------------------------------------------------


def test_a_broker_that_is_away_is_unreachable(mes_central):
    assert mes_central("streams").code == exits.UNREACHABLE


def test_a_login_without_the_right_is_not_allowed(mes_central, centre):
    ran = mes_central("status", MES_DATABASE_URL=as_role(centre, "mes_app"))
    assert (ran.code, "permission denied" in ran.err) == (exits.NOT_ALLOWED, True)


def test_an_error_is_a_document_where_one_was_asked_for(mes_central):
    ran = mes_central("conflicts", "show", "ffffffff", "--json")
    assert (ran.code, ran.out) == (exits.FAILED, "")
    said = json.loads(ran.err)
    assert (said["schema"], said["exit_code"]) == ("mes-central.error/v1", 1)


def test_settings_come_from_a_file_and_the_environment_goes_first(
    mes_central, monkeypatch, tmp_path, centre
):
    monkeypatch.delenv("MES_DATABASE_URL")
    path = tmp_path / "central.env"
    path.write_text(f"# a comment\nMES_DATABASE_URL={as_role(centre, 'mes_ingest')}\n")
    assert mes_central("--env-file", path, "sites", "list").code == 0
    ran = mes_central(
        "--env-file", path, "sites", "list", MES_DATABASE_URL="postgresql://x@127.0.0.1:1/x"
    )
    assert ran.code == exits.UNREACHABLE


# --- migrate ---------------------------------------------------------------------------------


def test_migrating_does_all_once_and_then_nothing(mes_central, database):
    mes_central.works_on(database)
    planned = mes_central("migrate", "--dry-run", "--json").document
    assert planned["dry_run"]
    assert len(planned["steps"]) > 30
    assert mes_central("sites", "list").code != 0
    done = mes_central("migrate")
    assert (done.code, "steps done" in done.out) == (0, True)
    assert "nothing to do" in mes_central("migrate").out
    assert mes_central("sites", "list").code == 0


def test_passwords_come_from_a_file_that_nobody_else_reads(mes_central, tmp_path, centre):
    path = tmp_path / "passwords"
    path.write_text("mes_reader=a-password-for-the-test\n")
    path.chmod(0o644)
    ran = mes_central("migrate", "--passwords", path)
    assert (ran.code, "chmod 600" in ran.err) == (exits.USAGE, True)
    path.chmod(0o600)
    try:
        assert mes_central("migrate", "--passwords", path).code == 0
        (stored,) = fetch(centre, "SELECT rolpassword FROM pg_authid WHERE rolname = 'mes_reader'")
        assert stored[0].startswith("SCRAM-SHA-256")
    finally:
        fetch(centre, "ALTER ROLE mes_reader PASSWORD NULL")


# --- sites and keys --------------------------------------------------------------------------


def test_a_site_is_added_with_keys_also_while_the_broker_is_down(mes_central, tmp_path, centre):
    ran = mes_central("sites", "add", "SITE_009", MES_KEYS_DIR=tmp_path / "keys")
    assert ran.code == 0
    assert "SITE_009  registered" in ran.out
    assert "not told, it does not answer" in ran.out
    creds = creds_path(tmp_path / "keys", "SITE_009")
    assert str(creds) in ran.out
    assert creds.stat().st_mode & 0o777 == 0o600
    assert creds.read_text().splitlines()[1] not in ran.out
    listed = mes_central("sites", "list", "--json").document["sites"]
    assert {s["site"]: s["credentials"] for s in listed}["SITE_009"] == str(creds)
    again = mes_central("sites", "add", "SITE_009")
    assert "registered already" in again.out


def test_a_bad_name_of_a_site_is_usage_and_adds_none(mes_central, centre):
    ran = mes_central("sites", "add", "SITE_010", "site 11")
    assert (ran.code, "A-Z, 0-9" in ran.err) == (exits.USAGE, True)
    assert not fetch(centre, "SELECT 1 FROM sync.site WHERE site = 'SITE_010'")


def test_an_unknown_site_is_told(mes_central):
    for arguments in (["sites", "list", "SITE_X"], ["sites", "release", "SITE_X"]):
        ran = mes_central(*arguments)
        assert (ran.code, "SITE_X" in ran.err) == (exits.FAILED, True)


def test_a_stopped_site_is_released_and_says_why_it_was_stopped(mes_central, centre):
    fetch(centre, "UPDATE sync.site SET stopped_because = 'two stores' WHERE site = 'SITE_001'")
    assert mes_central("status", "--json").document["status"] == "critical"
    ran = mes_central("sites", "release", "SITE_001")
    assert (ran.code, "two stores" in ran.out) == (0, True)
    assert mes_central("sites", "release", "SITE_001").code == exits.FAILED


def test_a_site_that_another_store_claims_is_told_and_released(mes_central, centre):
    fetch(centre, "UPDATE sync.site SET claimed_by = 'pc7:/copy.db' WHERE site = 'SITE_001'")
    assert "MES-TWO-STORES" in mes_central("status", "SITE_001").out
    ran = mes_central("sites", "release", "SITE_001")
    assert (ran.code, "pc7:/copy.db" in ran.out) == (0, True)
    assert "MES-TWO-STORES" not in mes_central("status", "SITE_001").out


def test_who_went_back_is_listed_with_what_came_of_it(mes_central, centre):
    assert mes_central("restores").out == "nobody went back to an older copy of itself\n"
    ended = '{"ended": [{"epoch": "e", "fork_n": 4, "closed_n": 9}]}'
    came = '{"epoch": "e", "from_n": 5, "included_n": 8, "missing": 2}'
    fetch(
        centre,
        "INSERT INTO sync.restore (site, who, why, found) VALUES ('SITE_001', 'edge', 'is at 4',"
        f" '{ended}'), ('SITE_002', 'centre', 'knows 5 only', '{came}')",
    )
    told = mes_central("restores").out
    assert "5 transactions taken home by the site" in told
    assert "up to n 8, held n 5; 2 can't be sent again" in told
    assert "last: knows 5 only" in told
    late = "('SITE_003', 'centre', 'sums count twice', '{\"forgotten\": 7}')"
    fetch(centre, f"INSERT INTO sync.restore (site, who, why, found) VALUES {late}")
    told = mes_central("restores").out
    assert "7 transactions that came home have not come again" in told
    (one,) = mes_central("restores", "SITE_001", "--json").document["restores"]
    assert (one["site"], one["found"]["ended"][0]["fork_n"]) == ("SITE_001", 4)


# --- catalogue and reports -------------------------------------------------------------------


def test_reports_are_listed_and_answered(mes_central, centre):
    def reported(world):
        site = world.site()
        return site.writes(site.insert("job_responses", site.report(), site.report()))

    at_the_centre(centre, reported)
    assert "output " in mes_central("report").out
    (row,) = mes_central("report", "output", "--json").document["rows"]
    assert (row["reports"], row["qty_good"]) == (2, 10)
