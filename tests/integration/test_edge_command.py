from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from edge.beat import state_path
from edge.cli.run import link_settings
from edge.settings import EdgeSettings
from shared.catalog_file import load_catalog
from shared.errors import BadSetting
from shared.given import read_environment
from shared.settings import read_settings
from tests.integration.import_world import ROOT, Site
from tests.integration.site_world import clean_environment, mes_edge, mes_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOOLS = """
version = 1
[tables.acme_tools]
direction = "both"
columns = [{ name = "tool_no", type = "text(40)", required = true, policy = "site" }]
"""


def given(store: Path, **more: str) -> dict[str, str]:
    return {"MES_SITE": "F07", "MES_STORE": str(store)} | more


def eventually(claim: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < until, "did not come true"
        time.sleep(0.05)
    return found


# --- init and migrate ----------------------------------------------------------------------------


def test_init_makes_a_store_and_once_more_does_nothing(tmp_path: Path):
    store = tmp_path / "new" / "F07.db"
    first = mes_edge("init", **given(store))
    assert (first.code, first.err) == (0, "")
    assert f"made {store}, the store of site F07" in first.out
    before = store.read_bytes()
    again = mes_edge("init", **given(store))
    assert (again.code, "nothing to do" in again.out) == (0, True)
    assert store.read_bytes() == before


def test_init_tells_programs_in_json_what_it_did(tmp_path: Path):
    document = mes_edge("init", "--json", **given(tmp_path / "F07.db")).document
    assert document["schema"] == "mes-edge.init/v1"
    assert (document["site"], len(document["done"])) == ("F07", 1)
    assert set(document["tables"]) == {table.name for table in load_catalog().tables}


def test_a_plants_own_tables_are_made_when_their_file_is_there(tmp_path: Path):
    store, folder = Site.new(tmp_path).store, tmp_path / "catalogue"
    folder.mkdir()
    (folder / "acme.toml").write_text(TOOLS)
    done = mes_edge("migrate", "--catalogue-dirs", folder, **given(store))
    assert (done.code, "made the tables acme_tools" in done.out) == (0, True), done.err


def test_migrate_makes_no_store(tmp_path: Path):
    done = mes_edge("migrate", **given(tmp_path / "none.db"))
    assert (done.code, "`mes-edge init` makes it" in done.err) == (64, True)
    assert not (tmp_path / "none.db").exists()


def test_a_store_of_another_site_is_refused(tmp_path: Path):
    done = mes_edge("init", **given(Site.new(tmp_path, "F08").store))
    assert (done.code, "belongs to site F08" in done.err) == (1, True)


def test_a_missing_setting_is_named_with_its_meaning():
    done = mes_edge("init")
    assert done.code == 64
    assert "MES_SITE is not set: name of this factory" in done.err
    assert "MES_STORE is not set" in done.err
    assert "Set them by option (MES_STORE: --store), in the environment, or in a file" in done.err


def test_options_go_before_the_environment(tmp_path: Path):
    done = mes_edge("init", "--site", "F09", **given(tmp_path / "x.db"))
    assert "the store of site F09" in done.out


def test_settings_may_stand_in_a_file(tmp_path: Path):
    file = tmp_path / "edge.env"
    file.write_text(f"# settings\nMES_SITE=F07\nMES_STORE='{tmp_path / 'x.db'}'\n")
    assert mes_edge("--env-file", file, "init").code == 0
    assert mes_sync(tmp_path / "y.db", "--env-file", file, "status").code == 2
    file.write_text("MES_SITE\n")
    assert "line 1: NAME=value is expected" in mes_edge("--env-file", file, "init").err


def test_a_moved_store_is_taken_over_by_one_command(tmp_path: Path):
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    mes_edge("init", **given(old))
    old.rename(new)
    mes_edge("init", **given(new))
    assert "mes-edge moved" in mes_sync(new, "status").out
    assert mes_edge("moved", **given(new)).code == 0
    assert "MES-STOPPED" not in mes_sync(new, "status").out


def test_the_version_tells_release_and_catalogue(tmp_path: Path):
    document = mes_edge("version", "--json", **given(Site.new(tmp_path).store)).document
    assert document["release"]
    assert document["catalogue"] == document["store_catalogue"] == load_catalog().version


def test_help_names_every_command():
    out = mes_edge("--help").out
    for name in (
        "run",
        "init",
        "migrate",
        "moved",
        "adopt",
        "import",
        "tables",
        "version",
        "completion",
    ):
        assert re.search(rf"^  {name} ", out, re.MULTILINE)
        assert mes_edge(name, "--help").code == 0


def test_what_goes_wrong_is_json_where_that_was_asked_for(tmp_path: Path):
    done = mes_edge("migrate", "--json", **given(tmp_path / "none.db"))
    assert json.loads(done.err)["schema"] == "mes-edge.error/v1"


# --- adopt ---------------------------------------------------------------------------------------


@pytest.fixture
def plant(tmp_path: Path) -> dict[str, str]:
    """A plant's own database with tools in it, and a catalogue that knows them."""
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "acme.toml").write_text(TOOLS)
    with closing(sqlite3.connect(tmp_path / "plant.db")) as program, program:
        program.execute("CREATE TABLE acme_tools (tool_no TEXT)")
        program.execute("INSERT INTO acme_tools VALUES ('T1'), ('T2')")
    return {"MES_SITE": "F07", "MES_CATALOGUE_DIRS": str(tmp_path / "catalogue")}


