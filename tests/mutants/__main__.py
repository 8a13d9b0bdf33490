"""``python -m tests.mutants [--only NAME] [--list] [--jobs 2]``: break the product by hand.

Exits with 0 where every mutant is killed, 1 where one survives, is stale or can't be tried.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deploy.local.servers import NatsServer, PostgresServer
from tests.mutants import report
from tests.mutants.mutant import missing
from tests.mutants.mutants import MUTANTS
from tests.mutants.running import WHOLE_S, Finding, pytest_on, run_on
from tests.mutants.trees import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.mutants.mutant import Mutant

    Place = tuple[Tree, Mapping[str, str]]
    Free = Queue[Place]

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run what was asked for."""
    arguments = argparse.ArgumentParser(prog="python -m tests.mutants")
    arguments.add_argument("--only", action="append", help="those with this in name or file")
    arguments.add_argument("--list", action="store_true", help="name them, and run nothing")
    arguments.add_argument("--at", help="a commit to break, in place of the checkout as it is")
    arguments.add_argument("--jobs", type=int, default=2, help="how many at a time")
    given = arguments.parse_args()
    wanted = given.only or [""]
    chosen = [m for m in MUTANTS if any(part in m.name or part in m.file for part in wanted)]
    if given.list or not chosen:
        print("\n".join(f"{mutant.name}  ({mutant.file})" for mutant in chosen))
        return 0 if chosen else 1
    started = time.monotonic()
    findings = _run(chosen, max(1, given.jobs), given.at)
    seconds = time.monotonic() - started
    print(report.summary(findings, seconds))
    report.keep(Path(__file__).parent, findings, [mutant.name for mutant in MUTANTS])
    return 0 if report.is_good(findings) else 1


def _run(chosen: Sequence[Mutant], jobs: int, commit: str | None) -> list[Finding]:
    """Try the mutants, each job on a copy and with servers of its own."""
    with TemporaryDirectory(prefix="mutants-") as folder, ExitStack() as servers:
        free: Free = Queue()
        for job in range(jobs):
            place = Path(folder) / str(job)
            place.mkdir()
            tree = Tree.copied(ROOT, place / "tree", commit=commit)
            free.put((tree, _servers(place, servers)))
        if not _pass_unmutated(chosen, free, jobs):
            return []

        def attempt(mutant: Mutant) -> Finding:
            with taken(free) as (tree, environment):
                finding = run_on(tree, mutant, environment)
            print(report.line(finding), flush=True)
            return finding

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(attempt, chosen))


def _servers(place: Path, servers: ExitStack) -> dict[str, str]:
    """Start a PostgreSQL and a broker, once for all mutants of a job, and return where they are."""
    postgres = PostgresServer(place / "postgres", parameters={"fsync": "off"})
    database = servers.enter_context(postgres).url()
    broker = servers.enter_context(NatsServer(place / "nats")).url
    return {**os.environ, "MES_DATABASE_URL": database, "MES_NATS_URL": broker}


def _pass_unmutated(chosen: Sequence[Mutant], free: Free, jobs: int) -> bool:
    """Return whether the tests pass on the tree as it is: else they would kill anything."""
    tests = named(chosen)

    def passes(share: Sequence[str]) -> bool:
        with taken(free) as (tree, environment):
            there = [test for test in share if not missing(tree.root, [test])]
            if not there:
                return True
            said = pytest_on(tree.root, there, environment, limit_s=WHOLE_S)
        if said.code != 0:
            print(said.output[-6_000:], file=sys.stderr)
        return said.code == 0

    started = time.monotonic()
    shares = [share for k in range(jobs) if (share := tests[k::jobs])]
    with ThreadPoolExecutor(jobs) as pool:
        good = all(list(pool.map(passes, shares)))
    told = "pass" if good else "do not all pass on the tree as it is; mend that first"
    seconds = time.monotonic() - started
    print(f"unmutated: {len(tests)} tests and files of tests {told}; {seconds:.0f} s", flush=True)
    return good


def named(mutants: Iterable[Mutant]) -> list[str]:
    """Return the tests that mutants name; those of a file that is named as a whole once."""
    tests = {test for mutant in mutants for test in mutant.tests}
    return sorted(test for test in tests if "::" not in test or test.split("::")[0] not in tests)


@contextmanager
def taken(free: Free) -> Iterator[Place]:
    """Have a tree and its servers for the time of the block."""
    place = free.get()
    try:
        yield place
    finally:
        free.put(place)


if __name__ == "__main__":
    sys.exit(main())
