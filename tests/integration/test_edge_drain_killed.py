"""A drain is whole or not at all, wherever it ends."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.integration.edge_drain_world import Site, site, uid  # noqa: F401

ROOT = Path(__file__).parents[2]


KILLED = textwrap.dedent(
    """
    import os, signal, sqlite3, sys
    from pathlib import Path
    from edge.store import EdgeStore
    from shared.catalog_file import load_catalog

    store = EdgeStore.open(
        Path(sys.argv[1]), load_catalog(), site="SITE_001", now_ms=1, host="here"
    )
    seen = 0

    def count(statement):
        global seen
        seen += 1
        if seen == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    store.opened.connection.set_trace_callback(count)
    store.drain(2)
    print(seen)
    """
)


def test_a_kill_at_any_statement_of_the_drain_leaves_all_or_nothing(tmp_path):
    site = Site(tmp_path / "store.db")
    site.insert("work_orders", id=uid(1), order_no="WO-1")
    site.insert("job_responses", report_type="SETUP")
    site.delete("work_orders", uid(1))
    site.insert("work_orders", id=uid(2), order_no="WO-2")
    site.store.close()
    rest = None
    for at in range(1, 100):
        command = [sys.executable, "-c", KILLED, str(site.path), str(at)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        check = sqlite3.connect(site.path)
        outbox = check.execute("SELECT count(*) FROM _sync_out").fetchone()[0]
        waits = check.execute("SELECT count(*) FROM _sync_log_work_orders").fetchone()[0]
        check.close()
        assert (outbox, waits) in {(0, 3), (1, 0)}
        if outbox:
            rest = ran.returncode
            break
    assert rest is not None
    site.open()
    assert sorted(row.table for row in site.sent()) == ["job_responses", "work_orders"]
    site.close()


def test_a_drain_that_finds_the_disk_full_leaves_everything_for_the_next(site):
    for number in range(1, 200):
        site.insert("work_orders", id=uid(number), order_no=f"WO-{number}", notes="x" * 4000)
    connection = site.store.opened.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        site.store.drain(1)
    assert site.store.position().last_n == 0
    connection.execute("PRAGMA max_page_count = 1000000")
    assert len(site.sent()) == 199