def test_a_table_of_the_plant_is_adopted_with_its_rows_once(tmp_path: Path, plant: dict[str, str]):
    store = tmp_path / "plant.db"
    first = mes_edge("adopt", store, "--table", "acme_tools", **plant)
    assert (first.code, "2 rows go to the centre" in first.out) == (0, True), first.err
    again = mes_edge("adopt", store, "--table", "acme_tools", **plant)
    assert (again.code, "nothing to do" in again.out) == (0, True)
    assert mes_edge("init", **plant, MES_STORE=str(store)).code == 0
    tables = mes_sync(store, "tables", "--filled", "--json").document["tables"]
    assert [(each["table"], each["rows"]) for each in tables] == [("acme_tools", 2)]


def test_a_table_that_no_catalogue_knows_is_answered_with_a_draft(
    tmp_path: Path, plant: dict[str, str]
):
    with closing(sqlite3.connect(tmp_path / "plant.db")) as program, program:
        program.execute("CREATE TABLE molds (mold_no TEXT)")
    done = mes_edge("adopt", tmp_path / "plant.db", "--table", "molds", **plant)
    assert done.code == 1
    assert "[tables.molds]" in done.err


# --- settings ------------------------------------------------------------------------------------


def test_the_example_of_the_settings_names_every_one_and_can_be_read():
    text = (ROOT / "deploy" / "edge.env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?(MES_[A-Z_]+)=", text, re.MULTILINE))
    fields = EdgeSettings.__dataclass_fields__
    assert named == {f"MES_{name.upper()}" for name in fields}
    everything = read_environment(text.replace("#MES_", "MES_"), "example")
    read = read_settings(EdgeSettings, everything)
    defaults = EdgeSettings(site="F07", store=Path("x"))
    for name in ("bytes_per_s_max", "drain_pause_ms", "beat_s", "metrics_port", "log_level"):
        assert getattr(read, name) == getattr(defaults, name)


def test_a_setting_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(BadSetting, match="MES_BEAT_S='soon'"):
        read_settings(EdgeSettings, given(tmp_path) | {"MES_BEAT_S": "soon"})


