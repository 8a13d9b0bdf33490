"""The campaign on the real stores: ``python -m tests.sim --runs 2000``; see ``make sim``."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from deploy.local.servers import PostgresServer
from tests.sim.campaign import Lab, Outcome, missed, report
from tests.sim.world import Plan

FAILURES_MAX = 3
#: After so many runs each process tells what it has met, should the campaign not come to its end.
TOLD_EVERY = 100


def main() -> int:
    """Run what is asked for and tell what was met; 1 where anything failed."""
    asked = _arguments()
    first = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgresServer(Path(folder), parameters={"fsync": "off"}) as server,
    ):
        if asked.steps:
            return _repeat(server.url(), Plan.of_text(asked.steps), is_short=True)
        if asked.runs == 1:
            return _repeat(server.url(), Plan.of_seed(first), is_short=False)
        return _campaign(server.url(), range(first, first + asked.runs), asked.jobs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, help="of the first run")
    parser.add_argument("--steps", help="a run as it was printed")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def _repeat(url: str, plan: Plan, *, is_short: bool) -> int:
    with Lab(url) as lab:
        outcome = lab.run(plan)
        if outcome.why is None:
            print(f"passed: {plan}")
            return 0
        print(report(outcome if is_short else lab.shortened(outcome), lines=100_000))
        return 1


def _campaign(url: str, seeds: range, jobs: int) -> int:
    began, runs = time.monotonic(), 0
    reach, failed = Counter[str](), list[str]()
    print(f"real stores: {len(seeds)} runs from seed {seeds.start}", flush=True)
    parts = [(url, seeds[at::jobs]) for at in range(jobs)]
    with ProcessPoolExecutor(jobs) as pool:
        for counted, whys, done in pool.map(_part, *zip(*parts, strict=True)):
            reach += counted
            failed += whys
            runs += done
    return told(reach, failed, runs=runs, seconds=time.monotonic() - began, jobs=jobs)


def told(reach: Counter[str], failed: list[str], *, runs: int, seconds: float, jobs: int) -> int:
    """Print what runs have met; return 1 where one failed, or never met what it should."""
    for name, count in sorted(reach.items()):
        print(f"{count:9,} {name}")
    print(f"{runs} runs in {seconds:.0f} s, {jobs * seconds / max(runs, 1):.2f} s a run and core")
    for each in failed:
        print(each)
    never = [] if failed else missed(reach, runs)
    if never:
        print(f"never met: {', '.join(never)}")
    return 1 if failed or never else 0


def _part(url: str, seeds: range) -> tuple[Counter[str], list[str], int]:
    """Run some of the seeds; stop after a few that failed."""
    reach, failed, runs = Counter[str](), list[str](), 0
    with Lab(url) as lab:
        for seed in seeds:
            outcome: Outcome = lab.run(Plan.of_seed(seed))
            reach += outcome.reach
            runs += 1
            if runs % TOLD_EVERY == 0:
                met = ", ".join(f"{n} {name}" for name, n in sorted(reach.items()))
                print(f"seeds {seeds}: {runs} runs, {len(failed)} failed; {met}", flush=True)
            if outcome.why is not None:
                print(f"seed {seed} fails, and is shortened: {outcome.why}", flush=True)
                failed.append(f"{report(lab.shortened(outcome))}\nmake sim SEED={seed} STORES=1")
            if len(failed) >= FAILURES_MAX:
                break
    return reach, failed, runs


if __name__ == "__main__":
    sys.exit(main())
