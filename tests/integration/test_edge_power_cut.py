"""The power goes at any fsync of a drain, an apply or a checkpoint: nothing committed is lost."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from shared.changes import Ack
from tests.integration import power
from tests.integration.edge_drain_world import Site, uid
from tests.integration.edge_world import Feed, put

TURNS = range(1, 4)
FACTS = 250
MAIN = """if True:
    import sys
    from tests.integration import test_edge_power_cut as here
    here.work(*sys.argv[1:])
"""


def work(path, confirmed, told, at):
    """Write, drain and apply in turns, and tell of each thing that is done; dies at an fsync."""
    seen = power.cut_at(int(at), Path(confirmed))
    site, feed = Site(Path(path)), Feed("SITE_001")
    site.store.opened.connection.execute("PRAGMA wal_autocheckpoint = 60")
    site.program.execute("PRAGMA synchronous = FULL")
    with Path(told).open("w", buffering=1, encoding="utf-8") as lines:
        for turn in TURNS:
            write(site.program, turn)
            print("wrote", turn, file=lines)
            print("drained", site.store.drain(turn).n, file=lines)
            site.receive(entry(feed, turn, site.epoch))
            print("applied", turn, file=lines)
        site.close()
        print("fsyncs", len(seen), file=lines)


def write(program, turn):
    """Commit a transaction of facts and an order."""
    program.execute("BEGIN")
    program.executemany(
        "INSERT INTO job_responses (id, report_type) VALUES (?, 'PRODUCTION')",
        [(row_id,) for row_id in facts(turn)],
    )
    program.execute(
        "INSERT INTO work_orders (id, order_no) VALUES (?, ?)", (uid(turn), f"WO-{turn}")
    )
    program.execute("COMMIT")


def facts(turn):
    return [uid(turn * 1_000 + k) for k in range(FACTS)]


def entry(feed, turn, epoch):
    """Return the entry in which the centre has planned an order of its own and takes ours."""
    row = {"id": uid(50 + turn), "order_no": f"C-{turn}", "notes": f"turn {turn}"}
    return feed.entry(put("work_orders", row, order=turn * 10), ack=Ack(epoch, turn, 0))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the folder of an empty store that stands still."""
    folder = tmp_path_factory.mktemp("store")
    Site(folder / "store.db").close()
    return folder


def killed(store, folder, at):
    """Work on a copy of the store until that fsync; return what was told, or None at the end."""
    live, confirmed = folder / "live", folder / "confirmed"
    for each in (live, confirmed):
        shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(store, each)
    told = folder / "told"
    command = [sys.executable, "-c", MAIN, live / "store.db", confirmed, told, str(at)]
    done = subprocess.run(list(map(str, command)), cwd=Path(__file__).parents[2], check=False)
    assert done.returncode in (0, -signal.SIGKILL)
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    return None if done.returncode == 0 else [line.split() for line in lines]


def check(path, told):
    """Check that all that was told is there, and what was under way is there whole or not."""
    done = {what: int(number) for what, number in told}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    site = Site(path)
    position = site.store.position()
    applied = [row["notes"] for row in site.rows("SELECT notes FROM work_orders WHERE notes > ''")]
    assert position.last_n >= done.get("drained", 0)
    assert done.get("applied", 0) <= position.own_pos <= done.get("applied", 0) + 1
    assert applied == [f"turn {turn}" for turn in range(1, position.own_pos + 1)]
    assert site.value("SELECT flag FROM _sync_applying") == 0
    sent = [(row.table, row.id) for row in site.sent()]
    assert len(sent) == len(set(sent))
    assert sent_turns(sent) in (done.get("wrote", 0), done.get("wrote", 0) + 1)
    site.close()


def sent_turns(sent):
    """Return how many whole transactions of the program were sent; there must be nothing else."""
    for turns in count():
        whole = [(("work_orders", uid(t)), *(("job_responses", i) for i in facts(t)))
                 for t in range(1, turns + 1)]  # fmt: skip
        rows = {row for each in whole for row in each}
        if rows == set(sent):
            return turns
        assert len(rows) < len(sent), "a transaction of the program was sent in part"
    raise AssertionError


def test_a_power_cut_at_any_fsync_loses_nothing_and_halves_nothing(store, tmp_path):
    path = tmp_path / "disk" / "store.db"
    path.parent.mkdir()
    for at in count(1):
        told = killed(store, tmp_path, at)
        if told is None:
            break
        for disk in power.Disk:
            power.after_the_cut(tmp_path / "live", tmp_path / "confirmed", path.parent, disk)
            check(path, told)
    # A commit each of what is written, drained and applied, and the checkpoints between.
    assert at > 3 * len(TURNS)
