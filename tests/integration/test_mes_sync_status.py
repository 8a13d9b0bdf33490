from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from edge.beat import state_path, write_state
from edge.cli import sync_command
from edge.cli.frame import run
from edge.status import is_held, read_picture
from edge.store import setup
from edge.verdict import judge
from shared.errors import WrongSite
from tests.integration.import_world import CATALOG, ROOT, Site
from tests.integration.site_world import clean_environment, mes_sync, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_767_225_700_000


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.new(tmp_path)


@pytest.fixture(autouse=True)
def roomy_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave half of the disk free, whatever the machine's is: a full one is a reason of its own."""
    ask = os.statvfs

    def halved(path: str) -> os.statvfs_result:
        found = list(ask(path))
        found[3] = found[4] = found[2] // 2  # f_bfree and f_bavail of f_blocks
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", halved)


@contextmanager
def agent_of(site: Site, **state: Any) -> Iterator[None]:
    """Hold the store as its agent does, and leave what it leaves."""
    path = site.store.with_name(site.store.name + "-agent.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    told = {"connected": True, "since_ms": NOW, "met_ms": NOW, "version": "0.1.0", "servers": ["n"]}
    write_state(site.store, told | state)
    try:
        yield
    finally:
        os.close(lock)


def put(site: Site, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(site.store)) as connection, connection:
        connection.execute(statement, values)


def in_step(site: Site) -> None:
    put(
        site,
        "UPDATE _sync_site SET needs_snapshot = 0, last_n = 3, acked_n = 3, safe_n = 3,"
        " acked_at_ms = ?, offset_ms = 20, offset_at_ms = ?",
        NOW,
        NOW,
    )


def outbox(site: Site, n: int, *, made_at_ms: int) -> None:
    put(
        site,
        "INSERT INTO _sync_out SELECT epoch, ?, 0, 1, 'x', x'', x'', x'', 7, ?, x'0102'"
        " FROM _sync_site",
        n,
        made_at_ms,
    )


def codes(site: Site) -> list[str]:
    return [reason.code for reason in judge(read_picture(site.store, NOW)).reasons]


def test_a_site_in_step_is_ok(site: Site):
    in_step(site)
    with agent_of(site):
        verdict = judge(read_picture(site.store, NOW))
    assert (verdict.words, verdict.reasons) == ("in step with the centre", ())


def test_a_dead_agent_is_told_though_its_last_words_were_good(site: Site):
    in_step(site)
    with agent_of(site):
        assert codes(site) == []
    assert codes(site) == ["MES-AGENT-DOWN"]


def test_last_words_of_a_stopped_agent_say_nothing_of_the_one_that_runs(site: Site):
    in_step(site)
    with agent_of(site, stopped=True):
        assert codes(site) == ["MES-OFFLINE"]


def test_a_look_is_not_taken_for_an_agent(site: Site):
    lock = os.open(site.store.with_name("F07.db-agent.lock"), os.O_RDONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)
    assert not is_held(site.store)
    os.close(lock)


def test_a_store_is_one_by_whatever_link_it_is_called(site: Site, tmp_path: Path):
    in_step(site)
    link = tmp_path / "folder" / "link.db"
    link.parent.mkdir()
    link.symlink_to(site.store)
    with agent_of(site):
        assert is_held(link)
        assert read_picture(link, NOW).agent.connected
        with pytest.raises(WrongSite, match="another agent holds"):
            setup.open_for_agent(link, CATALOG, site=site.name, now_ms=NOW, host="test")
    assert list(link.parent.iterdir()) == [link]


def test_a_damaged_state_file_is_as_good_as_none(site: Site):
    in_step(site)
    with agent_of(site):
        state_path(site.store).write_text('{"connected": tr')
        assert codes(site) == ["MES-OFFLINE"]


def test_what_waits_is_told_with_its_age(site: Site):
    in_step(site)
    put(site, "UPDATE _sync_site SET last_n = 5")
    outbox(site, 2, made_at_ms=NOW - 9_000_000)
    outbox(site, 4, made_at_ms=NOW - 660_000)
    outbox(site, 5, made_at_ms=NOW - 1_000)
    with agent_of(site):
        picture = read_picture(site.store, NOW)
    backlog = picture.backlog
    assert (backlog.transactions, backlog.rows, backlog.bytes) == (2, 14, 4)
    assert picture.age(backlog.oldest_ms) == 660_000
    assert judge(picture).reasons[0].code == "MES-BACKLOG-OLD"


def test_what_a_restored_centre_is_owed_again_waits_as_well(site: Site):
    in_step(site)
    for n in (2, 3):
        outbox(site, n, made_at_ms=NOW - 660_000)
    with agent_of(site, owed_from=1):
        backlog = read_picture(site.store, NOW).backlog
    assert (backlog.transactions, backlog.rows) == (2, 14)
    with agent_of(site, owed_from=None):
        assert read_picture(site.store, NOW).backlog.transactions == 0


def test_what_is_not_safe_yet_is_told_from_its_oldest_transaction_on(site: Site):
    in_step(site)
    put(site, "UPDATE _sync_site SET safe_n = 1")
    outbox(site, 2, made_at_ms=NOW - 5_000)
    outbox(site, 3, made_at_ms=NOW - 4_000)
    kept = read_picture(site.store, NOW).kept
    assert (kept.safe_n, kept.transactions) == (1, 2)
    assert (kept.oldest_n, kept.oldest_ms) == (2, NOW - 5_000)


def test_writes_that_no_agent_has_taken_up_are_counted(site: Site):
    put(site, "INSERT INTO work_orders (order_no) VALUES ('A-1'), ('A-2')")
    put(site, "UPDATE work_orders SET notes = 'x'")
    put(
        site,
        "INSERT INTO job_responses (report_type) VALUES ('SETUP'), ('SETUP'), ('PRODUCTION')",
    )
    backlog = read_picture(site.store, NOW).backlog
    assert backlog.undrained_rows == 2 + 2 + 3
    assert backlog.undrained_since_ms is not None


def test_reviews_parked_and_set_aside_rows_are_told(site: Site):
    in_step(told(site))
    with agent_of(site):
        assert codes(site) == ["MES-REVIEWS", "MES-PARKED", "MES-ASIDE"]
        picture = read_picture(site.store, NOW)
    assert picture.conflicts.decided_today == {"last_write": 1}


def test_a_status_changes_nothing_in_the_store(site: Site):
    before = site.store.read_bytes()
    mes_sync(site, "status")
    assert site.store.read_bytes() == before


def test_a_status_is_read_while_a_program_holds_the_store(site: Site):
    in_step(site)
    with closing(sqlite3.connect(site.store, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE _sync_site SET last_n = 99")
        assert read_picture(site.store, NOW).centre.last_n == 3


def test_a_store_that_may_only_be_read_is_read(site: Site, tmp_path: Path):
    folder = tmp_path / "readonly"
    folder.mkdir()
    store = folder / "F07.db"
    store.write_bytes(site.store.read_bytes())
    os.chmod(store, 0o400)
    os.chmod(folder, 0o500)
    try:
        assert read_picture(store, NOW).site == "F07"
    finally:
        os.chmod(folder, 0o700)


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        (None, 2, "CRITICAL  F07: not running, writes are kept here"),
        ({"connected": False, "last_error": "timeout"}, 1, "F07: offline, working locally"),
        ({}, 0, "OK  F07: in step with the centre"),
    ],
)
def test_the_exit_code_says_how_bad_it_is(
    site: Site,
    state: dict[str, Any] | None,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("MES_STORE", str(site.store))
    in_step(site)
    now = time.time_ns() // 1_000_000
    with (
        agent_of(site, **({"met_ms": now, "since_ms": now} | state))
        if state is not None
        else (closing(sqlite3.connect(":memory:")))
    ):
        # In this process, whose disk is roomy.
        ended = run(sync_command.mes_sync, sync_command.NAME, ["status"])
    out, err = capsys.readouterr()
    assert (ended, err) == (code, "")
    assert said in out.splitlines()[0]


def test_programs_get_one_document(site: Site):
    document = mes_sync(site, "status", "--json").document
    assert document["schema"] == "mes-sync.status/v1"
    assert (document["status"], document["exit_code"]) == ("critical", 2)
    assert document["reasons"][0]["code"] == "MES-AGENT-DOWN"
    assert document["site"] == "F07"


def test_a_pipe_that_watches_gets_a_line_of_json_each_time(site: Site):
    with subprocess.Popen(
        [sys.executable, "-m", "edge.cli.sync_command", "status", "--watch"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment() | {"MES_STORE": str(site.store)},
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.terminate()
    assert [json.loads(line)["site"] for line in lines] == ["F07", "F07"]


@pytest.mark.parametrize(
    "content", [None, b"", b"not a database at all", b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_store_that_cannot_be_read_is_critical_and_says_so(tmp_path: Path, content: bytes | None):
    store = tmp_path / "x.db"
    if content is not None:
        store.write_bytes(content)
    done = mes_sync(store, "status")
    assert done.code == 2
    assert "MES-STORE-UNREADABLE" in done.out
    assert mes_sync(store, "status", "--json").document["exit_code"] == 2
    assert mes_sync(store, "check").code == 3


def test_no_colour_is_written_to_a_pipe(site: Site):
    assert "\x1b[" not in mes_sync(site, "status").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status", "--wat"], 64),
        (["stat"], 64),
        (["check", "--wat"], 3),
        (["explain", "MES-X"], 64),
    ],
)
def test_wrong_usage_is_no_state_of_the_site(site: Site, arguments: list[str], code: int):
    done = mes_sync(site, *arguments)
    assert (done.code, done.out) == (code, "")
    assert "Error" in done.err


def test_monitoring_gets_its_line(site: Site):
    nagios = mes_sync(site, "check")
    assert nagios.code == 2
    assert nagios.out.startswith("SYNC CRITICAL - F07 no agent runs")
    assert "| backlog_age=0s;600;3600;0 backlog=0" in nagios.out
    checkmk = mes_sync(site, "check", "--format", "checkmk")
    assert checkmk.code == 0
    assert checkmk.out.startswith('2 "MES sync" backlog_age=0;600;3600|backlog=0')


def test_events_are_listed_and_their_codes_explained(site: Site):
    told(site)
    assert "MES-ROW-ASIDE" in mes_sync(site, "events").out
    assert mes_sync(site, "events", "--code", "MES-X").out == "no events\n"
    assert "see mes-aside" in mes_sync(site, "explain", "mes-row-aside").out.lower()
    assert len(mes_sync(site, "explain", "--json").document["codes"]) > 20


def test_tables_show_rows_and_what_waits(site: Site):
    put(site, "INSERT INTO work_orders (order_no) VALUES ('A-1')")
    put(
        site,
        "INSERT INTO _sync_pending (table_no, id, n, op, mask)"
        " SELECT no, 'x', 1, 'I', 0 FROM _sync_table"
        " WHERE name = 'work_orders'",
    )
    found = {each["table"]: each for each in mes_sync(site, "tables", "--json").document["tables"]}
    order = found["work_orders"]
    assert (order["rows"], order["waiting"], order["not_taken_up"]) == (1, 1, 1)
    assert found["job_responses"]["waiting"] is None
    assert len(mes_sync(site, "tables", "--filled").out.splitlines()) == 2


def test_a_status_takes_a_fraction_of_a_second_of_the_processor(site: Site):
    """A tenth, or more beside other programs. The best of some; bare Python is left out."""
    told(site)
    spent = min(_spent("-m", "edge.cli.sync_command", "status", site=site) for _ in range(5))
    bare = min(_spent("-c", "pass", site=site) for _ in range(5))
    assert spent - bare < 0.3


def _spent(*arguments: str, site: Site) -> float:
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=False,
        env=clean_environment() | {"MES_STORE": str(site.store)},
    )
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def test_a_status_loads_nothing_of_the_agent_or_the_broker():
    code = "import sys, edge.cli.status; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"asyncio", "nats", "msgpack", "zstandard", "sqlite_utils", "prometheus_client"}
    assert not heavy & set(loaded)


def test_an_agent_that_starts_while_a_status_looks_gets_its_store(site: Site):
    lock = os.open(site.store.with_name("F07.db-agent.lock"), os.O_RDONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)
    timer = threading.Timer(0.03, os.close, [lock])
    timer.start()
    setup.close(setup.open_for_agent(site.store, CATALOG, site="F07", now_ms=NOW, host="test"))
    timer.join()
