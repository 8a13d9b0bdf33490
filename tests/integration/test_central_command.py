"""``mes-central``: what each command prints, writes and ends with, on a real database."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from central.cli import exits
from central.cli.command import COMMANDS, run
from central.cli.given import read_environment
from central.roles import as_role
from shared.errors import BadSetting
from sync.accounts import creds_path
from tests.integration.apply_world import open_world
from tests.integration.quarrel import quarrel

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.postgres

#: Nothing listens there, and the system says so at once.
NOBODY = "nats://127.0.0.1:1"


class Ran:
    """A command that was run: its exit code, and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture
def mes_central(monkeypatch, capsys, centre: str) -> Callable[..., Ran]:
    """Runs a command on a centre with three sites, without a broker."""
    set_centre(monkeypatch, centre)

    def command(*arguments: object, **environment: object) -> Ran:
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        capsys.readouterr()
        code = run([str(each) for each in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command


def set_centre(monkeypatch, url: str) -> None:
    monkeypatch.setenv("MES_DATABASE_URL", as_role(url, "mes_ingest"))
    monkeypatch.setenv("MES_ADMIN_URL", url)
    monkeypatch.setenv("MES_NATS_SERVERS", NOBODY)
    for name in ("MES_KEYS_DIR", "MES_NATS_CREDS", "NO_COLOR", "MES_CATALOGUE_DIRS"):
        monkeypatch.delenv(name, raising=False)


def at_the_centre(url: str, work):
    async def do():
        async with open_world(url) as world:
            return await work(world)

    return asyncio.run(do())


@pytest.fixture
def disputed(centre: str):
    return at_the_centre(centre, lambda world: quarrel(world, world.site()))


# --- help, usage, errors ---------------------------------------------------------------------


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(mes_central, name):
    ran = mes_central(name, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: mes-central {name}")


def test_help_loads_no_driver_and_no_server():
    heavy = ("psycopg", "sqlalchemy", "fastapi", "nats", "uvicorn", "msgpack")
    script = (
        "import sys; from central.cli.command import run; run(['--help']);"
        f"sys.exit(str([m for m in {heavy} if m in sys.modules]) if"
        f" any(m in sys.modules for m in {heavy}) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_the_commands(mes_central, shell):
    ran = mes_central("completion", shell)
    assert ran.code == 0
    assert "_MES_CENTRAL_COMPLETE" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["status", "--no-such-option"],
        ["conflicts", "resolve", "x"],
        ["conflicts", "resolve", "x", "--take", "both", "--reason", "r"],
        ["conflicts", "list", "--since", "yesterday"],
        ["parked", "retry"],
        ["report", "Q99"],
    ],
)
def test_a_mistake_on_the_command_line_is_usage(mes_central, arguments):
    ran = mes_central(*arguments)
    assert (ran.code, ran.out) == (exits.USAGE, "")
    assert "Error" in ran.err


def test_a_missing_setting_is_usage_and_is_named(mes_central, monkeypatch):
    monkeypatch.delenv("MES_DATABASE_URL")
    ran = mes_central("status")
    assert ran.code == exits.USAGE
    assert "MES_DATABASE_URL is not set" in ran.err


def test_an_address_that_is_none_is_usage(mes_central):
    ran = mes_central("status", MES_DATABASE_URL="user='x")
    assert (ran.code, "MES_DATABASE_URL" in ran.err) == (exits.USAGE, True)


def test_a_database_that_is_away_is_unreachable(mes_central):
    ran = mes_central("status", MES_DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    assert ran.code == exits.UNREACHABLE
    assert "Is the server up" in ran.err


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


def test_a_settings_file_keeps_quotes_within_a_value_and_names_a_bad_line():
    text = "A='x y'\nB=user=x options='-c role=r'\n\n# c\nC=\n"
    assert read_environment(text, "f") == {"A": "x y", "B": "user=x options='-c role=r'", "C": ""}
    with pytest.raises(BadSetting, match="f, line 2"):
        read_environment("A=1\nnonsense\n", "f")


# --- migrate ---------------------------------------------------------------------------------


def test_migrating_does_all_once_and_then_nothing(mes_central, monkeypatch, database):
    set_centre(monkeypatch, database)
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


def fetch(url: str, query: str, *given: object) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, given or None)
        return cursor.fetchall() if cursor.description else []


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


def test_keys_are_made_once_and_the_configuration_holds_no_secret(mes_central, tmp_path):
    folder = tmp_path / "keys"
    made = mes_central("keys", "init", "SITE_001", "--json", MES_KEYS_DIR=folder).document
    assert set(made["credentials"]) == {"central", "SITE_001"}
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert mes_central("keys", "init", "SITE_001").code == 0
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    config = mes_central("keys", "server-config", "--listen", "127.0.0.1:4222").out
    seeds = [path.read_text().strip() for path in folder.rglob("*.seed")]
    assert seeds
    assert not any(seed in config for seed in seeds)
    assert "sync_interval: always" in config
    trust = mes_central("keys", "server-config", "--trust-only").out
    assert trust.startswith("operator:")


def test_keys_need_a_folder(mes_central):
    ran = mes_central("keys", "init")
    assert (ran.code, "MES_KEYS_DIR" in ran.err) == (exits.USAGE, True)


# --- catalogue and reports -------------------------------------------------------------------


def test_the_catalogue_is_checked_and_shown_without_a_database(mes_central, monkeypatch):
    monkeypatch.delenv("MES_DATABASE_URL")
    assert mes_central("catalogue", "check").code == 0
    shown = mes_central("catalogue", "show", "inspection_characteristics").out
    assert "lsl" in shown
    assert "review" in shown
    tables = mes_central("catalogue", "show", "--json").document["tables"]
    assert {"work_orders", "sync_reviews"} <= {table["name"] for table in tables}


def test_every_mistake_of_a_plants_file_is_told(mes_central, tmp_path):
    (tmp_path / "acme.toml").write_text(
        'version = 1\n[tables.acme_x]\ndirection = "sideways"\ncolumns = []\n'
    )
    ran = mes_central("catalogue", "check", MES_CATALOGUE_DIRS=tmp_path)
    assert (ran.code, "acme_x" in ran.err) == (exits.FAILED, True)


def test_reports_are_listed_and_answered(mes_central, centre):
    def reported(world):
        site = world.site()
        return site.writes(site.insert("job_responses", site.report(), site.report()))

    at_the_centre(centre, reported)
    assert "Q01" in mes_central("report").out
    answer = mes_central("report", "q01", "--json").document
    assert answer["report"] == "Q01"
    assert 10 in answer["answer"].values()


# --- status ----------------------------------------------------------------------------------


def test_status_works_while_the_broker_is_down_and_says_so(mes_central):
    ran = mes_central("status")
    assert ran.code == 2
    first, *rest = ran.out.splitlines()
    assert first.startswith("CRITICAL")
    assert any("does not answer" in line for line in rest)
    assert "\x1b" not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_status_of_one_site_is_told_in_full(mes_central, disputed):
    ran = mes_central("status", "SITE_001")
    assert "conflicts 1 wait for a person" in ran.out
    assert "SITE_002" not in ran.out
    assert mes_central("status", "SITE_X").code == exits.FAILED


def test_a_watched_status_on_a_pipe_is_a_line_each_time(centre, monkeypatch):
    set_centre(monkeypatch, centre)
    with subprocess.Popen(
        [sys.executable, "-m", "central", "status", "--watch"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.terminate()
    assert [json.loads(line)["schema"] for line in lines] == ["mes-central.status/v1"] * 2


# --- conflicts -------------------------------------------------------------------------------


def test_a_conflict_is_listed_shown_decided_and_shown_as_decided(mes_central, disputed):
    listed = mes_central("conflicts", "list", "--open").out
    name = disputed.conflict_id[-8:]
    assert name in listed
    assert disputed.number in listed
    shown = mes_central("conflicts", "show", name).out
    for piece in (
        '"USE_AS_IS"  by j.kiss at SITE_001',
        '"SCRAP"  by planner at the centre',
        "base",
    ):
        assert piece in shown
    assert f"resolve {name} --take here|central|value=..." in shown
    decided = mes_central(
        "conflicts", "resolve", name, "--take", "value=REWORK", "--reason", "MRB 12", "--by", "q"
    )
    assert decided.code == 0
    assert 'disposition "USE_AS_IS" -> "REWORK"' in decided.out
    assert "no conflicts" in mes_central("conflicts", "list", "--open").out
    assert "value by q" in mes_central("conflicts", "show", name).out


def test_a_decision_on_a_row_written_since_is_refused_with_both_values(
    mes_central, centre, disputed
):
    query = "UPDATE mes.nonconformances SET disposition = 'REPAIR' WHERE id = %s"
    fetch(centre, query, disputed.row_id)
    name = disputed.conflict_id[-8:]
    arguments = ["conflicts", "resolve", name, "--take", "here", "--reason", "r"]
    ran = mes_central(*arguments)
    assert ran.code == exits.FAILED
    assert "USE_AS_IS" in ran.err
    assert "REPAIR" in ran.err
    seen = mes_central("conflicts", "show", name, "--json").document["standing"]["version"]
    assert mes_central(*arguments, "--seen", seen).code == 0


def test_several_columns_are_given_as_an_object(mes_central, disputed):
    name = disputed.conflict_id
    given = ["--take", 'value={"disposition": "REPAIR"}', "--reason", "r", "--json", "--dry-run"]
    document = mes_central("conflicts", "resolve", name, *given).document
    assert document["changes"] == {"disposition": "REPAIR"}
    assert document["dry_run"]
    bad = mes_central("conflicts", "resolve", name, "--take", "value={x", "--reason", "r")
    assert bad.code == exits.USAGE


# --- parked and refused ----------------------------------------------------------------------


def parked_order(centre: str) -> str:
    """Have an order parked whose parent in another table is missing; return its ticket."""

    async def send(world):
        site = world.site()
        bad = site.order(qty_ordered="much")
        await site.apply(site.sends(site.insert("work_orders", bad)))
        return await world.value("SELECT id::text FROM mes.sync_parked")

    return at_the_centre(centre, send)


def test_a_parked_row_is_listed_shown_and_stays_where_its_cause_does(mes_central, centre):
    ticket = parked_order(centre)
    assert ticket[-8:] in mes_central("parked", "list").out
    shown = mes_central("parked", "show", ticket[-8:]).out
    assert "invalid_value" in shown
    assert "much" in shown
    ran = mes_central("parked", "retry", ticket[-8:])
    assert (ran.code, "still not applied" in ran.out) == (exits.FAILED, True)


def test_a_row_that_waits_is_applied_by_a_retry_once_its_parent_is_there(mes_central, centre):
    async def orphan(world):
        site = world.site()
        order = site.order()
        report = site.report(work_order_id=order["id"])
        await site.apply(site.sends(site.insert("job_responses", report)))
        await world.client(
            "INSERT INTO mes.work_orders (id, order_no, qty_ordered) VALUES (%s, 'WO-1', 5)",
            order["id"],
        )

    at_the_centre(centre, orphan)
    waiting = mes_central("parked", "list", "--state", "waiting", "--json").document["parked"]
    assert len(waiting) == 1
    ran = mes_central("parked", "retry", "--site", "SITE_001", "--json")
    assert (ran.code, list(ran.document["applied"].values())) == (0, [True])
    assert "nothing is parked" in mes_central("parked", "list").out
    assert fetch(centre, "SELECT count(*) FROM mes.job_responses") == [(1,)]


def test_a_parked_row_is_given_up_on_a_persons_word(mes_central, centre):
    ticket = parked_order(centre)
    assert mes_central("parked", "discard", ticket, "--yes", "--by", "q.chief").code == 0
    (row,) = mes_central("parked", "list", "--all", "--json").document["parked"]
    assert (row["state"], row["message"]) == ("discarded", "discarded by q.chief")
    again = mes_central("parked", "discard", ticket, "--yes")
    assert (again.code, "discarded already" in again.err) == (exits.FAILED, True)
    assert mes_central("parked", "show", "ffffffff").code == exits.FAILED


def test_messages_that_nobody_could_read_are_listed(mes_central, centre):
    async def refuse(world):
        await world.store.quarantine("SITE_002", b"\x00\xff", ValueError("random bytes"), 1)

    assert "nothing was refused" in mes_central("refused", "list").out
    at_the_centre(centre, refuse)
    assert "random bytes" in mes_central("refused", "list").out
    listed = mes_central("refused", "list", "--site", "SITE_002", "--json").document["refused"]
    assert [each["bytes"] for each in listed] == [2]
