"""``mes-central`` without any server: help, usage, settings, keys, the catalogue."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import psycopg
import psycopg_pool
import pytest
from hypothesis import given
from hypothesis import strategies as st

from central import status
from central.cli import exits
from central.cli.command import COMMANDS
from central.cli.explain import REASONS
from central.cli.look import COLUMNS, table
from central.settings import CentralSettings
from shared.errors import BadSetting
from shared.given import read_environment
from shared.settings import variable
from tests.integration.command_world import MesCentral

ROOT = Path(__file__).parents[2]
#: Nothing listens there.
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def mes_central(monkeypatch, capsys) -> MesCentral:
    return MesCentral(monkeypatch, capsys, NOWHERE)


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
    assert ran.err.endswith(
        "MES_DATABASE_URL is not set: PostgreSQL of the centre, as mes_ingest. Set it in the"
        " environment, or in a file: --env-file FILE, before the command's name\n"
    )


def test_an_address_that_is_none_is_usage(mes_central):
    ran = mes_central("status", MES_DATABASE_URL="user='x")
    assert (ran.code, "MES_DATABASE_URL" in ran.err) == (exits.USAGE, True)


def test_a_database_that_is_away_is_unreachable(mes_central):
    ran = mes_central("status", MES_DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    assert ran.code == exits.UNREACHABLE
    assert ran.err.splitlines()[-1] == (
        'mes-central: PostgreSQL: connection failed: connection to server at "127.0.0.1", port 1'
        " failed: Connection refused. Is the server up, and MES_DATABASE_URL right?"
    )


@pytest.mark.parametrize(
    ("error", "code", "what_next"),
    [
        (psycopg.OperationalError('no pg_hba.conf entry for host "::1"'), exits.NOT_ALLOWED,
         "Check user and password of MES_DATABASE_URL"),
        (psycopg.errors.InsufficientPrivilege("permission denied for table site"),
         exits.NOT_ALLOWED, "MES_DATABASE_URL is to be of mes_ingest"),
        (psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"),
         exits.TRY_LATER, "Try again in a minute"),
        (psycopg_pool.PoolTimeout("couldn't get a connection after 30.00 sec"),
         exits.UNREACHABLE, "Is the server up"),
    ],
)  # fmt: skip
def test_an_error_of_the_database_ends_with_what_to_do_next(error, code, what_next):
    found = exits.verdict_on(ExceptionGroup("tasks", [error]))
    assert found is not None
    assert found[0] == code
    assert found[1].startswith(f"PostgreSQL: {error}. {what_next}")


def test_what_a_constraint_refuses_keeps_its_detail():
    error = psycopg.errors.UniqueViolation("duplicate key\nDETAIL:  Key (site)=(A) exists.")
    assert exits.verdict_on(error) == (
        exits.FAILED, "PostgreSQL: duplicate key\nDETAIL:  Key (site)=(A) exists.",
    )  # fmt: skip


def test_a_settings_file_keeps_quotes_within_a_value_and_names_a_bad_line():
    text = "A='x y'\nB=user=x options='-c role=r'\n\n# c\nC=\n"
    assert read_environment(text, "f") == {"A": "x y", "B": "user=x options='-c role=r'", "C": ""}
    with pytest.raises(BadSetting, match="f, line 2"):
        read_environment("A=1\nnonsense\n", "f")


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


@given(
    st.lists(
        st.tuples(
            *[st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=60)] * 4
        ),
        max_size=5,
    )
)
def test_a_table_fits_the_terminal_by_cutting_what_may_be_cut(rows):
    lines = table(("A", "B", "C", "D"), [("id", *row[1:]) for row in rows], shrink=("B", "C", "D"))
    assert max(map(len, lines)) <= COLUMNS
    assert len(lines) == 1 + len(rows)


def test_the_operators_book_names_every_setting_and_command():
    told = (ROOT / "docs" / "operations.md").read_text()
    settings = {variable(each.name) for each in fields(CentralSettings)}
    assert settings == set(re.findall(r"(?m)^\| `(MES_[A-Z_]+)` \|", told))
    assert not [name for name in COMMANDS if f"mes-central {name}" not in told]


def test_every_code_of_the_status_is_explained(mes_central):
    source = Path(status.__file__).read_text()
    codes = set(re.findall(r'Reason\(\s*"(MES-[A-Z-]+)"', source))
    assert codes == set(REASONS)
    told = (ROOT / "docs" / "operations.md").read_text()
    for code, (when, _) in REASONS.items():
        assert f"| `{code}` | {when} |" in told
    assert "time server" in " ".join(mes_central("explain", "mes-clock").out.split())
    assert "MES-AWAY" in mes_central("explain").out
    assert mes_central("explain", "MES-X").code == exits.USAGE
