"""``python -m tests.fuzz [--minutes 10] [--seed 4711] [--only NAME]``: fuzz for longer.

Round after round with other seeds, counted on from the first. What fails is told with the smallest
input that does it and the command that repeats the round; then the others go on, and the exit code
is 1 at the end. With ``--seed`` alone one round is run, which repeats it.
"""

from __future__ import annotations

import argparse
import resource
import secrets
import sys
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING

from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from tests.fuzz.target import Target

#: Inputs of a round, in multiples of those of the short run.
TIMES = 5
#: Whatever the checks let through, the machine is not to be taken down by it.
MEMORY_BYTES_MAX = 4 << 30


def main() -> int:
    """Run rounds until the time is over."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz")
    arguments.add_argument("--minutes", type=float, help="how long; one round where it is left out")
    arguments.add_argument("--seed", type=int, help="of the first round")
    arguments.add_argument("--only", help="the targets whose name has this in it")
    given = arguments.parse_args()
    chosen = [target for target in TARGETS if (given.only or "") in target.name]
    if not chosen:
        print(f"known are {', '.join(target.name for target in TARGETS)}", file=sys.stderr)
        return 2
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, hard))
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    print(f"seed {seed}, {len(chosen)} targets", flush=True)
    return _rounds(chosen, seed, (given.minutes or 0) * 60)


def _rounds(chosen: list[Target], seed: int, seconds: float) -> int:
    started, number = time.monotonic(), 0
    given, failed = Counter[str](), Counter[str]()
    while not number or time.monotonic() - started < seconds:
        for target in chosen:
            given[target.name] += target.examples * TIMES
            failed[target.name] += not _passes(target, seed + number)
            if number and time.monotonic() - started >= seconds:
                break
        number += 1
    for target in chosen:
        count = failed[target.name]
        told = f"{count} of {number} rounds failed" if count else "no failure"
        print(f"{target.name:12}{given[target.name]:10,} inputs, {told}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{number} rounds in {time.monotonic() - started:.0f} s, {peak} MB at the peak")
    return 1 if failed.total() else 0


def _passes(target: Target, seed: int) -> bool:
    try:
        target.run(seed, target.examples * TIMES)
    except BaseException as why:
        if isinstance(why, KeyboardInterrupt):
            raise
        traceback.print_exc()
        print(f"repeat it: make fuzz SEED={seed} ONLY={target.name}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
