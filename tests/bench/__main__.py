"""``python -m tests.bench [--only NAME]``: run the measurements and keep them."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

from tests.bench import (
    agent,
    compare,
    edge_writes,
    facts,
    frame,
    latency,
    reports,
    rollups,
    snapshots,
    two_way,
)

ROOT = Path(__file__).parents[2]

MEASURES = {
    "edge_facts_insert": edge_writes.edge_facts_insert,
    "edge_two_way_insert": edge_writes.edge_two_way_insert,
    "edge_two_way_update": edge_writes.edge_two_way_update,
    "edge_one_row_full": edge_writes.edge_one_row_full,
    "facts_vs_copy": facts.facts_vs_copy,
    "facts_vs_logical_replication": facts.facts_vs_logical_replication,
    "two_way_updates_vs_logical_replication": two_way.two_way_updates_vs_logical_replication,
    "snapshot_rows_per_s": snapshots.snapshot_rows_per_s,
    "compare": compare.compare,
    "latency_idle": latency.latency_idle,
    "latency_30_sites": latency.latency_30_sites,
    "bytes_per_fact": agent.bytes_per_fact,
    "agent_idle": agent.agent_idle,
    "backlog_flat": agent.backlog_flat,
    "rollups_in_apply": rollups.rollups_in_apply,
    "reports_kept": reports.reports_kept,
    "reports_read": reports.reports_read,
    "reports_whole": reports.reports_whole,
    "reports_fresh": reports.reports_fresh,
}


def main() -> int:
    """Run what was asked for; 0 where all could be measured, whatever was reached."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench")
    arguments.add_argument("--only", action="append", choices=sorted(MEASURES))
    arguments.add_argument("--runs", type=int, default=frame.RUNS)
    arguments.add_argument("--dry", action="store_true", help="print, but keep nothing")
    given = arguments.parse_args()
    failed = [name for name in given.only or MEASURES if not _measure(name, given.runs, given.dry)]
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(name: str, runs: int, dry: bool) -> bool:
    """Run one measurement, print and keep it; False where it could not be done."""
    started = time.monotonic()
    try:
        results = MEASURES[name](runs)
    except Exception:  # noqa: BLE001 - the others are measured all the same
        traceback.print_exc()
        return False
    print(frame.table([frame.as_line(result) for result in results]))
    print(f"({name}: {time.monotonic() - started:.0f} s)", flush=True)
    if not dry:
        frame.keep(results, ROOT)
    return True


if __name__ == "__main__":
    sys.exit(main())