# --- run -----------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def agent(store: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run the agent as its own process, and end it in any case."""
    with subprocess.Popen(
        [sys.executable, "-m", "edge", "run"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment() | given(store, MES_BEAT_S="0.5", **more),
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, list[Any]]:
    """Return the exit code and the log lines of an agent that got a signal."""
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, [json.loads(line) for line in err.splitlines()]


def told(store: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(state_path(store).read_text())
    except FileNotFoundError:
        return {}
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_without_a_broker_runs_drains_and_stops_when_told(
    tmp_path: Path, number: signal.Signals
):
    store = tmp_path / "F07.db"
    with agent(store, MES_NATS_SERVERS="nats://127.0.0.1:1") as process:
        eventually(lambda: told(store).get("pid") == process.pid)
        status = mes_sync(store, "status")
        assert (status.code, "offline, working locally" in status.out) == (1, True)
        with closing(sqlite3.connect(store)) as program, program:
            program.execute("INSERT INTO work_orders (order_no) VALUES ('A-1')")
        code, log = stop(process, number)
    assert code == 0
    assert [line["event"] for line in log if line["logger"] == "edge.cli.run"] == [
        "started", "stopping", "stopped",
    ]  # fmt: skip
    with closing(sqlite3.connect(store)) as program:
        assert program.execute("SELECT last_n, acked_n FROM _sync_site").fetchall() == [(1, 0)]
    assert told(store)["stopped"]


def test_an_agent_says_that_it_reaches_the_broker(tmp_path: Path, nats_server):
    store = tmp_path / "F07.db"
    with agent(store, MES_NATS_SERVERS=nats_server.url) as process:
        eventually(lambda: told(store).get("connected"))
        out = mes_sync(store, "status").out
        assert f"connected to {nats_server.url}" in out
        assert "MES-AGENT-DOWN" not in out
        assert stop(process, signal.SIGTERM)[0] == 0


def test_a_second_agent_of_one_store_is_refused(tmp_path: Path):
    store = tmp_path / "F07.db"
    with agent(store, MES_NATS_SERVERS="nats://127.0.0.1:1") as process:
        eventually(lambda: told(store).get("pid") == process.pid)
        done = mes_edge("run", **given(store))
        assert (done.code, f"another agent holds {store}; stop it first" in done.err) == (1, True)
        assert "nothing to do" in mes_edge("init", **given(store)).out
        assert stop(process, signal.SIGTERM)[0] == 0


def test_an_agent_of_a_copied_store_does_not_go_on(tmp_path: Path):
    original, copy = tmp_path / "F07.db", tmp_path / "copy.db"
    mes_edge("init", **given(original))
    copy.write_bytes(original.read_bytes())
    done = mes_edge("run", **given(copy, MES_NATS_SERVERS="nats://127.0.0.1:1"))
    assert done.code == 1
    assert "mes-edge moved" in done.err
    assert "Traceback" not in done.err.splitlines()[-1]


def test_the_bandwidth_is_limited_while_the_agent_runs_and_when_it_starts_anew(
    tmp_path: Path, nats_server
):
    store = tmp_path / "F07.db"
    for _ in range(2):
        with agent(store, MES_NATS_SERVERS=nats_server.url) as process:
            eventually(lambda: told(store).get("connected"))
            done = mes_edge("bandwidth", "256k", **given(store))
            assert (done.code, done.out) == (0, "chosen here  256 kB/s in each direction\n")
            eventually(lambda: told(store).get("bytes_per_s_max") == 256_000)
            assert "at most 256 kB/s" in mes_sync(store, "status").out
            assert "agent keeps  256 kB/s" in mes_edge("bandwidth", **given(store)).out
            _, log = stop(process, signal.SIGTERM)
            assert [e["bytes_per_s_max"] for e in log if e["event"] == "bandwidth limit"] == [
                256_000
            ]


def test_a_limit_is_taken_away_or_left_to_the_setting(tmp_path: Path):
    store = tmp_path / "F07.db"
    with agent(store, MES_NATS_SERVERS="nats://127.0.0.1:1", MES_BYTES_PER_S_MAX="9000") as process:
        eventually(lambda: told(store).get("bytes_per_s_max") == 9000)
        assert mes_edge("bandwidth", "off", **given(store)).out == "chosen here  no limit\n"
        eventually(lambda: told(store)["bytes_per_s_max"] == 0)
        document = mes_edge("bandwidth", "unset", "--json", **given(store)).document
        assert document["bytes_per_s_max"] is None
        eventually(lambda: told(store)["bytes_per_s_max"] == 9000)
        assert stop(process, signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("limit", ["fast", "0", "999", "-5", "1.5M", "256K"])
def test_what_is_no_bandwidth_is_told_and_changes_nothing(tmp_path: Path, limit: str):
    store = Site.new(tmp_path).store
    done = mes_edge("bandwidth", "--", limit, **given(store))
    assert (done.code, "such as 64000, 256k or 2M" in done.err) == (64, True)
    assert mes_edge("bandwidth", "--json", **given(store)).document["bytes_per_s_max"] is None


def test_metrics_are_served_on_loopback_only(tmp_path: Path):
    store, port = tmp_path / "F07.db", free_port()
    with agent(store, MES_NATS_SERVERS="nats://127.0.0.1:1", MES_METRICS_PORT=str(port)) as process:
        eventually(lambda: told(store).get("pid") == process.pid)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"mes_edge_connected" in answer.read()
        with socket.socket() as elsewhere, pytest.raises(OSError, match="refused"):
            elsewhere.connect((_own_address(), port))
        assert stop(process, signal.SIGTERM)[0] == 0


def _own_address() -> str:
    """Return another address of this machine than 127.0.0.1."""
    return "127.0.0.2"


def test_an_unreadable_credentials_file_is_told(tmp_path: Path):
    store = tmp_path / "F07.db"
    done = mes_edge("run", **given(store, MES_NATS_CREDS=str(tmp_path / "none.creds")))
    assert done.code != 0
    assert "none.creds" in done.err.splitlines()[-1]


def test_only_with_credentials_the_broker_has_accounts_and_the_api_another_name(tmp_path: Path):
    plain = read_settings(EdgeSettings, given(tmp_path, MES_BYTES_PER_S_MAX="5000"))
    assert link_settings(plain).prefix == "$JS.API"
    assert link_settings(plain).bytes_per_s_max == 5000
    named = read_settings(EdgeSettings, given(tmp_path, MES_NATS_CREDS="/x.creds"))
    assert link_settings(named).prefix == "hub.API"
    assert link_settings(named).bytes_per_s_max is None
