"""``mes-central backup``: what scripts and people say of backups, and what they are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from central.cli import exits
from central.cli.backup import _ending, _run_command
from central.cli.command import mes_central as command
from central.cli.look import COLUMNS
from tests.integration.command_world import fetch, mes_central  # noqa: F401

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]


def states(mes_central) -> dict[str, str]:
    listed = mes_central("backup", "list", "--all", "--json").document
    return {each["name"]: each["state"] for each in listed["backups"]}


def test_a_backup_is_marked_from_its_begin_to_its_end(mes_central):
    begun = mes_central("backup", "mark", "mon")
    assert (begun.code, "mark mon --finished" in begun.out) == (0, True)
    assert states(mes_central) == {"mon": "begun"}
    finished = mes_central("backup", "mark", "mon", "--finished")
    assert "not in the oldest, mon, begun" in finished.out
    assert states(mes_central) == {"mon": "finished"}
    gone = mes_central("backup", "mark", "mon", "--gone")
    assert "no backup is left that may be restored" in gone.out
    assert states(mes_central) == {"mon": "gone"}


def test_a_mark_may_be_said_twice_and_is_told_as_such(mes_central):
    for said in ([], ["--finished"]):
        first = mes_central("backup", "mark", "mon", *said, "--json")
        second = mes_central("backup", "mark", "mon", *said, "--json")
        assert (first.code, second.code) == (0, 0)
        assert first.document | {"changed": False} == second.document
        assert first.document["changed"]
    assert "as was said before" in mes_central("backup", "mark", "mon", "--finished").out


def test_what_can_t_be_said_fails_with_what_to_do(mes_central):
    ran = mes_central("backup", "mark", "mon", "--finished")
    assert (ran.code, ran.out) == (exits.FAILED, "")
    assert "run `mes-central backup mark mon`, then take it" in ran.err


@pytest.mark.parametrize("name", ["", "a b", "-x", "ä", "x" * 101, "../x"])
def test_a_name_that_can_t_be_one_is_wrong_usage(mes_central, name):
    ran = mes_central("backup", "mark", "--", name)
    assert ran.code == exits.USAGE
    assert not states(mes_central)


def test_the_list_says_which_backup_sites_keep_by_and_fits_the_screen(mes_central, centre):
    assert "no backup was ever finished" in mes_central("backup", "list").out
    for name in ("mon", "tue", "wed"):
        mes_central("backup", "mark", name)
    mes_central("backup", "mark", "mon", "--finished")
    mes_central("backup", "mark", "tue", "--failed")
    fetch(centre, "UPDATE sync.backup SET begun_at = begun_at - interval '30 h'")
    listed = mes_central("backup", "list")
    lines = listed.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["NAME", "wed", "mon"]
    assert "sites keep what is not in the oldest, mon, begun 1 d 6 h ago" in lines
    assert "warning: the newest backup, mon, is 30 h old" in lines
    assert any(line.startswith("warning: backup wed was begun 30 h ago") for line in lines)
    assert max(map(len, lines)) <= COLUMNS
    assert "tue" in mes_central("backup", "list", "--all").out
    document = mes_central("backup", "list", "--json").document
    assert (document["oldest"], document["newest"]) == ("mon", "mon")
    assert [each["name"] for each in document["backups"]] == ["wed", "mon"]


def test_a_shell_completes_the_names_that_something_may_be_said_of(mes_central):
    for name in ("mon-1", "mon-2", "tue-1"):
        mes_central("backup", "mark", name)
    mes_central("backup", "mark", "mon-2", "--finished")
    mes_central("backup", "mark", "mon-2", "--gone")
    complete = ShellComplete(command, {}, "mes-central", "_MES_CENTRAL_COMPLETE")
    found = complete.get_completions(["backup", "mark"], "mon")
    assert [each.value for each in found] == ["mon-1"]


def test_a_shell_completes_nothing_where_the_centre_is_away(mes_central, monkeypatch):
    monkeypatch.setenv("MES_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    complete = ShellComplete(command, {}, "mes-central", "_MES_CENTRAL_COMPLETE")
    assert complete.get_completions(["backup", "mark"], "") == []


# --- run -------------------------------------------------------------------------------------


def test_a_command_that_ends_well_makes_a_finished_backup(mes_central, tmp_path):
    ran = mes_central("backup", "run", "mon", "--", "touch", tmp_path / "taken")
    assert ran.code == 0
    assert (tmp_path / "taken").exists()
    assert states(mes_central) == {"mon": "finished"}


def test_a_command_is_run_when_its_backup_is_marked_and_not_before(mes_central, centre, tmp_path):
    asked = (
        f"import psycopg; c = psycopg.connect({centre!r});"
        " assert c.execute('SELECT name, finished_at FROM sync.backup').fetchall()"
        " == [('mon', None)]"
    )
    assert mes_central("backup", "run", "mon", "--", sys.executable, "-c", asked).code == 0


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["no-such-program"], 127),
        (["/"], 126),
    ],
)
def test_a_command_that_fails_makes_a_failed_backup_and_passes_its_code_on(
    mes_central, program, code
):
    assert mes_central("backup", "run", "mon", "--", *program).code == code
    assert states(mes_central) == {"mon": "failed"}
    assert mes_central("backup", "run", "mon", "--", "true").code == 0
    assert states(mes_central) == {"mon": "finished"}


def test_a_name_that_is_in_use_runs_no_command(mes_central, tmp_path):
    taken = tmp_path / "taken"
    mes_central("backup", "mark", "mon")
    for hint in ("mark mon --failed", "a name of its own"):
        ran = mes_central("backup", "run", "mon", "--", "touch", taken)
        assert (ran.code, hint in ran.err) == (exits.FAILED, True)
        mes_central("backup", "mark", "mon", "--finished")
    assert not taken.exists()


def test_a_centre_that_is_away_runs_no_command(mes_central, tmp_path):
    ran = mes_central(
        "backup", "run", "mon", "--", "touch", tmp_path / "taken",
        MES_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
    )  # fmt: skip
    assert ran.code == exits.UNREACHABLE
    assert not (tmp_path / "taken").exists()


def test_a_mark_that_could_not_be_made_after_the_backup_is_named(mes_central, centre):
    no_table = (
        f"import psycopg; c = psycopg.connect({centre!r}, autocommit=True);"
        " c.execute('DROP TABLE sync.backup CASCADE')"
    )
    ran = mes_central("backup", "run", "mon", "--", sys.executable, "-c", no_table)
    assert ran.code == exits.FAILED
    assert "mes-central backup mark mon --finished" in ran.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_ends_its_command_and_marks_the_failure(
    mes_central, tmp_path, number
):
    ready = tmp_path / "ready"
    script = f"touch {ready}; exec sleep 60"
    arguments = ["-m", "central", "backup", "run", "mon", "--", "sh", "-c", script]
    running = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 20
        while not ready.exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        if number is signal.SIGINT:  # as Ctrl-C does, to all that stand before the terminal
            os.killpg(running.pid, number)
        else:
            running.send_signal(number)
        running.wait(timeout=20)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 128 + number
    assert states(mes_central) == {"mon": "failed"}


def test_a_signal_to_end_that_comes_before_the_command_is_there_ends_it():
    with _ending() as ending:
        os.kill(os.getpid(), signal.SIGTERM)
        assert _run_command(["sleep", "30"], ending) == 128 + signal.SIGTERM
